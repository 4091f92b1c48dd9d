// The filter of the gallery: which references pass it, and how it reads in the address.
import { catalogue, set, state } from "./state.js";

export const FILTER_FIELDS = ["group", "source", "licence"];
let passed = null; // the last mask, and what it was worked out from

// The filter as the server takes it, {} for none.
export const plainFilter = () =>
  Object.fromEntries(Object.entries(state.filter ?? {}).filter(([, words]) => words).map(([field, words]) => [field, [...words].sort()]));
export const filterText = () => JSON.stringify(plainFilter());

export const setFilter = (filter) => {
  const kept = FILTER_FIELDS.map((field) => [field, filter?.[field]?.size ? new Set(filter[field]) : null]);
  set("filter", kept.some(([, words]) => words) ? Object.fromEntries(kept) : null);
};

// In the address a filter reads group:birds|group:sea life|licence:CC0-1.0; a bar within a word is written %7C.
const write = (word) => word.replaceAll("%", "%25").replaceAll("|", "%7C");
const read = (word) => word.replaceAll("%7C", "|").replaceAll("%25", "%");
export const filterAddress = () =>
  Object.entries(plainFilter()).flatMap(([field, words]) => words.map((word) => `${field}:${write(word)}`)).join("|");
export const readFilter = (text) => {
  const filter = {};
  for (const part of (text ?? "").split("|")) {
    const [field, ...rest] = part.split(":");
    if (FILTER_FIELDS.includes(field)) (filter[field] ??= new Set()).add(read(rest.join(":")));
  }
  setFilter(filter);
};

// How many of some references have each value of a field; those whose byte in a mask is 0 do not count.
export const countsOf = ({ values, index }, passing = null, ids = index.keys()) => {
  const counts = new Array(values.length).fill(0);
  for (const id of ids) if (!passing || passing[id]) counts[index[id]]++;
  return counts;
};

// One byte per reference, 1 where a filter lets it pass.
export const passingOf = (filter) => {
  const passing = new Uint8Array(catalogue.n).fill(1);
  for (const [field, wanted] of Object.entries(filter)) {
    if (!wanted) continue;
    const { values, index } = catalogue.words[field];
    const holds = values.map((word) => wanted.has(word));
    for (let id = 0; id < passing.length; id++) if (!holds[index[id]]) passing[id] = 0;
  }
  return passing;
};

// The same of the filter that is set; null without one.
export const passingNow = () => {
  const { filter } = state;
  if (!filter) return null;
  if (passed?.filter !== filter || passed.catalogue !== catalogue) passed = { filter, catalogue, passing: passingOf(filter) };
  return passed.passing;
};
