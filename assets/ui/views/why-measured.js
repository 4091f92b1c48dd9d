// The theory in figures: five charts from theory.json, and one from generalisation.json, each beside three sentences that the server
// wrote from the same figures.
import { makeDots, makeExhibit, makeLines } from "../charts/panels.js";
import { hint, make } from "../core/dom.js";
import { countText, fixedText } from "../core/words.js";

const MEANINGS = {
  trait: "A trait is one principal direction: one of the directions along which the pictures of a space differ most, loudest first. They are found without pairs.",
  share: "Diagonal share: the squares of the correlations on the diagonal, as a share of all squares. 1 when every trait goes with its own counterpart only.",
  canonical: "Held-up canonical correlation: the correlation, on test concepts, of mixes that canonical correlation analysis chose on training concepts. From \u22121 to 1, no unit.",
  spectrum: "Singular values of the cross-covariance of matched embeddings, divided by the largest of the same space. No unit.",
  rank: "Effective rank: exp of the entropy of the covariance\u2019s spectrum. 1 on a line, the number of dimensions for a round cloud; samples of a few hundred read low.",
  redundancy: "Redundancy: the mean squared correlation between different dimensions. 0 is none; independent dimensions read 1/(n \u2212 1) in a sample of n pictures, the grey mark.",
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

// One measure of every space, for real and for synthetic pictures.
const spreadHalf = (part, columns, field, { name, meaning, step, digits, floor = null }) => {
  const most = Math.max(...columns.flatMap((column) => Object.values(column[field])));
  const top = Math.ceil(most / step) * step;
  const both = (column) => `real ${column[field].real.toFixed(digits)}, synthetic ${column[field].synthetic.toFixed(digits)}`;
  const row = (column) => ({
    label: column.id,
    space: column.id,
    marks: ["real", "synthetic"].map((domain) => ({ space: column.id, at: column[field][domain], hollow: domain === "synthetic" })),
    floor: floor ? [floor.real, floor.synthetic] : [],
    column,
  });
  const chance = floor ? `; independent dimensions ${floor.real.toFixed(4)} and ${floor.synthetic.toFixed(4)}` : "";
  const chart = makeDots(part, {
    label: `${name}: ${columns.map((column) => `${column.id} ${both(column)}`).join("; ")}.`,
    rows: columns.map(row),
    top,
    ticks: [0, top / 2, top],
    axis: "",
    prompt: `\u25cf real pictures   \u25cb synthetic pictures${floor ? "   Grey marks: what independent dimensions would read." : ""}`,
    tell: ({ column }) => `${column.id}: ${both(column)}${chance}`,
  });
  return make("div.half", make("p.half-name", hint(name, meaning)), chart);
};

const spread = (part, { columns, floor }) => {
  const spaces = columns.filter((column) => column.effective_rank);
  const rank = { name: "Effective rank, directions", meaning: MEANINGS.rank, step: 100, digits: 1 };
  const redundancy = { name: "Redundancy, mean squared correlation", meaning: MEANINGS.redundancy, step: 0.01, digits: 5, floor };
  return make("div.halves", spreadHalf(part, spaces, "effective_rank", rank), spreadHalf(part, spaces, "redundancy", redundancy));
};

const closeness = (part, theory) => {
  const { columns, chance } = theory;
  const ways = Object.entries(columns[0].closeness).flatMap(([shrinkage, found]) => Object.keys(found).map((way) => ({ shrinkage, way })));
  const rows = [
    { label: "Found at rank 1", note: "recall@1", of: (column) => column["recall@1"] },
    ...ways.map(({ shrinkage, way }, i) => ({
      isNext: i === 0,
      label: way === "cka" ? "Similarities alike" : "Directions captured",
      note: `${way === "cka" ? "CKA" : way}, shrinkage ${shrinkage}`,
      of: (column) => column.closeness[shrinkage][way],
      floor: chance[shrinkage]?.[way] === undefined ? [] : [chance[shrinkage][way]],
    })),
  ];
  const told = (row) => eachOf(columns, (column) => row.of(column).toFixed(4));
  const marks = (row) => columns.map((column) => ({ space: column.id, at: row.of(column), hollow: column.id === "oracle" }));
  return make("div", [
    makeDots(part, {
      label: `Recall and closeness to the oracle. ${rows.map((row) => `${row.label}, ${row.note}: ${told(row)}`).join("; ")}.`,
      rows: rows.map((row) => ({ ...row, marks: marks(row) })),
      top: 1,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      axis: "",
      prompt: "For closeness the oracle\u2019s own ring is another oracle, fitted on other pairs: the most one can ask. Grey mark: chance.",
      tell: (row) => `${row.note}: ${told(row)}${row.floor?.length ? `, chance ${row.floor[0]}` : ""}`,
    }),
    key(columns.map(({ id }) => id)),
  ]);
};

export const whyTheory = (part, theory) => {
  const { columns, sentences, supports } = theory;
  const exhibit = (chart, title, term, meaning) => ({ title, term, meaning, sentences: sentences[chart], supports: supports[chart] });
  const diagonal = ({ diagonal_share: share }) => share.correlation.toFixed(2);
  const canonical = (column) => column.canonical_correlations;
  const relative = ({ spectrum }) => spectrum.map((value) => value / spectrum[0]);
  const strong = (column) => relative(column).filter((share) => share >= 0.5).length;
  const inOrder = (told) => columns.map((column) => `${column.id} ${told(column)}`).join(", ");
  return [
    makeExhibit(
      exhibit("picture", "Does like meet like?", "cross-covariance of matched pictures", `${MEANINGS.trait} ${MEANINGS.share}`),
      makeDots(part, {
        label: `Share of all squared correlation that lies on the diagonal: ${inOrder(diagonal)}.`,
        rows: columns.map((column) => ({ label: column.name, note: column.id, space: column.id, column, marks: [{ space: column.id, at: column.diagonal_share.correlation }] })),
        top: 1,
        ticks: [0, 0.25, 0.5, 0.75, 1],
        axis: "share on the diagonal",
        prompt: "1: each trait goes with its own counterpart only. Point at a row, or use the arrow keys.",
        tell: ({ column }) => `${column.id}: ${diagonal(column)}`,
      }),
    ),
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
    makeExhibit(exhibit("spread", "How many traits are put to use?", "effective rank and redundancy", `${MEANINGS.rank} ${MEANINGS.redundancy}`), spread(part, theory)),
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
    makeDots(part, {
      label: `Recall at 1 with one family left out of training. ${rows.map((row) => `${row.label}: ${all(row)}`).join("; ")}.`,
      rows: rows.map(drawn),
      top: 1,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      axis: "share found at rank 1 (R@1)",
      endName: "pictures",
      prompt: "Dot: share of sources found first. Line: 95% interval over concepts. Point at a row, or use the arrow keys.",
      tell: (row) => `${row.label}, ${row.end} pictures: ${all(row)}`,
    }),
    key(spaces),
  );
};
