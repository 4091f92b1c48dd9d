// The ground of a map: all points, drawn into a canvas of their own whenever the view or the lighting changes. While a large map is
// being moved, the ground drawn last is moved instead, and drawn anew when the hand rests.
import { make } from "../core/dom.js";
import { passingNow } from "../core/filter.js";
import { catalogue, state } from "../core/state.js";
import { colouringOf, fillShapes, isDark, markAt } from "./marks.js";

const SLOW = 8; // milliseconds a drawing may take before the ground is moved instead
const REST = 90; // milliseconds without movement after which it is drawn anew
const STRENGTHS = [0.13, 0.74, 0.97]; // of a mark: dimmed, as ever, lit

let known = { causes: [], levels: null }; // the last lighting, and what it was worked out from

// Which references stand out now, one byte each: 2 lit, by the selection or the legend; 1 as ever; 0 dimmed by them or the filter.
// Shared by all maps, so it is worked out once per change.
const lighting = () => {
  const { filter, selection, group } = state;
  const { index } = colouringOf();
  const causes = [catalogue, filter, selection, group, index];
  if (causes.every((cause, i) => cause === known.causes[i])) return known.levels;
  const passing = passingNow();
  const levels = new Uint8Array(catalogue.n);
  const base = selection || group !== null ? 2 : 1;
  if (selection) for (const id of selection) levels[id] = base;
  else levels.fill(base);
  for (let id = 0; id < levels.length; id++) {
    if ((passing && !passing[id]) || (group !== null && index[id] !== group)) levels[id] = 0;
  }
  known = { causes, levels };
  return levels;
};

// Ids in a fixed shuffled order: where marks cover each other, no group of a sorted collection lies on top throughout.
const drawingOrder = (n) => {
  const shuffled = Float64Array.from({ length: n }, (_, id) => (Math.imul(id, 2654435761) >>> 0) * 2 ** 20 + id);
  return Uint32Array.from(shuffled.sort(), (one) => one % 2 ** 20);
};

// map: see map.js; colour: text of a custom property of the style sheet.
export const makeGround = (map, colour) => {
  const { points, n } = map.view.geometry;
  const canvas = make("canvas");
  const order = drawingOrder(n);
  let sprites = null; // {key, sheet, side}
  let drawn = null; // the view that was drawn: pixel of the unit frame's corner, and pixels per unit
  let stale = true;
  let took = 0;
  let rest = null;

  const view = () => {
    const [left, top] = map.toPixel(0, 0);
    return { left, top, step: map.side() };
  };

  // Of a point, in pixels: smaller where there are many, larger when zoomed in.
  const radiusNow = () => Math.min(6, Math.max(1.4, Math.min(4, (0.19 * map.width) / Math.sqrt(n))) * Math.sqrt(map.camera.zoom));

  // Every mark in use, once for each strength, side by side in a picture of its own. A hairline of the ground's colour keeps crowded
  // marks apart; a dimmed mark has none.
  const spritesNow = (scale) => {
    const radius = Math.round(4 * scale * radiusNow()) / 4;
    const { n: marks } = colouringOf();
    const key = [radius, marks, isDark(), scale].join();
    if (sprites?.key === key) return sprites;
    const hairline = radius > 2 * scale ? 0.75 * scale : 0;
    const side = 2 * Math.ceil(1.3 * (radius + hairline)) + 2;
    const sheet = make("canvas", { width: side * marks, height: side * STRENGTHS.length });
    const context = sheet.getContext("2d");
    for (let slot = 0; slot < marks; slot++) {
      const { hue, shape } = markAt(slot, marks);
      STRENGTHS.forEach((strength, level) => {
        const [x, y] = [(slot + 0.5) * side, (level + 0.5) * side];
        context.globalAlpha = strength;
        if (level && hairline) fillShapes(context, shape, [[x, y]], radius + hairline, colour("--surface"));
        fillShapes(context, shape, [[x, y]], radius, hue);
      });
    }
    return (sprites = { key, sheet, side });
  };

  const paint = (scale) => {
    const began = performance.now();
    const context = canvas.getContext("2d");
    const { sheet, side } = spritesNow(scale);
    const { index, slots } = colouringOf();
    const levels = lighting();
    drawn = view();
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const bright of [false, true]) {
      for (let i = 0; i < n; i++) {
        const id = order[i];
        if (levels[id] > 0 !== bright) continue;
        const x = Math.round((drawn.left + points[2 * id] * drawn.step) * scale - side / 2);
        const y = Math.round((drawn.top - points[2 * id + 1] * drawn.step) * scale - side / 2);
        if (x < -side || y < -side || x > canvas.width || y > canvas.height) continue;
        context.drawImage(sheet, slots[index[id]] * side, levels[id] * side, side, side, x, y, side, side);
      }
    }
    stale = false;
    took = performance.now() - began;
  };

  // Sets the ground under what the context shows; scale is device pixels per pixel.
  const lay = (context, scale) => {
    if (stale) paint(scale);
    const now = view();
    const ratio = now.step / drawn.step;
    const [x, y] = [now.left - drawn.left * ratio, now.top - drawn.top * ratio];
    context.drawImage(canvas, x * scale, y * scale, canvas.width * ratio, canvas.height * ratio);
  };

  const change = () => (stale = true);

  const move = () => {
    clearTimeout(rest);
    if (took <= SLOW) return change();
    rest = setTimeout(() => {
      change();
      map.schedule();
    }, REST);
  };

  const resize = (width, height) => {
    [canvas.width, canvas.height] = [width, height];
    change();
  };
  return { lay, change, move, resize, radius: radiusNow, leave: () => clearTimeout(rest) };
};
