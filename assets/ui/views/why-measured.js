// The theory in figures: three charts from theory.json, and one from generalisation.json, each beside sentences that the server
// wrote from the same figures.
import { makeDotRows, makeExhibit, makeLines } from "../charts/panels.js";
import { hint, make } from "../core/dom.js";
import { countText, fixedText } from "../core/words.js";

const MEANINGS = {
  canonical: "Held-up canonical correlation: the correlation, on test concepts, of mixes that canonical correlation analysis chose on training concepts. From \u22121 to 1, no unit.",
  spectrum: "Singular values of the cross-covariance of matched embeddings, divided by the largest of the same space. No unit.",
  closeness: "Closeness to the CCA oracle on test pictures, within the oracle\u2019s own directions. Subspace: the share of the oracle\u2019s directions that a space\u2019s loudest ones capture. CKA: how alike the similarities of all pictures are. Shrinkage is how strongly the oracle itself is smoothed.",
  recall: "Recall at 1: the share of pictures whose true source comes first among all references. 95% bootstrap interval, drawn by concept.",
};
const mean = (figures) => figures.reduce((sum, figure) => sum + figure, 0) / figures.length;
// "0.12 backbone, 0.34 aligned"
const eachOf = (columns, told) => columns.map((column) => `${told(column)} ${column.id}`).join(", ");

const key = (ids) => make("p.key", ids.map((id) => make("span", { "data-space": id }, make("span", { class: id === "oracle" ? "dot is-hollow" : "dot" }), id)));

// Values of all spaces along one axis.
const axisExhibit = (part, columns, { told, values, axis, name, label, foot, prompt }) => {
  const tell = (i) => `${name} ${i + 1}: ${eachOf(columns.filter((column) => values(column)[i] !== undefined), (column) => fixedText(values(column)[i], 2))}`;
  return makeExhibit(told, makeLines(part, { columns, values, label, foot, ticks: [0, 0.5, 1], axis, tell, prompt }));
};

const closeness = (part, theory) => {
  const { columns, chance } = theory;
  const ways = Object.entries(columns[0].closeness).flatMap(([shrinkage, found]) => Object.keys(found).map((way) => ({ shrinkage, way })));
  const rows = [
    { label: "Found at rank 1", note: "recall@1", of: (column) => column["recall@1"] },
    ...ways.map(({ shrinkage, way }) => ({
      label: way === "cka" ? "Similarities alike" : "Directions captured",
      note: `${way === "cka" ? "CKA" : way}, shrinkage ${shrinkage}`,
      of: (column) => column.closeness[shrinkage][way],
      chance: chance[shrinkage]?.[way] ?? null,
    })),
  ];
  const told = (row) => eachOf(columns, (column) => row.of(column).toFixed(4));
  const marks = (row) => columns.map((column) => ({ space: column.id, at: row.of(column), hollow: column.id === "oracle" }));
  return make("div", [
    makeDotRows(part, {
      label: `Recall and closeness to the oracle. ${rows.map((row) => `${row.label}, ${row.note}: ${told(row)}`).join("; ")}.`,
      rows: rows.map((row) => ({ ...row, marks: marks(row) })),
      axis: "",
      prompt: "For closeness the oracle\u2019s own ring is another oracle, fitted on other pairs: the most one can ask. Grey mark: chance.",
      tell: (row) => `${row.note}: ${told(row)}${row.chance ? `, chance ${row.chance}` : ""}`,
    }),
    key(columns.map(({ id }) => id)),
  ]);
};

export const whyTheory = (part, theory) => {
  const { columns, sentences, supports } = theory;
  const exhibit = (chart, title, term, meaning) => ({ title, term, meaning, sentences: sentences[chart], supports: supports[chart] });
  const canonical = (column) => column.canonical_correlations;
  const relative = ({ spectrum }) => spectrum.map((value) => value / spectrum[0]);
  const strong = (column) => relative(column).filter((share) => share >= 0.5).length;
  const inOrder = (told) => columns.map((column) => `${column.id} ${told(column)}`).join(", ");
  return [
    axisExhibit(part, columns, {
      told: exhibit("canonical", "How much does one tell of the other?", "canonical correlations", MEANINGS.canonical),
      values: canonical,
      axis: "mix of traits",
      name: "Mix",
      label: `Canonical correlations that hold up on test concepts. Means: ${inOrder((column) => mean(canonical(column)).toFixed(2))}.`,
      foot: (column) => `mean ${mean(canonical(column)).toFixed(2)}`,
      prompt: "Coloured: this space. Grey: the others. Point, or use the arrow keys.",
    }),
    axisExhibit(part, columns, {
      told: exhibit("spectrum", "Is one trait louder than all others?", "spectrum of the cross-covariance", MEANINGS.spectrum),
      values: relative,
      axis: "shared direction",
      name: "Direction",
      label: `Singular values of the cross-covariance beside the largest. At least half of it: ${inOrder(strong)}.`,
      foot: (column) => `${strong(column)} at least half as strong`,
      prompt: "Strength beside the strongest, which is 1. Point, or use the arrow keys.",
    }),
    makeExhibit(exhibit("closeness", "Does it become what pairs would give?", "closeness to the CCA oracle", MEANINGS.closeness), closeness(part, theory)),
  ];
};

export const whyFamilies = (part, { rows, sentences, supports }) => {
  const spaces = Object.keys(rows[0].spaces);
  const told = ([at, low, high]) => `${at.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
  const all = (row) => spaces.map((space) => `${told(row.spaces[space])} ${space}`).join(", ");
  const mark = (row) => (space) => {
    const [at, low, high] = row.spaces[space];
    return { space, at, low, high };
  };
  const drawn = (row) => ({
    ...row,
    note: row.is_sum ? row.left_out : `without ${row.left_out}`,
    isSum: row.is_sum,
    end: countText(row.n),
    marks: spaces.map(mark(row)),
  });
  return makeExhibit(
    { title: "Does it hold for generators it never saw?", term: "one family left out of training at a time", meaning: MEANINGS.recall, sentences, supports },
    makeDotRows(part, {
      label: `Recall at 1 with one family left out of training. ${rows.map((row) => `${row.label}: ${all(row)}`).join("; ")}.`,
      rows: rows.map(drawn),
      axis: "share found at rank 1 (R@1)",
      endName: "pictures",
      prompt: "Dot: share of sources found first. Line: 95% interval over concepts. Point at a row, or use the arrow keys.",
      tell: (row) => `${row.label}, ${row.end} pictures: ${all(row)}`,
    }),
    key(spaces),
  );
};
