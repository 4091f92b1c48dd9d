// Cross-covariance pictures: how each trait of real pictures goes with each trait of the matching synthetic ones, a square per space.
import { make, makeChoice, percent } from "../core/dom.js";
import { ARROWS, clamp } from "../core/keys.js";
import { readBytes } from "../core/packed.js";
import { state } from "../core/state.js";
import { fixedText } from "../core/words.js";
import { figuresTable, figuresTwin, makePanels, makeReadout, partAt } from "./panels.js";

// Hundredths, row by row.
const readMatrix = (text) => new Int8Array(readBytes(text).buffer);

// One pixel per pair of traits, in the colour of the ink, as strong as the two go together, whichever the sign.
const paint = (canvas, cells) => {
  const [red, green, blue] = getComputedStyle(canvas).color.match(/[\d.]+/g).map(Number);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  cells.forEach((cell, i) => image.data.set([red, green, blue, Math.round(2.55 * Math.min(100, Math.abs(cell)))], 4 * i));
  context.putImageData(image, 0, 0);
};

export const makeHeat = (part, { columns, side, label, foot }) => {
  const matrices = columns.map((column) => readMatrix(column.picture));
  const size = { width: percent(1 / side), height: percent(1 / side) };
  const plotOf = () => make("div.heat", make("canvas", { width: side, height: side }), make("span.cell", { hidden: true, style: size }));
  const { area, plots } = makePanels(columns, label, plotOf, foot);
  const repaint = () => state.view === "why" && plots.forEach((plot, i) => paint(plot.firstChild, matrices[i]));
  part.heard("view", repaint);
  requestAnimationFrame(repaint);
  part.themed(repaint);

  // A place is [row, column].
  const mark = (place) => plots.forEach(({ lastChild: cell }) => {
    cell.hidden = place === null;
    if (place) [cell.style.top, cell.style.left] = place.map((i) => percent(i / side));
  });
  const at = (event) => partAt(event, ".heat", side, side)?.reverse();
  const move = (place, key) => {
    const step = ARROWS[key] ?? { Home: [-side, -side], End: [side, side] }[key];
    if (!step) return undefined;
    if (!place && key !== "End") return [0, 0];
    return (place ?? [0, 0]).map((i, axis) => clamp(i + step[axis], side - 1));
  };
  const figure = (i, cell) => fixedText(matrices[i][cell] / 100, 2);
  const tell = ([row, column]) =>
    `Real trait ${row + 1}, synthetic trait ${column + 1}: ${columns.map(({ id }, i) => `${figure(i, row * side + column)} ${id}`).join(", ")}`;
  const prompt = "Point at a square, or walk it with the arrow keys: each cell is one correlation.";
  const words = makeReadout(part, { area, prompt, at, move, tell, mark });
  const scale = make("p.heat-scale", { "aria-hidden": "true" }, "0", make("span"), "1", make("span.muted", "correlation, plus or minus; one scale for all"));

  const twin = figuresTwin(part, "cross-correlations", () => {
    const frame = make("div");
    const traits = Array.from({ length: side }, (_, i) => i);
    const show = (id) => {
      const i = columns.findIndex((column) => column.id === id);
      const rows = traits.map((row) => [row + 1, ...traits.map((column) => figure(i, row * side + column))]);
      const name = `Cross-correlations, ${id}: real traits down, synthetic traits across`;
      choice.mark(id);
      frame.replaceChildren(figuresTable(name, ["real \\ synthetic", ...traits.map((trait) => String(trait + 1))], rows));
    };
    const choice = makeChoice("div.pick", "Which square", columns.map(({ id }) => [id, id, { "data-space": id }]), show);
    show(columns[0].id);
    return make("div", choice.element, frame);
  });
  return make("div", area, scale, words, twin);
};
