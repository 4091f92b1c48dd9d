// Which references stand out now: those that pass the filter, lie in the selection and carry the legend's lit value.
import { passingNow } from "../core/filter.js";
import { catalogue, state } from "../core/state.js";
import { colouringOf } from "./marks.js";

let known = { causes: [], levels: null }; // the last lighting, and what it was worked out from

// One byte per reference: 0 dimmed, 1 as ever, 2 lit. Shared by all maps, so it is worked out once per change.
export const lighting = () => {
  const { filter, selection, group } = state;
  const { index } = colouringOf();
  const causes = [catalogue, filter, selection, group, index];
  if (causes.every((cause, i) => cause === known.causes[i])) return known.levels;
  const passing = passingNow();
  const levels = new Uint8Array(catalogue.n);
  const base = selection || group !== null ? 2 : 1;
  if (selection) for (const id of selection) levels[id] = base;
  else levels.fill(base);
  for (let id = 0; id < levels.length; id++) {
    if ((passing && !passing[id]) || (group !== null && index[id] !== group)) levels[id] = 0;
  }
  known = { causes, levels };
  return levels;
};
