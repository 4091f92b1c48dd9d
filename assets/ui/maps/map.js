// One map: points on a canvas, the query pinned at its place and tied to its matches. The points are a ground of their own
// (ground.js); a hover only copies it and draws what lies above.
import { make } from "../core/dom.js";
import { state } from "../core/state.js";
import { countText } from "../core/words.js";
import { makeGround } from "./ground.js";
import { guideMap } from "./guide.js";
import { colouringOf } from "./marks.js";
import { drawLasso, drawPin, squareOf } from "./pin.js";

const PAD = 22; // pixels around the frame, as many as the largest mark and ring need
const PIN = 38; // pixels of the side of the query's picture

// view: {id, geometry, camera, layers: () => [{space, strength}], label: () => text}. A layer is a space whose query, lines and matches
// show with a strength from 0 to 1; a map of one space has one, a map on the way from one to the next has two. A `stage` is for a room
// to look at: {answer: () => what it shows, picture: (id) => address, pin: the side of its pictures, as a share of the map's}.
export const makeMap = (view, part) => {
  const { heard, resized, themed, ended, signal } = part;
  const { stage } = view;
  const canvas = make("canvas", { role: "img", tabindex: stage ? null : "0" });
  const plot = make("div.plot", { "data-map": view.id }, canvas);
  const { points } = view.geometry;
  const map = { view, canvas, plot, width: 0, height: 0, current: null, line: null, camera: view.camera };
  let scale = 1; // device pixels per pixel
  let pins = {}; // pictures of the query, and on a stage of its source
  let scheduled = false;
  let colours = {}; // of the style sheet's custom properties, in the theme at hand

  map.side = () => map.camera.zoom * (Math.min(map.width, map.height) - 2 * PAD); // of the unit frame, in pixels
  map.perPixel = () => 1 / map.side();
  map.toPixel = (x, y) => [map.width / 2 + (x - map.camera.x) * map.side(), map.height / 2 - (y - map.camera.y) * map.side()];
  map.toUnit = (px, py) => [map.camera.x + (px - map.width / 2) / map.side(), map.camera.y - (py - map.height / 2) / map.side()];
  map.at = (id) => map.toPixel(points[2 * id], points[2 * id + 1]);
  const within = ([x, y], margin) => x > -margin && y > -margin && x < map.width + margin && y < map.height + margin;

  const colour = (name) => (colours[name] ??= getComputedStyle(plot).getPropertyValue(name).trim());
  const ground = makeGround(map, colour);

  // The space that shows most of all.
  map.space = () => view.layers().reduce((a, b) => (b.strength > a.strength ? b : a)).space;

  const answer = () => (stage ? stage.answer() : state.answer);
  const truthOf = () => answer()?.query?.truth ?? [];

  // The query between the layers' places, in unit coordinates; null without an answer.
  map.query = () => {
    const spaces = answer()?.spaces;
    if (!spaces) return null;
    return [0, 1].map((axis) => view.layers().reduce((sum, { space, strength }) => sum + strength * spaces[space].position[axis], 0));
  };

  const ring = (context, id, radius, style, line, fill = null) => {
    context.beginPath();
    context.arc(...map.at(id), radius, 0, 2 * Math.PI);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    context.lineWidth = line;
    context.strokeStyle = style;
    context.stroke();
  };

  const drawMatches = (context, { space, strength }, [qx, qy]) => {
    const { matches } = answer().spaces[space];
    const { selection } = state;
    const own = colour(`--${space}`);
    context.strokeStyle = own;
    context.lineCap = "round";
    for (const { id, weight } of matches) {
      context.globalAlpha = strength * (0.45 + 0.5 * Math.min(1, weight * 2)) * (!selection || selection.has(id) ? 1 : 0.3);
      context.lineWidth = (1 + 4 * Math.sqrt(weight)) * (stage ? 2 : 1);
      context.beginPath();
      context.moveTo(qx, qy);
      context.lineTo(...map.at(id));
      context.stroke();
    }
    context.globalAlpha = strength;
    const size = Math.max(4.5, ground.radius() + 1.5);
    for (const { id } of matches) ring(context, id, size, colour("--paper"), 2, own);
    context.globalAlpha = 1;
  };

  const drawAbove = (context) => {
    const [ink, paper] = [colour("--ink"), colour("--paper")];
    const query = map.query();
    if (query) {
      const place = map.toPixel(...query);
      const layers = view.layers().filter(({ strength }) => strength > 0);
      for (const layer of layers) drawMatches(context, layer, place);
      const truth = truthOf();
      const [extra, line] = truth.length === 1 ? [5, 2.5] : [2.5, 1.5]; // many rings must not hide the matches
      const size = Math.max(4, ground.radius()) + extra;
      for (const id of truth) {
        if (truth.length === 1) ring(context, id, size, paper, 5);
        ring(context, id, size, colour("--truth"), line);
      }
      const near = layers.flatMap(({ space }) => answer().spaces[space].matches.map(({ id }) => map.at(id)[1]));
      let hanging = 2 * near.filter((y) => y < place[1] - 1).length > near.length;
      const frame = { width: map.width, height: map.height, side: stage ? stage.pin * Math.min(map.width, map.height) : PIN };
      if (pins.truth) {
        const source = map.at(truth[0]); // the two pictures keep out of each other's way
        hanging = source[1] < place[1];
        drawPin(context, source, { ...frame, hanging: !hanging, picture: pins.truth.picture, ink: colour("--truth") });
      }
      if (within(place, 8)) drawPin(context, place, { ...frame, hanging, picture: pins.query?.picture, ink });
    }
    for (const id of new Set([state.selected?.id, state.hover])) {
      if (typeof id !== "number" || !within(map.at(id), 8)) continue;
      ring(context, id, Math.max(7, ground.radius() + 3), paper, 5);
      ring(context, id, Math.max(7, ground.radius() + 3), ink, 2);
    }
    if (map.line) drawLasso(context, map.line.map(([x, y]) => map.toPixel(x, y)), ink);
  };

  map.draw = () => {
    scheduled = false;
    if (!map.width || signal.aborted) return;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    ground.lay(context, scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    drawAbove(context);
  };
  map.schedule = () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(map.draw);
  };
  map.repaint = () => {
    ground.change();
    map.schedule();
  };

  const moved = () => {
    plot.classList.toggle("is-zoomed", map.camera.zoom > 1);
    map.describe();
    ground.move();
    map.schedule();
  };

  const fit = () => {
    const box = plot.getBoundingClientRect();
    [map.width, map.height, scale] = [box.width, box.height, window.devicePixelRatio || 1];
    if (!box.width || !box.height) return (map.width = 0);
    [canvas.width, canvas.height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
    ground.resize(canvas.width, canvas.height);
    map.draw(); // at once: a canvas that was given a size is empty
  };

  map.describe = () => {
    const zoom = map.camera.zoom > 1.05 ? ` Enlarged ${map.camera.zoom.toFixed(1)} times.` : "";
    const chosen = state.selection ? ` ${countText(state.selection.size)} pictures are selected.` : "";
    const keys = "Arrow keys move between pictures, Enter opens one, the space bar selects it, plus and minus zoom, 0 shows all.";
    const text = stage ? view.label() : `${view.label()} Coloured by ${colouringOf().name.toLowerCase()}.${chosen}${zoom} ${keys}`;
    if (canvas.getAttribute("aria-label") !== text) canvas.setAttribute("aria-label", text);
  };

  const pinOf = (url) => {
    const pin = url ? { picture: null } : null;
    if (pin) squareOf(url).then((picture) => map.schedule((pin.picture = picture)), () => null); // without one the pin stays empty
    return pin;
  };
  map.setAnswer = () => {
    const [source] = truthOf();
    pins = { query: pinOf(answer()?.query?.url), truth: stage && source !== undefined ? pinOf(stage.picture(source)) : null };
    map.describe();
    map.schedule();
  };

  if (!stage) heard("answer", map.setAnswer);
  heard("hover selected", map.schedule);
  heard("group selection filter colours", () => {
    map.describe();
    map.repaint();
  });
  resized(plot, fit);
  themed(() => {
    colours = {};
    map.repaint();
  });
  ended(ground.leave);
  map.camera.follow(moved);
  map.setAnswer();
  if (!stage) guideMap(map, part);
  return map;
};
