// How a reference is marked on the maps: seven colour-blind safe hues in three shapes, by concept group or source. The largest
// groups differ in hue; those that share one are full, hollow, and pointed.
import { make } from "../core/dom.js";
import { countsOf } from "../core/filter.js";
import { catalogue, state } from "../core/state.js";

// Chosen so that any two stay 21 apart in CIELAB, with full colour vision and without red, green or blue cones (tests/browser/test_maps.py).
const HUES = { light: ["#1f5fb4", "#dc3d4e", "#2f5212", "#d6841f", "#2f9fd8", "#852f78", "#8f8c92"] };
HUES.dark = ["#4b8bf0", "#dd7a2a", "#aee592", "#f6cf3a", "#5fe0f0", "#b565b2", "#a09c98"];
const SHAPES = ["circle", "ring", "triangle"];
const N_NAMED = 21;
const FIELDS = { group: "Concept group", source: "Source" };

export const isDark = () => document.body.classList.contains("dark") || document.documentElement.classList.contains("dark");

// Few values differ in hue and shape both; many go through the hues once per shape.
export const markAt = (slot, n) => {
  const i = Math.min(slot, N_NAMED - 1);
  return { hue: HUES[isDark() ? "dark" : "light"][i % 7], shape: SHAPES[(n <= 7 ? i : Math.floor(i / 7)) % 3] };
};

// What the maps can be coloured by: a field in which all references agree says nothing.
export const colourFields = () =>
  Object.entries(FIELDS).filter(([field]) => field === "group" || (catalogue.words[field]?.values.length ?? 0) > 1);

// {field, name, values, index: value of each reference, slots: mark of each value, n: how many marks, named: values in the legend's order}
export const colouringOf = (field = state.colours ?? "group") => (catalogue.words[field].colouring ??= madeFor(field));

const madeFor = (field) => {
  const { values, index } = catalogue.words[field];
  const counts = countsOf(catalogue.words[field]);
  const order = values.map((_, value) => value);
  order.sort((a, b) => counts[b] - counts[a] || a - b); // the rarest share the last mark
  const slots = new Uint16Array(values.length);
  order.forEach((value, slot) => (slots[value] = Math.min(slot, N_NAMED - 1)));
  const named = order.slice(0, values.length > N_NAMED ? N_NAMED - 1 : values.length);
  named.sort((a, b) => values[a].localeCompare(values[b]));
  return { field, name: FIELDS[field], values, index, slots, n: Math.min(values.length, N_NAMED), named };
};

const TRACES = {
  circle: (context, x, y, r) => {
    context.moveTo(x + r, y);
    context.arc(x, y, r, 0, 2 * Math.PI);
  },
  ring: (context, x, y, r) => {
    TRACES.circle(context, x, y, 1.15 * r);
    context.moveTo(x + 0.55 * r, y);
    context.arc(x, y, 0.55 * r, 0, 2 * Math.PI, true);
  },
  triangle: (context, x, y, r) => {
    const h = r * 1.25;
    context.moveTo(x, y - h);
    context.lineTo(x + h, y + h * 0.8);
    context.lineTo(x - h, y + h * 0.8);
    context.closePath();
  },
};

// One shape at several places [x, y].
export const fillShapes = (context, shape, places, radius, hue) => {
  context.fillStyle = hue;
  context.beginPath();
  for (const [x, y] of places) TRACES[shape](context, x, y, radius);
  context.fill();
};

// A mark as a small picture, for legends and tables.
export const makeSwatch = (slot, n) => {
  const canvas = make("canvas.swatch", { width: 28, height: 28, "aria-hidden": "true" });
  canvas.paint = () => {
    const context = canvas.getContext("2d");
    const { hue, shape } = markAt(slot, n);
    context.clearRect(0, 0, 28, 28);
    fillShapes(context, shape, [[14, 14]], 9, hue);
  };
  canvas.paint();
  return canvas;
};
