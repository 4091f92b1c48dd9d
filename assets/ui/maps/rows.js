// The rows behind the table twin of the maps: which references, in which order, and as a file.
import { csvText } from "../core/files.js";
import { passingNow } from "../core/filter.js";
import { FIGURES, matchesOf } from "../core/match.js";
import { catalogue, referenceOf, state } from "../core/state.js";

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

// One number for each text to sort by: its place in alphabetical order, NaN where there is none.
const alphabet = (texts) => {
  const places = new Float64Array(texts.length);
  const order = Array.from(texts.keys()).sort((a, b) => collator.compare(texts[a], texts[b]) || a - b);
  order.forEach((i, place) => (places[i] = texts[i] ? place : NaN));
  return places;
};
let titles = null; // {catalogue, places}: worked out once

// One number per reference to sort by; NaN where there is nothing to compare. key: "title", a field of words, or "rank aligned".
const sortKeys = (key) => {
  if (key === "title") {
    if (titles?.catalogue !== catalogue) titles = { catalogue, places: alphabet(catalogue.titles) };
    return titles.places;
  }
  const words = catalogue.words[key];
  if (words) {
    const places = alphabet(words.values);
    return Float64Array.from(words.index, (value) => places[value]);
  }
  const [figure, space] = key.split(" ");
  const keys = new Float64Array(catalogue.n).fill(NaN);
  for (const [id, match] of matchesOf(space)) keys[id] = match[figure];
  return keys;
};

// Ids of the references among `within`, or of all, that pass the filter. Sorted; what has no value comes last either way, and equal
// ones keep the order of the collection.
export const sortedReferences = (within, { key, descending }) => {
  const passing = passingNow();
  const keys = sortKeys(key);
  const sign = descending ? -1 : 1;
  const ids = Uint32Array.from(within ?? catalogue.titles.keys()).filter((id) => !passing || passing[id]);
  return ids.sort((a, b) => Number.isNaN(keys[a]) - Number.isNaN(keys[b]) || sign * (keys[a] - keys[b]) || a - b);
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
