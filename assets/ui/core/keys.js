// What arrow keys do: from place to place in a row, and over a grid.

// key -> [down, right]
export const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export const clamp = (value, last, first = 0) => Math.max(first, Math.min(last, value));

// The next of n places in a row; from none, one end of it; undefined for a key that moves nothing.
export const nextPlace = (place, key, n) => {
  if (key === "Home") return 0;
  if (key === "End") return n - 1;
  if (!ARROWS[key]) return undefined;
  const step = ARROWS[key][0] + ARROWS[key][1];
  return place === null ? (step > 0 ? 0 : n - 1) : clamp(place + step, n - 1);
};
