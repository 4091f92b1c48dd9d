// Cross-covariance pictures: how each trait of real pictures goes with each trait of the matching synthetic ones, a square per space.
import { make } from "../core/dom.js";
import { state } from "../core/state.js";
import { figuresTable, figuresTwin, makePanels, makeReadout, signedFigure } from "./panels.js";

// Hundredths, row by row, from base64 of signed bytes.
const readMatrix = (text) => Int8Array.from(atob(text), (character) => (character.charCodeAt(0) << 24) >> 24);

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
  const { area, plots } = makePanels(
    columns,
    label,
    () => make("div.heat", make("canvas", { width: String(side), height: String(side) }), make("span.cell", { hidden: true, style: { width: `${100 / side}%`, height: `${100 / side}%` } })),
    foot,
  );
  const repaint = () => state.view === "why" && plots.forEach((plot, i) => paint(plot.firstChild, matrices[i]));
  part.heard("view", repaint);
  requestAnimationFrame(repaint);
  part.themed(repaint);

  const mark = (place) => plots.forEach(({ lastChild: cell }) => {
    cell.hidden = place === null;
    if (place) [cell.style.top, cell.style.left] = place.map((i) => `${(100 * i) / side}%`);
  });
  const at = (event) => {
    const plot = event.target.closest?.(".heat");
    if (!plot) return null;
    const box = plot.getBoundingClientRect();
    const within = (share) => Math.max(0, Math.min(side - 1, Math.floor(side * share)));
    return [within((event.clientY - box.top) / box.height), within((event.clientX - box.left) / box.width)];
  };
  const move = (place, key) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-side, -side], End: [side, side] };
    if (!(key in steps)) return undefined;
    if (!place && key !== "End") return [0, 0];
    return (place ?? [0, 0]).map((i, axis) => Math.max(0, Math.min(side - 1, i + steps[key][axis])));
  };
  const tell = ([row, column]) =>
    `Real trait ${row + 1}, synthetic trait ${column + 1}: ` + columns.map(({ id }, i) => `${signedFigure(matrices[i][row * side + column] / 100, 2)} ${id}`).join(", ");
  const prompt = "Point at a square, or walk it with the arrow keys: each cell is one correlation.";
  const words = makeReadout(part, { area, prompt, at, move, tell, mark });
  const scale = make("p.heat-scale", { "aria-hidden": "true" }, "0", make("span"), "1", make("span.muted", "correlation, plus or minus; one scale for all"));

  const twin = figuresTwin(part, "cross-correlations", () => {
    const frame = make("div");
    const show = (i) => {
      buttons.forEach((button, b) => button.setAttribute("aria-pressed", String(b === i)));
      const row = (r) => Array.from(matrices[i].subarray(r * side, (r + 1) * side), (cell) => signedFigure(cell / 100, 2));
      const numbers = Array.from({ length: side }, (_, r) => r);
      frame.replaceChildren(figuresTable(`Cross-correlations, ${columns[i].id}: real traits down, synthetic traits across`, ["real \\ synthetic", ...numbers.map((r) => String(r + 1))], numbers.map((r) => [r + 1, ...row(r)])));
    };
    const buttons = columns.map((column, i) => {
      const button = make("button", { "data-space": column.id, onclick: () => show(i) }, column.id);
      return button;
    });
    show(0);
    return make("div", make("div.pick", { role: "group", "aria-label": "Which square" }, ...buttons), frame);
  });
  return make("div", area, scale, words, twin);
};
