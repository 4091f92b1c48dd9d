// The theory in figures: five charts from theory.json, and one from generalisation.json, each beside three sentences that the server
// wrote from the same figures.
import { makeHeat } from "../charts/heat.js";
import { figuresTable, figuresTwin, makeDots, makeExhibit, makeLines, signedFigure } from "../charts/panels.js";
import { hint, make } from "../core/dom.js";

const MEANINGS = {
  trait: "A trait is one principal direction: one of the directions along which the pictures of a space differ most, loudest first. They are found without pairs.",
  share: "Diagonal share: the squares of the correlations on the diagonal, as a share of all squares. 1 when every trait goes with its own counterpart only.",
  canonical: "Held-up canonical correlation: the correlation, on test concepts, of mixes that canonical correlation analysis chose on training concepts. From \u22121 to 1, no unit.",
  spectrum: "Singular values of the cross-covariance of matched embeddings, divided by the largest of the same space. No unit.",
  rank: "Effective rank: exp of the entropy of the covariance\u2019s spectrum. 1 on a line, the number of dimensions for a round cloud; samples of a few hundred read low.",
  redundancy: "Redundancy: the mean squared correlation between different dimensions. 0 is none; independent dimensions read 1/(n \u2212 1) in a sample of n pictures, the grey mark.",
  closeness: "Closeness to the CCA oracle on test pictures, within the oracle\u2019s own directions. Subspace: the share of the oracle\u2019s directions that a space\u2019s loudest ones capture. CKA: how alike the similarities of all pictures are. Shrinkage is how strongly the oracle itself is smoothed.",
  recall: "Recall at 1: the share of pictures whose true source comes first among all references.",
  interval: "95% bootstrap interval, drawn by concept. No interval was measured for the theory\u2019s figures.",
};
const mean = (figures) => figures.reduce((sum, figure) => sum + figure, 0) / figures.length;

const key = (ids) => make("p.key", ...ids.map((id) => make("span", { "data-space": id }, make("span", { class: id === "oracle" ? "dot is-hollow" : "dot" }), id)));

const lines = (part, columns, values, options) => {
  const told = (i) => columns.filter((column) => values(column)[i] !== undefined).map((column) => `${signedFigure(values(column)[i], options.digits)} ${column.id}`);
  return makeLines(part, { columns, values, tell: (i) => `${options.name} ${i + 1}: ${told(i).join(", ")}`, ...options });
};

const spread = (part, { columns, floor }) => {
  const spaces = columns.filter((column) => column.effective_rank);
  const chart = (name, meaning, key, { top, ticks, digits, form, withFloor }) => {
    const both = (column) => ["real", "synthetic"].map((domain) => column[key][domain].toFixed(digits));
    return make("div.half", [
      make("p.half-name", hint(name, meaning)),
      makeDots(part, {
        label: `${name}: ${spaces.map((column) => `${column.id} real ${both(column)[0]}, synthetic ${both(column)[1]}`).join("; ")}.`,
        rows: spaces.map((column) => ({
          label: column.id,
          space: column.id,
          marks: [
            { space: column.id, at: column[key].real },
            { space: column.id, at: column[key].synthetic, hollow: true },
          ],
          floor: withFloor ? [floor.real, floor.synthetic] : [],
          column,
        })),
        top,
        ticks,
        form,
        axis: "",
        prompt: "\u25cf real pictures   \u25cb synthetic pictures" + (withFloor ? "   Grey marks: what independent dimensions would read." : ""),
        tell: ({ column }) =>
          `${column.id}: real ${both(column)[0]}, synthetic ${both(column)[1]}` + (withFloor ? `; independent dimensions ${floor.real.toFixed(4)} and ${floor.synthetic.toFixed(4)}` : ""),
      }),
    ]);
  };
  const widest = Math.max(...spaces.flatMap(({ effective_rank: rank }) => Object.values(rank)));
  const most = Math.max(...spaces.flatMap(({ redundancy }) => Object.values(redundancy)));
  const [rankTop, redundancyTop] = [Math.ceil(widest / 100) * 100, Math.ceil(most * 100) / 100];
  return make("div", [
    make("div.halves", [
      chart("Effective rank, directions", MEANINGS.rank, "effective_rank", { top: rankTop, ticks: [0, rankTop / 2, rankTop], digits: 1, form: String }),
      chart("Redundancy, mean squared correlation", MEANINGS.redundancy, "redundancy", { top: redundancyTop, ticks: [0, redundancyTop / 2, redundancyTop], digits: 5, form: String, withFloor: true }),
    ]),
    figuresTwin(part, "effective rank and redundancy", () =>
      figuresTable(
        "Effective rank and redundancy",
        ["space", "effective rank, real", "effective rank, synthetic", "redundancy, real", "redundancy, synthetic"],
        spaces.map(({ id, effective_rank: rank, redundancy }) => [id, rank.real.toFixed(1), rank.synthetic.toFixed(1), redundancy.real.toFixed(5), redundancy.synthetic.toFixed(5)])),
    ),
  ]);
};

