// How well it works: the measured figures of this bundle, with their intervals, one measure at a time.
import { hint, make, makeChoice, makeHead } from "../core/dom.js";
import { mountPart } from "../core/state.js";

const MEANINGS = {
  "R@1": "Recall at 1: the share of a query\u2019s true sources found at rank 1, averaged over queries. A query with n true sources cannot exceed 1/n: where a painter has 27 pieces, 1/27 or 0.04.",
  "R@5": "Recall at 5: the share of a query\u2019s true sources among the first five matches, averaged over queries. A query with n true sources cannot exceed 5/n: where a painter has 27 pieces, 5/27 or 0.19.",
  MRR: "Mean reciprocal rank: the mean of 1 divided by the rank of the first true source. 1 is perfect.",
};

export const mountAbout = (element, props) => {
  const { slot } = mountPart("about", element);
  const { how, metrics } = props.value;

  const cell = (figure, space) =>
    figure
      ? make("td", { "data-space": space }, [
          make("span.number", figure.mean.toFixed(2)),
          figure.low === undefined ? null : make("span.interval", `${figure.low.toFixed(2)}\u2013${figure.high.toFixed(2)}`),
        ])
      : make("td", "\u2013");
  const small = (row) => [row.n_queries ? `${row.n_queries} pictures` : null, row.held_out ? "generator never trained on" : null].filter(Boolean).join(", ");

  const table = make("table.metrics");
  const show = (measure) => {
    mark(measure);
    const names = how.map(({ id, name }) => make("th", { scope: "col", "data-space": id }, name));
    table.replaceChildren(
      makeHead(make("th", { scope: "col" }, hint(measure, MEANINGS[measure])), names),
      make("tbody", metrics.map((row) => make("tr", [
        make("th", { scope: "row" }, row.label, make("span.interval", small(row))),
        how.map(({ id }) => cell(row.cells[measure][id], id)),
      ]))),
    );
  };
  const { element: choice, mark } = makeChoice("div.segment", "Measure", Object.keys(MEANINGS).map((measure) => [measure, measure]), show);
  show("R@1");
  slot.replaceChildren(metrics.length ? make("section.results", [
    make("h2.why-part", "How well, on subjects that were never trained on"),
    make("p.why-lead", "Mean, and below it the 95% interval over concepts. The true source is known for each of these pictures."),
    choice,
    table,
  ]) : "");
};
