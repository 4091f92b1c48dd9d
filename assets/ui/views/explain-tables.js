// An explanation in numbers: all regions of each picture, and the scale of the colours.
import { hint, make, makeHead } from "../core/dom.js";
import { heatNumber, paintCell } from "./explain-heat.js";

const HEAT_MEANING =
  "The feature is pooled again without the region, mapped into the space, and compared with the whole other picture. What the similarity loses by that is the region\u2019s value. A region just as alike as the rest stays near 0, and the values do not add up to the whole.";

const signed = (value) => (value < 0 ? "\u2212" : "+") + heatNumber(value);

// Every region of a picture as a table of its rows and columns.
export const allRegions = ({ values, side }, words) => {
  const numbers = Array.from({ length: side }, (_, i) => i + 1);
  const cells = (row) => values.slice((row - 1) * side, row * side).map((value) => make("td", signed(value)));
  return make("table", [
    make("caption", words),
    makeHead(make("td"), numbers.map((column) => `col.\u00a0${column}`)),
    make("tbody", numbers.map((row) => make("tr", make("th", { scope: "row" }, `row\u00a0${row}`), cells(row)))),
  ]);
};

// One scale for both pictures of a space.
export const heatLegend = (scale, name) => [
  make("p", hint("What a region adds", HEAT_MEANING), ` to the similarity in ${name}. One scale for both pictures.`),
  make("span.swatches", { "aria-hidden": "true" }, [-3, -2, -1, 0, 1, 2, 3].map((step) => paintCell(make("span.cell"), (step / 3) * scale, scale))),
  make("p.ends", make("span", `against ${signed(-scale)}`), make("span", "0"), make("span", `for ${signed(scale)}`)),
];
