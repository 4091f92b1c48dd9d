// Which references stand out now: those that pass the filter, lie in the selection and carry the legend's lit value.
import { passingNow } from "../core/filter.js";
import { catalogue, state } from "../core/state.js";
import { colouringOf } from "./marks.js";

let known = null; // the last lighting, and what it was worked out from

// One byte per reference: 0 dimmed, 1 as ever, 2 lit. Shared by all maps, so it is worked out once per change.
export const lighting = () => {
  const { filter = null, selection = null, group = null } = state;
  const colouring = colouringOf();
  const same = known?.filter === filter && known.selection === selection && known.group === group && known.colouring === colouring;
  if (same && known.catalogue === catalogue) return known.levels;
  const passing = passingNow();
  const levels = new Uint8Array(catalogue.n);
  const base = selection || group !== null ? 2 : 1;
  if (selection) for (const id of selection) levels[id] = base;
  else levels.fill(base);
  for (let id = 0; id < levels.length; id++) {
    if ((passing && !passing[id]) || (group !== null && colouring.index[id] !== group)) levels[id] = 0;
  }
  known = { filter, selection, group, colouring, catalogue: catalogue, levels };
  return levels;
};

// Ids in a fixed shuffled order: where marks cover each other, no group of a sorted collection lies on top throughout.
export const drawingOrder = (n) => {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let seed = 1;
  for (let i = n - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
};
