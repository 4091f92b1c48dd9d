// The table behind Inspect: outcomes unpacked from what the server sends, facets with counts, order, and figures of what is chosen.
// Nothing here draws. A row is one query with a known source; `lists` of a facet say which of its values a row has.
import { readBytes, readNumbers as unpack, readWords, wordsAt } from "../core/packed.js";
import { catalogue, nameOf } from "../core/state.js";
import { countText } from "../core/words.js";

const SPLITS = {
  test: ["Test", "not used to choose anything"],
  validation: ["Validation", "settings and weights were chosen on it"],
  train: ["Train", "the heads were fitted on its concepts"],
};
const CLASSES = {
  fixed_by_alignment: ["Fixed by alignment", "wr-"],
  broken_by_alignment: ["Broken by alignment", "rw-"],
  fixed_by_disentangling: ["Fixed by disentangling", "-wr"],
  broken_by_disentangling: ["Broken by disentangling", "-rw"],
  right_everywhere: ["Right everywhere", "rrr"],
  wrong_everywhere: ["Wrong everywhere", "www"],
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const readMask = (text, m) => {
  const bytes = readBytes(text);
  return Uint8Array.from({ length: m }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
};
export const writeMask = (rows, m) => {
  const bytes = new Uint8Array(Math.ceil(m / 8));
  for (const i of rows) bytes[i >> 3] |= 1 << (i & 7);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};

export const readOutcomes = (sent) => {
  const spaces = catalogue.spaces.map(({ id }) => id);
  const ids = unpack(sent.ids);
  const m = ids.length;
  const bySpace = (packed, read = (level) => level) => {
    const all = Float64Array.from(unpack(packed), read);
    return spaces.map((_, s) => all.subarray(s * m, (s + 1) * m));
  };
  const [words, pictures] = [readWords(sent.words), readWords(sent.pictures)];
  const table = {
    m,
    spaces,
    ids,
    truth: unpack(sent.truth),
    sources: unpack(sent.sources),
    rank: bySpace(sent.rank),
    found: bySpace(sent.found),
    first: bySpace(sent.first),
    similarity: bySpace(sent.similarity, (level) => (level / 65535) * 2 - 1),
    weight: bySpace(sent.weight, (level) => level / 65535),
    kinds: { group: catalogue.words.group, ...readWords(sent.references) }, // of all references
    picture: (i) => Object.values(wordsAt(pictures, i)).join(""),
    word: (key, i) => words[key].values[words[key].index[i]],
    label: (key, value) => sent.labels[key]?.[value] ?? capital(value || "not named"),
    typeOf: (i) => table.label("type", table.word("type", i)),
    measures: sent.measures,
  };

  // `describe` gives a value its label, `compare` puts values in order where they do not come in it.
  const facet = (key, title, values, lists, describe, compare = () => 0) => ({
    key,
    title,
    values: values.map((value) => ({ value, ...describe(value) })),
    lists,
    order: [...values.keys()].sort((a, b) => compare(values[a], values[b])),
  });
  const single = (key, title, describe, compare = (a, b) => (a < b ? -1 : 1)) =>
    facet(key, title, words[key].values, Array.from(words[key].index, (value) => [value]), describe, compare);

  const place = (split) => [...Object.keys(SPLITS), split].indexOf(split); // others last
  const splitWords = (value) => ({ label: SPLITS[value]?.[0] ?? capital(value || "no split"), note: SPLITS[value]?.[1] });
  const patterns = sent.classes.map((id) => CLASSES[id]?.[1] ?? "---");
  const holds = (pattern, i) => [...pattern].every((mark, s) => mark === "-" || (mark === "r") === (table.rank[s][i] === 1));
  const classLists = Array.from({ length: m }, (_, i) => [...patterns.keys()].filter((v) => holds(patterns[v], i)));
  const groups = catalogue.words.group;
  table.facets = [
    single("split", "Split", splitWords, (a, b) => place(a) - place(b)),
    facet("outcome", "What the steps did", sent.classes, classLists, (id) => ({ label: CLASSES[id]?.[0] ?? id, pattern: CLASSES[id]?.[1] })),
    single("type", "Kind of query", (value) => ({ label: table.label("type", value) })),
    single("generator", "Generator", (value) => ({
      label: capital(table.label("generator", value).replace(/^the /i, "")),
      note: sent.held_out.includes(value) ? "left out: the heads never saw it" : null,
    })),
    facet(
      "group",
      "Concept group of the source",
      groups.values,
      Array.from(table.truth, (id) => [groups.index[id]]),
      (value) => ({ label: capital(value || "no group") }),
      (a, b) => a.localeCompare(b),
    ),
  ];
  table.splits = new Set(words.split.values);
  return table;
};

// The chosen rows, and for each facet how many rows each of its values would leave, the other filters given.
// `filters`: facet key -> Set of values; `pair`: {space, by, from, to} or null; `near`: a mask of rows or null.
export const chooseRows = (table, filters, pair, near) => {
  const { facets, m } = table;
  const wanted = facets.map((facet) => {
    const values = facet.values.map(({ value }) => filters[facet.key]?.has(value) ?? false);
    return values.includes(true) ? values : null;
  });
  const counts = facets.map((facet) => new Array(facet.values.length).fill(0));
  const rows = [];
  for (let i = 0; i < m; i += 1) {
    if (near && !near[i]) continue;
    if (pair && !inPair(table, pair, i)) continue;
    const fails = facets.flatMap((facet, f) => (wanted[f] && !facet.lists[i].some((v) => wanted[f][v]) ? [f] : []));
    if (fails.length === 0) rows.push(i);
    facets.forEach((facet, f) => {
      if (fails.length === 0 || (fails.length === 1 && fails[0] === f)) for (const v of facet.lists[i]) counts[f][v] += 1;
    });
  }
  return { rows, counts };
};

// What a space made of a row, in a confusion: the concept or group of the source and of the first answer; null where that is right.
const confusionOf = (table, s, by, i) => {
  if (table.rank[s][i] === 1) return null;
  const { values, index } = table.kinds[by];
  return { from: values[index[table.truth[i]]], to: values[index[table.first[s][i]]] };
};

const inPair = (table, { space, by, from, to }, i) => {
  const found = confusionOf(table, table.spaces.indexOf(space), by, i);
  return found?.from === from && found.to === to;
};

// Wrong first answers of one space, counted by pair of labels; most frequent first, then by name.
export const countPairs = (table, rows, s, by) => {
  const wrong = rows.map((i) => confusionOf(table, s, by, i)).filter(Boolean);
  const pairs = Map.groupBy(wrong, ({ from, to }) => JSON.stringify([from, to]));
  const counted = Array.from(pairs.values(), (same) => ({ ...same[0], n: same.length }));
  return counted.sort((a, b) => b.n - a.n || (a.from + a.to < b.from + b.to ? -1 : 1));
};

// One query's figure, as aad.metrics has it, and its mean over rows.
const FIGURES = {
  "R@1": (table, s, i) => (table.rank[s][i] === 1 ? 1 : 0) / table.sources[i],
  "R@5": (table, s, i) => table.found[s][i] / table.sources[i],
  MRR: (table, s, i) => 1 / table.rank[s][i],
};
export const meanFigure = (table, rows, s, measure) =>
  rows.reduce((sum, i) => sum + FIGURES[measure](table, s, i), 0) / rows.length;

// The main finding, in two sentences: what the steps changed, and what a wrong answer of the last space looks like.
export const findingOf = (table, rows) => {
  const [first, last] = [table.rank[0], table.rank.at(-1)];
  const count = (holds) => rows.filter(holds).length;
  const [fixed, broken] = [count((i) => first[i] > 1 && last[i] === 1), count((i) => first[i] === 1 && last[i] > 1)];
  const wrong = count((i) => first[i] > 1);
  const told = `The two steps put ${countText(fixed)} of ${countText(wrong)} wrong first answers right, and ${countText(broken)} right ones wrong.`;
  const { values, index } = catalogue.words.group;
  const answers = Map.groupBy(rows.filter((i) => last[i] > 1), (i) => index[table.first.at(-1)[i]]);
  const [group, most] = [...answers].sort((a, b) => b[1].length - a[1].length)[0] ?? [];
  if (!most || values.length < 2) return told;
  const n = [...answers.values()].reduce((sum, { length }) => sum + length, 0);
  return `${told} Of the ${countText(n)} that are wrong at last, ${countText(most.length)} answer with \u201c${values[group] || "no group"}\u201d.`;
};

// What rows can be put in order by; the first direction shows what a reader looks for: the largest gain, the worst rank.
export const inspectOrders = (table) => {
  const gain = (a, b) => (i) => table.rank[a][i] / table.rank[b][i];
  const steps = [[0, 1, "alignment"], [1, 2, "disentangling"], [0, 2, "both steps"]];
  return [
    ...steps.map(([a, b, name]) => ({ key: `gain.${name.split(" ")[0]}`, label: `Places gained by ${name}`, of: gain(a, b) })),
    ...table.spaces.map((space, s) => ({ key: `rank.${space}`, label: `Rank of the true source, ${nameOf(space)}`, of: (i) => table.rank[s][i] })),
    ...table.spaces.map((space, s) => ({ key: `weight.${space}`, label: `Weight of the first answer, ${nameOf(space)}`, of: (i) => table.weight[s][i] })),
    { key: "collection", label: "Order of the collection", of: (i) => -i },
  ];
};

export const orderRows = (rows, { of }, isRising) => {
  const sign = isRising ? 1 : -1;
  return [...rows].sort((a, b) => sign * (of(a) - of(b)) || a - b);
};
