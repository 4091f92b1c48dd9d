// The filter of the gallery: which references pass it, and how it reads in the address.
import { catalogue, set, state } from "./state.js";

export const FILTER_FIELDS = ["group", "source", "licence"];
let passed = null; // the last mask, and what it was worked out from

// The filter as the server takes it, {} for none.
export const plainFilter = () => {
  const filter = state.filter ?? {};
  return Object.fromEntries(FILTER_FIELDS.filter((field) => filter[field]?.size).map((field) => [field, [...filter[field]].sort()]));
};
export const filterText = () => JSON.stringify(plainFilter());

// Whether the filter lets a reference pass.
export const passes = (id) => FILTER_FIELDS.every((field) => {
  const { values, index } = catalogue.words[field];
  const wanted = state.filter?.[field];
  return !wanted?.size || wanted.has(values[index[id]]);
});

export const setFilter = (filter) => {
  const kept = Object.fromEntries(FILTER_FIELDS.map((field) => [field, filter?.[field]?.size ? new Set(filter[field]) : null]));
  set("filter", FILTER_FIELDS.some((field) => kept[field]) ? kept : null);
};

// In the address a filter reads group:birds|group:sea life|licence:CC0-1.0; a bar within a word is written %7C.
const write = (word) => word.replaceAll("%", "%25").replaceAll("|", "%7C");
const read = (word) => word.replaceAll("%7C", "|").replaceAll("%25", "%");
export const filterAddress = () =>
  Object.entries(plainFilter()).flatMap(([field, words]) => words.map((word) => `${field}:${write(word)}`)).join("|");
export const readFilter = (text) => {
  const filter = {};
  for (const part of text.split("|")) {
    const [field, ...rest] = part.split(":");
    if (FILTER_FIELDS.includes(field)) (filter[field] ??= new Set()).add(read(rest.join(":")));
  }
  setFilter(filter);
};

// One byte per reference, 1 where the filter lets it pass; null without a filter.
export const passingNow = () => {
  const filter = state.filter ?? null;
  const asked = filter && FILTER_FIELDS.filter((field) => filter[field]);
  if (!asked?.length) return null;
  if (passed?.filter === filter && passed.catalogue === catalogue) return passed.passing;
  const passing = new Uint8Array(catalogue.n).fill(1);
  for (const field of asked) {
    const { values, index } = catalogue.words[field];
    const holds = values.map((word) => filter[field].has(word));
    for (let id = 0; id < passing.length; id++) if (!holds[index[id]]) passing[id] = 0;
  }
  passed = { filter, catalogue: catalogue, passing };
  return passing;
};
