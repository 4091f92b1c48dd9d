// How a ranking differs from the one before it, and how many pictures two of them share. Plain data in and out.
import { state } from "./state.js";


// For each id of `now`, in its order: {id, kind: "new" | "up" | "down" | "same", by, was}; and what left, {id, was}, best first.
export const movesBetween = (before, now) => {
  const ranks = new Map(before.map((id, i) => [id, i + 1]));
  const stayed = new Set(now);
  return {
    rows: now.map((id, i) => {
      const was = ranks.get(id);
      if (was === undefined) return { id, kind: "new", by: 0, was: null };
      const by = was - (i + 1);
      return { id, kind: by > 0 ? "up" : by < 0 ? "down" : "same", by: Math.abs(by), was };
    }),
    left: before.filter((id) => !stayed.has(id)).map((id) => ({ id, was: ranks.get(id) })),
    shared: before.filter((id) => stayed.has(id)).length,
    of: Math.max(before.length, now.length),
  };
};

// What stays lit when the pointer goes: the row or line that the keyboard is on.
export const resting = () => {
  const focused = document.activeElement?.closest?.("[data-ref]");
  return focused?.matches(":focus-visible") ? Number(focused.dataset.ref) : null;
};

export const idsOf = (space, answer = state.answer) => answer?.spaces?.[space]?.matches.map(([id]) => id) ?? [];
