// Inspect: the filters, each value with the number of queries it would leave.
import { make, svg } from "../core/dom.js";
import { countText } from "../core/words.js";

// The two states of an answer, as shapes: a filled square with a tick, an open one with a cross. Words stand beside them.
const SHAPES = { r: ["right", "M3.5 8.5 6.5 11.5 12.5 4.5"], w: ["wrong", "M5 5 11 11M11 5 5 11"], "-": ["any", "M5 8H11"] };
export const outcomeMark = (state) => {
  const [name, path] = SHAPES[state];
  const box = svg("rect", { x: 0.75, y: 0.75, width: 14.5, height: 14.5 });
  return svg(`svg.mark.mark-${name}`, { viewBox: "0 0 16 16", "aria-hidden": "true" }, box, svg("path", { d: path }));
};

export const inspectFacets = (context) => {
  const { part, table } = context;
  const options = []; // what draws each line anew

  const option = (facet, f, v) => {
    const { value, label, note, pattern } = facet.values[v];
    const input = make("input", { type: "checkbox", "data-facet": facet.key, "data-value": value });
    const count = make("span.number");
    part.on(input, "change", () => context.toggle(facet.key, value, input.checked));
    const marks = pattern ? make("span.marks", [...pattern].map(outcomeMark)) : null;
    const words = make("span.words", label, note ? make("span.note", note) : null);
    const row = make("label.option", input, make("span.box", { "aria-hidden": "true" }), words, marks, count);
    options.push(({ filters, choice }) => {
      const n = choice.counts[f][v];
      input.checked = filters[facet.key]?.has(value) ?? false;
      count.textContent = countText(n);
      row.classList.toggle("is-none", n === 0 && !input.checked);
    });
    return row;
  };

  const fieldsets = table.facets.map((facet, f) =>
    facet.values.length > 1 ? make("fieldset", make("legend", facet.title), facet.order.map((v) => option(facet, f, v))) : null,
  );
  const summary = make("summary", "Filters");
  const element = make("details.facets", summary, fieldsets);
  const narrow = window.matchMedia("(max-width: 760px)");
  const fold = () => (element.open = !narrow.matches);
  part.on(narrow, "change", fold);
  fold();

  const draw = () => {
    options.forEach((drawn) => drawn(context.state));
    const n = Object.values(context.state.filters).reduce((sum, values) => sum + values.size, 0);
    summary.textContent = n ? `Filters (${n})` : "Filters";
  };
  return { element, draw };
};
