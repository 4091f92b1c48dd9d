// What arrow keys do: from place to place in a row, and over a grid.

// key -> [down, right]
export const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export const clamp = (value, last, first = 0) => Math.max(first, Math.min(last, value));

// For a row of buttons that is one stop of the tab key: arrow keys lead from one to the next.
export const walkRow = (event) => {
  const all = [...event.currentTarget.querySelectorAll("button, [role=button]")];
  const at = event.target.closest("button, [role=button]");
  const next = all[nextPlace(all.indexOf(at), event.key, all.length)];
  if (!next || next === at) return;
  event.preventDefault();
  at.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
};

// The next of n places in a row; from none, one end of it; undefined for a key that moves nothing.
export const nextPlace = (place, key, n) => {
  if (key === "Home") return 0;
  if (key === "End") return n - 1;
  if (!ARROWS[key]) return undefined;
  const step = ARROWS[key][0] + ARROWS[key][1];
  return place === null ? (step > 0 ? 0 : n - 1) : clamp(place + step, n - 1);
};