const closeness = (part, theory) => {
  const { columns, chance, settings } = theory;
  const ways = Object.keys(columns[0].closeness).flatMap((shrinkage) => Object.keys(columns[0].closeness[shrinkage]).map((way) => ({ shrinkage, way })));
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
  const told = (row) => columns.map((column) => `${row.of(column).toFixed(4)} ${column.id}`).join(", ");
  return make("div", [
    makeDots(part, {
      label: `Recall and closeness to the oracle. ${rows.map((row) => `${row.label}, ${row.note}: ${told(row)}`).join("; ")}.`,
      rows: rows.map((row) => ({ ...row, marks: columns.map((column) => ({ space: column.id, at: row.of(column), hollow: column.id === "oracle" })) })),
      top: 1,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      axis: "",
      prompt: "For closeness the oracle\u2019s own ring is another oracle, fitted on other pairs: the most one can ask. Grey mark: chance.",
      tell: (row) => `${row.note}: ${told(row)}${row.floor?.length ? `, chance ${row.floor[0]}` : ""}`,
    }),
    key(columns.map(({ id }) => id)),
    figuresTwin(part, "recall and closeness to the oracle", () =>
      figuresTable(`Recall and closeness; CCA within ${settings.subspace} directions`, ["measure", ...columns.map(({ id }) => id)], rows.map((row) => [row.note, ...columns.map((column) => row.of(column).toFixed(4))])),
    ),
  ]);
};

