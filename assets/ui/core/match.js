// What is known of a match, as interface/present.py sends it: {id, rank, similarity, weight}. A number that is to be shown of every
// match is named here once: the panel of details and the tip of a map take it from here.
import { make } from "./dom.js";
import { passingNow } from "./filter.js";
import { state } from "./state.js";
import { cosineText, countText, shareText } from "./words.js";

// name: its heading; text(match): as it is written.
export const FIGURES = [
  { name: "Rank", text: ({ rank }) => String(rank) },
  { name: "Similarity", text: ({ similarity }) => cosineText(similarity) },
  { name: "Weight", text: ({ weight, estimated }) => shareText(weight, estimated) },
];

// A match among others, in one line.
export const standingOf = (match) => FIGURES.map(({ name, text }) => `${name.toLowerCase()} ${text(match)}`).join(" \u00b7 ");

// Reference id -> its match in one space of the answer shown; `estimated` says that its weight is an estimate.
export const matchesOf = (space) => {
  const part = state.answer?.spaces?.[space];
  return new Map(part?.matches.map((match) => [match.id, { ...match, estimated: part.estimated }]));
};

export const idsOf = (space, answer = state.answer) => answer?.spaces?.[space]?.matches.map(({ id }) => id) ?? [];

// What an answer is about: a bundled query, a picture of the collection, or a visitor's own.
export const subjectOf = ({ id, reference }) => {
  if (id !== undefined) return { kind: "query", id };
  return reference === undefined ? { kind: "upload" } : { kind: "reference", id: reference };
};

export const truthIds = () => new Set(state.answer?.query?.truth ?? []);
export const flagOf = (id) => (truthIds().has(id) ? make("span.flag", "True source") : null);

// Where a space has the best-placed true source, in words.
export const truthRank = (space) => {
  const { query, k } = state.answer;
  const [rank] = query.ranks?.[space] ?? [];
  if (rank) return `rank ${countText(rank)}`;
  const found = [...matchesOf(space).values()].find(({ id }) => query.truth.includes(id));
  if (found) return `rank ${found.rank}`;
  return query.truth.some((id) => passingNow()?.[id] ?? true) ? `not among the first ${k}` : "filtered out";
};

// How a ranking differs from the one before it, and how many pictures the two share.
// For each id of `now`, in its order: {id, kind: "new" | "up" | "down" | "same", by, was}.
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
    shared: before.filter((id) => stayed.has(id)).length,
    of: Math.max(before.length, now.length),
  };
};
