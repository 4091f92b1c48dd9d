// The rows behind the table twin of the maps: which references, in which order, and as a file.
import { csvText } from "../core/files.js";
import { passingNow } from "../core/filter.js";
import { FIGURES, matchesOf } from "../core/match.js";
import { catalogue, referenceOf, state } from "../core/state.js";

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
let alphabet = null; // {catalogue, ranks}: the place of each title in alphabetical order, worked out once

const titleRanks = () => {
  if (alphabet?.catalogue === catalogue) return alphabet.ranks;
  const { titles } = catalogue;
  const ranks = new Float64Array(titles.length);
  titles.map((_, id) => id).sort((a, b) => collator.compare(titles[a], titles[b]) || a - b).forEach((id, rank) => (ranks[id] = rank));
  alphabet = { catalogue: catalogue, ranks };
  return ranks;
};

// One number per reference to sort by; NaN where there is nothing to compare. key: "title", a field of words, or "rank aligned".
const sortKeys = (key) => {
  if (key === "title") return titleRanks();
  const keys = new Float64Array(catalogue.n).fill(NaN);
  const words = catalogue.words[key];
  if (words) {
    const order = words.values.map((_, i) => i).sort((a, b) => collator.compare(words.values[a], words.values[b]));
    const ranks = [];
    order.forEach((value, rank) => (ranks[value] = words.values[value] ? rank : NaN));
    words.index.forEach((value, id) => (keys[id] = ranks[value]));
    return keys;
  }
  const [figure, space] = key.split(" ");
  for (const [id, match] of matchesOf(space)) keys[id] = match[figure];
  return keys;
};

// Ids of the selected references, or of all that pass the filter.
export const referencesShown = (onlySelected) => {
  const passing = passingNow();
  const { selection } = state;
  const shown = [];
  for (let id = 0; id < catalogue.n; id++) {
    if ((!passing || passing[id]) && (!onlySelected || !selection || selection.has(id))) shown.push(id);
  }
  return Uint32Array.from(shown);
};

// Sorted in place; what has no value comes last either way, and equal ones keep the order of the collection.
export const sortReferences = (ids, key, descending) => {
  const keys = sortKeys(key);
  const sign = descending ? -1 : 1;
  return ids.sort((a, b) => {
    const [x, y] = [keys[a], keys[b]];
    if (x === y || (x !== x && y !== y)) return a - b;
    if (x !== x) return 1;
    return y !== y ? -1 : sign * (x - y);
  });
};

// The references as a text of comma-separated values, with their places, and their standing where they are among the matches.
export const csvOfReferences = (ids, places) => {
  const fields = ["title", "author", "source", "licence", "url", "concept", "group", "split"];
  const { spaces } = catalogue;
  const matches = spaces.map((space) => matchesOf(space.id));
  const head = ["id", ...fields, ...spaces.flatMap(({ id }) => ["x", "y", ...FIGURES.map(({ key }) => key)].map((name) => `${id}_${name}`))];
  const rows = Array.from(ids, (id) => {
    const reference = referenceOf(id);
    const standing = spaces.flatMap((_, i) => {
      const place = [places[i][2 * id].toFixed(5), places[i][2 * id + 1].toFixed(5)];
      return [...place, ...FIGURES.map(({ key }) => matches[i].get(id)?.[key])];
    });
    return [id, ...fields.map((field) => reference[field]), ...standing];
  });
  return csvText([head, ...rows], "");
};