export const whyTheory = (part, theory) => {
  const { columns, side, sentences } = theory;
  const relative = ({ spectrum }) => spectrum.map((value) => value / spectrum[0]);
  const canonical = ({ canonical_correlations: found }) => found;
  const longest = (key) => Array.from({ length: Math.max(...columns.map((column) => column[key].length)) }, (_, i) => i);
  const cells = (key, digits, i) => columns.map((column) => (column[key][i] === undefined ? "\u2013" : signedFigure(column[key][i], digits)));
  const heads = ["", ...columns.map(({ id }) => id)];
  return [
    makeExhibit(
      "Does like meet like?",
      "cross-covariance of matched pictures",
      `${MEANINGS.trait} ${MEANINGS.share}`,
      sentences.picture,
      makeHeat(part, {
        columns,
        side,
        label: `Four squares of ${side} by ${side} correlations. Share on the diagonal: ${columns.map(({ id, diagonal_share: share }) => `${id} ${share.correlation.toFixed(2)}`).join(", ")}.`,
        foot: ({ diagonal_share: share }) => `diagonal ${share.correlation.toFixed(2)}`,
      }),
    ),
    makeExhibit(
      "How much does one tell of the other?",
      "canonical correlations",
      MEANINGS.canonical,
      sentences.canonical,
      lines(part, columns, canonical, {
        top: 1,
        ticks: [0, 0.5, 1],
        axis: "mix of traits",
        name: "Mix",
        digits: 2,
        label: `Canonical correlations that hold up on test concepts. Means: ${columns.map((column) => `${column.id} ${mean(canonical(column)).toFixed(2)}`).join(", ")}.`,
        foot: (column) => `mean ${mean(canonical(column)).toFixed(2)}`,
        prompt: "Coloured: this space. Grey: the others. Point, or use the arrow keys.",
      }),
      figuresTwin(part, "canonical correlations", () => figuresTable("Canonical correlations", heads, longest("canonical_correlations").map((i) => [i + 1, ...cells("canonical_correlations", 4, i)]))),
    ),
    makeExhibit(
      "Is one trait louder than all others?",
      "spectrum of the cross-covariance",
      MEANINGS.spectrum,
      sentences.spectrum,
      lines(part, columns, relative, {
        top: 1,
        ticks: [0, 0.5, 1],
        axis: "shared direction",
        name: "Direction",
        digits: 2,
        label: `Singular values of the cross-covariance beside the largest. At least half of it: ${columns.map((column) => `${column.id} ${relative(column).filter((share) => share >= 0.5).length}`).join(", ")}.`,
        foot: (column) => `${relative(column).filter((share) => share >= 0.5).length} at least half as strong`,
        prompt: "Strength beside the strongest, which is 1. Point, or use the arrow keys.",
      }),
      figuresTwin(part, "singular values", () => figuresTable("Singular values of the cross-covariance, not divided", heads, longest("spectrum").map((i) => [i + 1, ...cells("spectrum", 5, i)]))),
    ),
    makeExhibit("How many traits are put to use?", "effective rank and redundancy", `${MEANINGS.rank} ${MEANINGS.redundancy}`, sentences.spread, spread(part, theory)),
    makeExhibit("Does it become what pairs would give?", "closeness to the CCA oracle", MEANINGS.closeness, sentences.closeness, closeness(part, theory)),
  ];
};

export const whyFamilies = (part, { rows, sentences }) => {
  const spaces = Object.keys(rows[0].spaces);
  const told = ([at, low, high]) => `${at.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
  const all = (row, measure) => spaces.map((space) => `${told(row.spaces[space][measure])} ${space}`).join(", ");
  return makeExhibit(
    "Does it hold for generators it never saw?",
    "one family left out of training at a time",
    `${MEANINGS.recall} ${MEANINGS.interval.split(". ")[0]}.`,
    sentences,
    makeDots(part, {
      label: `Recall at 1 with one family left out of training. ${rows.map((row) => `${row.label}: ${all(row, "R@1")}`).join("; ")}.`,
      rows: rows.map((row) => ({ ...row, note: row.is_sum ? row.left_out : `without ${row.left_out}`, isSum: row.is_sum, end: row.n.toLocaleString("en-GB"), marks: spaces.map((space) => ({ space, at: row.spaces[space]["R@1"][0], low: row.spaces[space]["R@1"][1], high: row.spaces[space]["R@1"][2] })) })),
      top: 1,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      axis: "share found at rank 1 (R@1)",
      endName: "pictures",
      prompt: "Dot: share of sources found first. Line: 95% interval over concepts. Point at a row, or use the arrow keys.",
      tell: (row) => `${row.label}, ${row.end} pictures: ${all(row, "R@1")}`,
    }),
    key(spaces),
    figuresTwin(part, "families left out of training", () =>
      figuresTable(
        "Families left out of training: mean and 95% interval",
        ["kind of picture", "left out", "n", ...["R@1", "MRR"].flatMap((measure) => spaces.map((space) => `${measure}, ${space}`))],
        rows.map((row) => [row.label, row.left_out, row.n, ...["R@1", "MRR"].flatMap((measure) => spaces.map((space) => row.spaces[space][measure].map((figure) => figure.toFixed(4)).join(" / ")))].map(String)),
      ),
    ),
  );
};
