// How well it works: the measured figures of this bundle, with their intervals.
import { hint, make } from "../core/dom.js";
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

  const small = (row) =>
    [row.type, row.n_queries ? `${row.n_queries} queries` : null, row.held_out ? "generator never trained on" : null].filter(Boolean).join(", ");

  const table = () => {
    const measures = Object.keys(MEANINGS);
    const spaces = how.map(({ id }) => id);
    return make("div.scroller", { tabindex: "0", role: "region", "aria-label": "Measured results" }, make("table.metrics", [
      make("thead", [
        make("tr", [
          make("th", { rowspan: "2", scope: "col" }, "Kind of query"),
          measures.map((measure) => make("th", { colspan: String(spaces.length), scope: "colgroup" }, hint(measure, MEANINGS[measure]))),
        ]),
        make("tr", ...measures.flatMap(() => spaces.map((space) => make("th.term", { scope: "col", "data-space": space }, space)))),
      ]),
      make("tbody", metrics.map((row) => make("tr", [
        make("th", { scope: "row" }, row.label, make("span.interval", small(row))),
        ...measures.flatMap((measure) => spaces.map((space) => cell(row.cells[measure][space], space))),
      ]))),
    ]));
  };

  const results = () => make("section.results", [
    make("h2.why-part", "How well, measured on concepts that were never trained on"),
    make("p.why-lead", "Mean, and below it the 95% interval over concepts. The true source is known for each of these queries."),
    table(),
  ]);
  slot.replaceChildren(metrics.length ? results() : "");
};
