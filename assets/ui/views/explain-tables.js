// An explanation in words and numbers: the strongest regions of each picture, all regions, and the scale of the colours.
import { hint, make } from "../core/dom.js";
import { heatNumber, paintCell, placeOf, similarityWithout, strongestRegions } from "./explain-heat.js";

const HEAT_MEANING =
  "The feature is pooled again without the region, mapped into the space, and compared with the whole other picture. What the similarity loses by that is the region\u2019s value. A region just as alike as the rest stays near 0, and the values do not add up to the whole.";

const signed = (value) => (value < 0 ? "\u2212" : "+") + heatNumber(value);

// `onPoint` hears which region a row is about, and null when the pointer leaves it.
export const makeStrongest = ({ onPoint }) => {
  const element = make("div.strongest");
  let lines = new Map();

  const row = (cell, label, { values, side, similarity }) => {
    const { row, column, words } = placeOf(cell, side);
    const against = values[cell] < 0;
    const line = make("tr", { "data-sign": against ? "against" : "for" }, [
      make("td.key", make("span.key-mark", { "aria-hidden": "true" }, label), make("span.sr", against ? "against" : "for")),
      make("th", { scope: "row" }, `${words[0].toUpperCase()}${words.slice(1)} `, make("span.muted", `row\u00a0${row}, column\u00a0${column}`)),
      make("td", signed(values[cell])),
      make("td", similarityWithout(values[cell], similarity)),
    ]);
    line.addEventListener("pointerenter", () => onPoint(cell));
    line.addEventListener("pointerleave", () => onPoint(null));
    lines.set(cell, line);
    return line;
  };

  return {
    element,
    light: (cell) => lines.forEach((line, i) => line.classList.toggle("is-active", i === cell)),
    show(heat, words) {
      lines = new Map();
      const { speakFor, against } = strongestRegions(heat.values);
      const head = ["Region", "Adds", "Without it"].map((text) => make("th", { scope: "col" }, text));
      element.replaceChildren(make("table", [
        make("caption", `Strongest regions: ${words}`),
        make("thead", make("tr", make("th", { scope: "col" }, make("span.sr", "Speaks")), head)),
        make("tbody", speakFor.map((cell, i) => row(cell, String(i + 1), heat)), against.map((cell) => row(cell, "", heat))),
      ]));
    },
  };
};

// Every region of a picture as a table of its rows and columns.
export const allRegions = ({ values, side }, words) => {
  const numbers = Array.from({ length: side }, (_, i) => i + 1);
  return make("table", [
    make("caption", words),
    make("thead", make("tr", make("td"), numbers.map((column) => make("th", { scope: "col" }, `col.\u00a0${column}`)))),
    make("tbody", numbers.map((row) =>
      make("tr", make("th", { scope: "row" }, `row\u00a0${row}`), values.slice((row - 1) * side, row * side).map((value) => make("td", signed(value)))),
    )),
  ]);
};

// One scale for both pictures of a space.
export const heatLegend = (scale, name) => {
  const steps = [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1];
  return [
    make("p", hint("What a region adds", HEAT_MEANING), ` to the similarity in ${name}. One scale for both pictures.`),
    make("span.swatches", { "aria-hidden": "true" }, steps.map((step) => paintCell(make("span.cell"), step * scale, scale))),
    make("p.ends", make("span", `against ${signed(-scale)}`), make("span", "0"), make("span", `for ${signed(scale)}`)),
  ];
};
