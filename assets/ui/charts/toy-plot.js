// A square picture of the toy: the points of both domains, a thin line between the two of a source, and the ellipses of N and C.
import { svg } from "../core/dom.js";
import { SOURCES, eigenOf } from "./toy-math.js";

const DOT = 0.018; // of half a side
const REACH = 2; // standard deviations that an ellipse encloses

const place = (element, attributes) => Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));

// half: what half a side stands for. show({real, synthetic, found}, rings) draws; rings: [{at, matrix, name}], matrix [a, b, c].
export const makeToyPlot = (half) => {
  const many = (name) => Array.from({ length: SOURCES }, () => svg(name));
  const [rings, views] = [svg("g.toy-rings"), svg("g.toy-views")];
  const [pairs, real, synthetic] = ["line.toy-pair", "circle.toy-real", "circle.toy-synthetic"].map(many);
  const cross = svg("path.toy-axis", { d: "M-1 0H1M0 -1V1" });
  const element = svg("svg.toy-plot", { viewBox: "-1 -1 2 2" }, cross, rings, pairs, views, real, synthetic);
  const at = ([x, y]) => [x / half, -y / half];
  let shown = null;

  const ring = ({ centre = [0, 0], matrix, name }) => {
    const { values, vectors } = eigenOf(matrix);
    const [x, y] = at(centre);
    const [rx, ry] = [values[1], values[0]].map((value) => (REACH * Math.sqrt(Math.max(0, value))) / half);
    const turn = (-180 * Math.atan2(vectors[1][1], vectors[1][0])) / Math.PI;
    return svg(`ellipse.${name}`, { rx, ry, transform: `translate(${x} ${y}) rotate(${turn})` });
  };

  const show = (drawn, around) => {
    shown = drawn;
    rings.replaceChildren(...around.map(ring));
    for (let i = 0; i < SOURCES; i++) {
      const [[x1, y1], [x2, y2]] = [at(drawn.real[i]), at(drawn.synthetic[i])];
      const isRight = drawn.found[i] === i;
      place(pairs[i], { x1, y1, x2, y2, class: isRight ? "toy-pair is-right" : "toy-pair" });
      place(real[i], { cx: x1, cy: y1, r: DOT });
      place(synthetic[i], { cx: x2, cy: y2, r: DOT });
    }
  };

  // One source in the foreground with the views of its two pictures, or none.
  const light = (source, seen = []) => {
    for (const layer of [pairs, real, synthetic]) layer.forEach((one, i) => one.classList.toggle("is-lit", i === source));
    views.replaceChildren(...seen.map(at).map(([cx, cy]) => svg("circle.toy-view", { cx, cy, r: DOT / 2 })));
  };

  // The source of the point nearest to the pointer, within a finger's width.
  const sourceAt = (event) => {
    const box = element.getBoundingClientRect();
    const [x, y] = [(2 * (event.clientX - box.left)) / box.width - 1, (2 * (event.clientY - box.top)) / box.height - 1];
    let best = [null, 16 / (box.width / 2)];
    for (const points of [shown.real, shown.synthetic])
      points.forEach((point, i) => {
        const [u, v] = at(point);
        const distance = Math.hypot(u - x, v - y);
        if (distance < best[1]) best = [i, distance];
      });
    return best[0];
  };
  return { svg: element, show, light, sourceAt };
};
