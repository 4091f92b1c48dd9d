// The table behind Inspect: outcomes unpacked from what the server sends, facets with counts, order, and figures of what is chosen.
// Nothing here draws. A row is one query with a known source; `lists` of a facet say which of its values a row has.
import { catalogue } from "../core/state.js";

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

const unpack = ({ bits, data }) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const read = { 8: (i) => bytes[i], 16: (i) => view.getUint16(2 * i, true), 32: (i) => view.getUint32(4 * i, true) }[bits];
  return Float64Array.from({ length: (8 * bytes.length) / bits }, (_, i) => read(i));
};

export const readMask = (text, m) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
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
  const bySpace = (packed) => {
    const all = unpack(packed);
    return spaces.map((_, s) => all.subarray(s * m, (s + 1) * m));
  };
  const words = {};
  for (const [key, { values, index }] of Object.entries(sent.words)) words[key] = { values, index: unpack(index) };
  const { root, folder, name } = sent.pictures;
  const folderOf = unpack(folder.index);
  const nameOf = unpack(name.index);
  const table = {
    m,
    spaces,
    ids,
    truth: unpack(sent.truth),
    sources: unpack(sent.sources),
    rank: bySpace(sent.rank),
    found: bySpace(sent.found),
    first: bySpace(sent.first),
    similarity: bySpace(sent.similarity).map((levels) => levels.map((level) => (level / 65535) * 2 - 1)),
    weight: bySpace(sent.weight).map((levels) => levels.map((level) => level / 65535)),
    picture: (i) => root + folder.values[folderOf[i]] + name.values[nameOf[i]],
    word: (key, i) => words[key].values[words[key].index[i]],
    label: (key, value) => sent.labels[key]?.[value] ?? capital(value || "not named"),
    measures: sent.measures,
  };
  table.typeOf = (i) => table.label("type", table.word("type", i));
  table.groupOf = (id) => catalogue.words.group.index[id];

  const single = (key) => {
    const { values, index } = words[key];
    return { values, lists: Array.from(index, (value) => [value]) };
  };
  const facet = (key, title, { values, lists }, describe) => ({
    key,
    title,
    values: values.map((value) => ({ value, ...describe(value) })),
    lists,
    order: values.map((_, v) => v),
  });
  const split = facet("split", "Split", single("split"), (value) => ({
    label: SPLITS[value]?.[0] ?? capital(value || "no split"),
    note: SPLITS[value]?.[1],
  }));
  const place = (v) => [...Object.keys(SPLITS), split.values[v].value].indexOf(split.values[v].value); // others last
  split.order.sort((a, b) => place(a) - place(b));
  const classes = sent.classes.map((id) => CLASSES[id]?.[1] ?? "---");
  const classLists = Array.from({ length: m }, (_, i) =>
    classes.flatMap((pattern, v) =>
      [...pattern].every((mark, s) => mark === "-" || (mark === "r") === (table.rank[s][i] === 1)) ? [v] : [],
    ),
  );
  const groups = catalogue.words.group.values;
  table.facets = [
    split,
    facet("outcome", "What the steps did", { values: sent.classes, lists: classLists }, (id) => ({
      label: CLASSES[id]?.[0] ?? id,
      pattern: CLASSES[id]?.[1],
    })),
    facet("type", "Kind of query", single("type"), (value) => ({ label: table.label("type", value) })),
    facet("generator", "Generator", single("generator"), (value) => ({
      label: capital(table.label("generator", value).replace(/^the /i, "")),
      note: sent.held_out.includes(value) ? "left out: the heads never saw it" : null,
    })),
    facet("group", "Concept group of the source", { values: groups, lists: Array.from(table.truth, (id) => [table.groupOf(id)]) }, (value) => ({
      label: capital(value || "no group"),
    })),
  ];
  table.facets.find(({ key }) => key === "group").order.sort((a, b) => groups[a].localeCompare(groups[b]));
  table.splits = new Set(split.values.map(({ value }) => value));
  return table;
};

// What a row shows in a confusion: the concept or the group of a reference, as an index into the catalogue's words.
const confusionLabel = (by, id) => catalogue.words[by].index[id];

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

const inPair = (table, { space, by, from, to }, i) => {
  const s = table.spaces.indexOf(space);
  const { values } = catalogue.words[by];
  return (
    table.rank[s][i] !== 1 && values[confusionLabel(by, table.truth[i])] === from &&
    values[confusionLabel(by, table.first[s][i])] === to
  );
};

// Wrong first answers of one space, counted by pair of labels; most frequent first, then by name.
export const countPairs = (table, rows, s, by) => {
  const { values } = catalogue.words[by];
  const found = new Map();
  for (const i of rows) {
    if (table.rank[s][i] === 1) continue;
    const from = confusionLabel(by, table.truth[i]);
    const key = from * values.length + confusionLabel(by, table.first[s][i]);
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  const pairs = Array.from(found, ([key, n]) => ({ from: values[Math.floor(key / values.length)], to: values[key % values.length], n }));
  return pairs.sort((a, b) => b.n - a.n || (a.from + a.to < b.from + b.to ? -1 : 1));
};

// One query's figure, as aad.metrics has it, and its mean over rows.
const FIGURES = {
  "R@1": (table, s, i) => (table.rank[s][i] === 1 ? 1 : 0) / table.sources[i],
  "R@5": (table, s, i) => table.found[s][i] / table.sources[i],
  MRR: (table, s, i) => 1 / table.rank[s][i],
};
export const meanFigure = (table, rows, s, measure) =>
  rows.reduce((sum, i) => sum + FIGURES[measure](table, s, i), 0) / rows.length;

// What rows can be put in order by; the first direction is the one that shows failures.
export const inspectOrders = (table) => {
  const change = (a, b) => (i) => Math.log(table.rank[b][i] / table.rank[a][i]);
  const steps = [[0, 1, "alignment"], [1, 2, "disentangling"], [0, 2, "both steps"]];
  return [
    ...table.spaces.map((space, s) => ({ key: `rank.${space}`, label: `Rank of the true source, ${space}`, of: (i) => table.rank[s][i] })),
    ...steps.map(([a, b, name]) => ({ key: `change.${name.split(" ")[0]}`, label: `Ranks lost by ${name}`, of: change(a, b) })),
    ...table.spaces.map((space, s) => ({ key: `weight.${space}`, label: `Weight of the first answer, ${space}`, of: (i) => table.weight[s][i] })),
    { key: "collection", label: "Order of the collection", of: (i) => -i },
  ];
};

export const orderRows = (rows, { of }, isRising) => {
  const value = new Map(rows.map((i) => [i, of(i)]));
  const sign = isRising ? 1 : -1;
  return [...rows].sort((a, b) => sign * (value.get(a) - value.get(b)) || a - b);
};
