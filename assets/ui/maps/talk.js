// The map that a room sees: every picture travels from its place in one space to its place in the next, with the query and its source
// as pictures large enough for the back row. Drawn from what the page already has.
import { make } from "../core/dom.js";
import { glide } from "../core/motion.js";
import { catalogue, decode } from "../core/state.js";
import { colouringOf, markAt, traceShape } from "./marks.js";

const TRAVEL = 2200; // milliseconds from one space to the next

export const makeTalkMap = ({ resized, signal }) => {
  const canvas = make("canvas.talk-map", { role: "img" });
  let places = null; // per space
  let middle = null; // of all of them, and how far they reach from it along each axis
  let reach = null;
  let answer = null;
  let truth = null;
  let pictures = {};
  let t = 0;
  let goal = 0;
  let halt = () => {};
  let told = () => {};

  const gather = () => {
    const found = catalogue.spaces.map((space) => decode(space.coordinates));
    const ends = [0, 1].map((axis) => {
      let [low, high] = [1, 0];
      for (const list of found) for (let i = axis; i < list.length; i += 2) [low, high] = [Math.min(low, list[i]), Math.max(high, list[i])];
      return [low, high];
    });
    middle = ends.map(([low, high]) => (low + high) / 2);
    reach = ends.map(([low, high]) => Math.max(0.05, (high - low) / 2));
    return found;
  };

  const blend = (list, i) => {
    const from = Math.min(Math.floor(t), list.length - 1);
    const to = Math.min(from + 1, list.length - 1);
    return list[from][i] + (t - from) * (list[to][i] - list[from][i]);
  };
  const spaceNow = () => catalogue.spaces[Math.min(Math.round(t), catalogue.spaces.length - 1)].id;

  const framed = (context, image, [x, y], side, colour, above) => {
    const stem = side * 0.22;
    const edge = Math.max(3, side * 0.05);
    const left = Math.max(edge, Math.min(canvas.clientWidth - side - edge, x - side / 2));
    const top = Math.max(edge, Math.min(canvas.clientHeight - side - edge, above ? y - stem - side : y + stem));
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = edge;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(left + side / 2, above ? top + side : top);
    context.stroke();
    context.fillRect(left - edge, top - edge, side + 2 * edge, side + 2 * edge);
    if (image?.complete && image.naturalWidth) {
      const cut = Math.min(image.naturalWidth, image.naturalHeight);
      context.drawImage(image, (image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2, cut, cut, left, top, side, side);
    }
    context.beginPath();
    context.arc(x, y, edge * 1.6, 0, 2 * Math.PI);
    context.fill();
  };

  const draw = () => {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height || !places) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const side = Math.min(width, height) * 0.12;
    const span = Math.min((width / 2 - side * 0.7) / reach[0], (height / 2 - side * 0.7) / reach[1]);
    const put = (x, y) => [width / 2 + (x - middle[0]) * span, height / 2 - (y - middle[1]) * span];
    const at = (id) => put(blend(places, 2 * id), blend(places, 2 * id + 1));
    const token = (name) => getComputedStyle(canvas).getPropertyValue(name).trim();
    const radius = Math.max(1.5, Math.min(8, (0.2 * span * Math.max(...reach)) / Math.sqrt(catalogue.n)));

    const { index, slots, n } = colouringOf("group");
    const bySlot = new Map();
    for (let id = 0; id < catalogue.n; id++) {
      const slot = slots[index[id]];
      if (!bySlot.has(slot)) bySlot.set(slot, []);
      bySlot.get(slot).push(id);
    }
    context.globalAlpha = 0.6;
    for (const [slot, ids] of bySlot) {
      const { hue, shape } = markAt(slot, n);
      context.fillStyle = hue;
      context.beginPath();
      for (const id of ids) traceShape(context, shape, ...at(id), radius);
      context.fill();
    }
    context.globalAlpha = 1;
    if (!answer) return;
    const query = put(...[0, 1].map((axis) => blend(catalogue.spaces.map(({ id }) => answer.spaces[id].position), axis)));
    const space = spaceNow();
    context.strokeStyle = context.fillStyle = token(`--${space}`);
    for (const { id, weight } of answer.spaces[space].matches) {
      context.lineWidth = 2 + 8 * Math.sqrt(weight);
      context.beginPath();
      context.moveTo(...query);
      context.lineTo(...at(id));
      context.stroke();
      context.beginPath();
      context.arc(...at(id), radius * 1.3, 0, 2 * Math.PI);
      context.fill();
    }
    // The two pictures keep out of each other's way: the one that lies higher hangs above its place.
    const source = truth && at(truth.id);
    if (source) framed(context, pictures.truth, source, side, token("--truth"), source[1] <= query[1]);
    framed(context, pictures.query, query, side, token("--ink"), !source || query[1] < source[1]);
  };

  const settle = () => {
    const { name } = catalogue.spaces[Math.round(t)];
    canvas.setAttribute("aria-label", `Map of ${catalogue.n.toLocaleString("en-GB")} pictures: ${name}.`);
    told(t);
    draw();
  };

  const rest = () => halt();

  const travel = (to) => {
    rest();
    goal = Math.max(0, Math.min(places.length - 1, to));
    halt = glide(t, goal, TRAVEL * Math.min(1.5, Math.abs(goal - t)), (place) => {
      if (signal.aborted || (place !== goal && !canvas.isConnected)) return rest();
      t = place;
      settle();
    });
  };

  const load = (url) => {
    if (!url) return null;
    const image = new Image();
    image.onload = draw;
    image.src = url;
    return image;
  };

  resized(canvas, () => canvas.isConnected && draw());
  signal.addEventListener("abort", rest);

  return {
    canvas,
    travel,
    rest,
    follow: (listener) => (told = listener),
    start: (given, picture, source) => {
      places ??= gather();
      [answer, truth, t, goal] = [given, source, 0, 0];
      pictures = { query: load(picture), truth: load(source?.picture) };
      settle();
    },
    // Goes on to the next space, or back to the one before; false where there is none.
    advance: (by) => {
      const to = goal + by;
      if (!places || to < 0 || to > places.length - 1) return false;
      travel(to);
      return true;
    },
  };
};
