// A square picture of the toy: the points of both domains, a thin line between the two of a source, and the ellipses of N and C.
import { toyMath } from "./toy-math.js";

const NS = "http://www.w3.org/2000/svg";
const DOT = 0.018; // of half a side
const REACH = 2; // standard deviations that an ellipse encloses

const shape = (tag, name) => {
  const element = document.createElementNS(NS, tag);
  element.setAttribute("class", name);
  return element;
};
const place = (element, attributes) => Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, String(value)));

// half: what half a side stands for. show({real, synthetic, found}, rings) draws; rings: [{at, matrix, name}], matrix [a, b, c].
export const makeToyPlot = (half) => {
  const n = toyMath.SOURCES;
  const svg = shape("svg", "toy-plot");
  svg.setAttribute("viewBox", "-1 -1 2 2");
  const many = (tag, name, count) => Array.from({ length: count }, () => shape(tag, name));
  const cross = many("path", "toy-axis", 1);
  cross[0].setAttribute("d", "M-1 0H1M0 -1V1");
  const layers = { rings: shape("g", "toy-rings"), lines: many("line", "toy-pair", n), views: shape("g", "toy-views"), real: many("circle", "toy-real", n), synthetic: many("circle", "toy-synthetic", n) };
  svg.append(...cross, layers.rings, ...layers.lines, layers.views, ...layers.real, ...layers.synthetic);
  const at = ([x, y]) => [x / half, -y / half];
  let shown = null;

  const ring = ({ centre = [0, 0], matrix, name }) => {
    const { values, vectors } = toyMath.eigen(matrix);
    const [x, y] = at(centre);
    const element = shape("ellipse", name);
    const [rx, ry] = [values[1], values[0]].map((value) => (REACH * Math.sqrt(Math.max(0, value))) / half);
    const turn = (-180 * Math.atan2(vectors[1][1], vectors[1][0])) / Math.PI;
    place(element, { rx, ry, transform: `translate(${x} ${y}) rotate(${turn})` });
    return element;
  };

  const show = (drawn, rings) => {
    shown = drawn;
    layers.rings.replaceChildren(...rings.map(ring));
    for (let i = 0; i < n; i++) {
      const [[x1, y1], [x2, y2]] = [at(drawn.real[i]), at(drawn.synthetic[i])];
      const isRight = drawn.found[i] === i;
      place(layers.lines[i], { x1, y1, x2, y2, class: isRight ? "toy-pair is-right" : "toy-pair" });
      place(layers.real[i], { cx: x1, cy: y1, r: DOT });
      place(layers.synthetic[i], { cx: x2, cy: y2, r: DOT });
    }
  };

  // One source in the foreground with the views of its two pictures, or none.
  const light = (source, views = []) => {
    for (const layer of [layers.lines, layers.real, layers.synthetic]) layer.forEach((element, i) => element.classList.toggle("is-lit", i === source));
    layers.views.replaceChildren(
      ...views.map((view) => {
        const [cx, cy] = at(view);
        const element = shape("circle", "toy-view");
        place(element, { cx, cy, r: DOT / 2 });
        return element;
      }),
    );
  };

  // The source of the point nearest to the pointer, within a finger's width.
  const sourceAt = (event) => {
    const box = svg.getBoundingClientRect();
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
  return { svg, show, light, sourceAt };
};
