// The ground of a map: all points, drawn into a canvas of their own whenever the view or the lighting changes. While a large map is
// being moved, the ground drawn last is moved instead, and drawn anew when the hand rests.
import { drawingOrder, lighting } from "./lighting.js";
import { colouringOf, isDark } from "./marks.js";
import { makeStamps } from "./stamps.js";

const SLOW = 8; // milliseconds a drawing may take before the ground is moved instead
const REST = 90; // milliseconds without movement after which it is drawn anew

// map: see map.js; colour: text of a custom property of the style sheet.
export const makeGround = (map, colour) => {
  const { points, n } = map.view.geometry;
  const canvas = document.createElement("canvas");
  const order = drawingOrder(n);
  let stamps = { key: null };
  let pixels = null; // 0 where nothing lies
  let drawn = null; // the view that was drawn: pixel of the unit frame's corner, and pixels per unit
  let stale = true;
  let took = 0;
  let rest = null;

  const view = () => {
    const [left, top] = map.toPixel(0, 0);
    return { left, top, step: 1 / map.perPixel() };
  };

  // Of a point, in pixels: smaller where there are many, larger when zoomed in.
  const radiusNow = () => Math.min(6, Math.max(1.4, Math.min(4, (0.19 * map.width) / Math.sqrt(n))) * Math.sqrt(map.camera.zoom));

  const stampsNow = (scale) => {
    const radius = Math.round(4 * scale * radiusNow()) / 4;
    const hairline = radius > 2 * scale ? 0.75 * scale : 0;
    const marks = colouringOf().n;
    const key = [radius, marks, isDark(), scale, canvas.width].join();
    if (stamps.key === key) return stamps;
    stamps = makeStamps({ radius, hairline, ground: colour("--surface"), n: marks, columns: canvas.width });
    stamps.key = key;
    return stamps;
  };

  const paint = (scale) => {
    const began = performance.now();
    const context = canvas.getContext("2d");
    pixels ??= context.createImageData(canvas.width, canvas.height);
    const block = new Uint32Array(pixels.data.buffer).fill(0);
    const { put, reach } = stampsNow(scale);
    const { index, slots } = colouringOf();
    const levels = lighting();
    drawn = view();
    for (const bright of [false, true]) {
      for (let i = 0; i < n; i++) {
        const id = order[i];
        if (levels[id] > 0 !== bright) continue;
        const x = (drawn.left + points[2 * id] * drawn.step) * scale;
        const y = (drawn.top - points[2 * id + 1] * drawn.step) * scale;
        if (x < -reach || y < -reach || x > canvas.width + reach || y > canvas.height + reach) continue;
        put(block, x, y, slots[index[id]], levels[id]);
      }
    }
    context.putImageData(pixels, 0, 0);
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
    if (took <= SLOW) return void change();
    rest = setTimeout(() => {
      change();
      map.schedule();
    }, REST);
  };

  const resize = (width, height) => {
    [canvas.width, canvas.height] = [width, height];
    pixels = null;
    change();
  };
  return { lay, change, move, resize, radius: radiusNow, leave: () => clearTimeout(rest) };
};
