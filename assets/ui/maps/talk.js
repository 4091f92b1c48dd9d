// The map that a room sees: every picture travels from its place in one space to its place in the next, with the query and its source
// as pictures large enough for the back row. Drawn from what the page already has.
import { make } from "../core/dom.js";
import { clamp } from "../core/keys.js";
import { glide } from "../core/motion.js";
import { readPlaces } from "../core/packed.js";
import { catalogue } from "../core/state.js";
import { countText } from "../core/words.js";
import { colouringOf, fillShapes, markAt } from "./marks.js";
import { blendPlaces } from "./morph.js";
import { drawSquare } from "./pin.js";

const TRAVEL = 2200; // milliseconds from one space to the next

export const makeTalkMap = ({ resized, ended, signal }) => {
  const canvas = make("canvas.talk-map", { role: "img" });
  let places = null; // per space; then of all references now
  let now = null;
  let middle = null; // of all places, and how far they reach from it along each axis
  let reach = null;
  let answer = null;
  let truth = null;
  let pictures = {};
  let t = 0;
  let goal = 0;
  let halt = () => {};
  let told = () => {};

  const gather = () => {
    places = catalogue.spaces.map((space) => readPlaces(space.coordinates));
    now = new Float64Array(places[0].length);
    const ends = [0, 1].map((axis) => {
      let [low, high] = [1, 0];
      for (const list of places) for (let i = axis; i < list.length; i += 2) [low, high] = [Math.min(low, list[i]), Math.max(high, list[i])];
      return [low, high];
    });
    middle = ends.map(([low, high]) => (low + high) / 2);
    reach = ends.map(([low, high]) => Math.max(0.05, (high - low) / 2));
  };

  const spaceNow = () => catalogue.spaces[Math.round(t)];

  // A picture in a frame that hangs above its place, or stands below it.
  const framed = (context, image, [x, y], side, colour, above) => {
    const stem = side * 0.22;
    const edge = Math.max(3, side * 0.05);
    const left = clamp(x - side / 2, canvas.clientWidth - side - edge, edge);
    const top = clamp(above ? y - stem - side : y + stem, canvas.clientHeight - side - edge, edge);
    context.lineWidth = edge;
    stroke(context, colour, [x, y], [left + side / 2, above ? top + side : top]);
    context.fillRect(left - edge, top - edge, side + 2 * edge, side + 2 * edge);
    drawSquare(context, image, left, top, side);
    fillShapes(context, "circle", [[x, y]], edge * 1.6, colour);
  };

  const stroke = (context, colour, from, to) => {
    context.strokeStyle = context.fillStyle = colour;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
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
    blendPlaces(places, t, now);
    const at = (id) => put(now[2 * id], now[2 * id + 1]);
    const token = (name) => getComputedStyle(canvas).getPropertyValue(name).trim();
    const radius = clamp((0.2 * span * Math.max(...reach)) / Math.sqrt(catalogue.n), 8, 1.5);

    const { index, slots, n } = colouringOf("group");
    const bySlot = Map.groupBy(index.keys(), (id) => slots[index[id]]);
    context.globalAlpha = 0.6;
    for (const [slot, ids] of bySlot) fillShapes(context, markAt(slot, n).shape, ids.map(at), radius, markAt(slot, n).hue);
    context.globalAlpha = 1;
    if (!answer) return;
    const { id: space } = spaceNow();
    const query = put(...blendPlaces(catalogue.spaces.map(({ id }) => answer.spaces[id].position), t, [0, 0]));
    const own = token(`--${space}`);
    for (const { id, weight } of answer.spaces[space].matches) {
      context.lineWidth = 2 + 8 * Math.sqrt(weight);
      stroke(context, own, query, at(id));
      fillShapes(context, "circle", [at(id)], radius * 1.3, own);
    }
    // The two pictures keep out of each other's way: the one that lies higher hangs above its place.
    const source = truth && at(truth.id);
    if (source) framed(context, pictures.truth, source, side, token("--truth"), source[1] <= query[1]);
    framed(context, pictures.query, query, side, token("--ink"), !source || query[1] < source[1]);
  };

  const settle = () => {
    canvas.setAttribute("aria-label", `Map of ${countText(catalogue.n)} pictures: ${spaceNow().name}.`);
    told(t);
    draw();
  };

  const rest = () => halt();

  const travel = (to) => {
    rest();
    goal = clamp(to, places.length - 1);
    halt = glide(t, goal, TRAVEL * Math.min(1.5, Math.abs(goal - t)), (place) => {
      if (signal.aborted || (place !== goal && !canvas.isConnected)) return rest();
      t = place;
      settle();
    });
  };

  const load = (url) => (url ? make("img", { onload: draw, src: url }) : null);

  resized(canvas, () => canvas.isConnected && draw());
  ended(rest);

  return {
    canvas,
    travel,
    rest,
    follow: (listener) => (told = listener),
    start: (given, picture, source) => {
      if (!places) gather();
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
