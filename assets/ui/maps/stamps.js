// Small marks, drawn once and set into a block of pixels by hand: tens of thousands take milliseconds, where as many calls of the
// canvas would take a hundred. A mark has a hairline of the ground's colour around it, which keeps crowded marks apart.
import { markAt, shapeHolds } from "./marks.js";

const PHASES = 4; // places within a pixel that are told apart, along each axis
const SAMPLES = 4; // per pixel along each axis, for soft edges
const STRENGTHS = [0.13, 0.74, 0.97]; // dimmed, as ever, lit

// Any colour of the style sheet as [red, green, blue].
export const rgb = (colour) => {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour;
  const number = parseInt(context.fillStyle.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
};

// Marks of one size on one ground. radius and hairline in device pixels; n is the number of marks in use, columns the
// width of the block of pixels they are for.
export const makeStamps = ({ radius, hairline, ground, n, columns }) => {
  const paper = rgb(ground);
  const blank = (255 << 24) | (paper[2] << 16) | (paper[1] << 8) | paper[0];
  const reach = Math.ceil(1.3 * (radius + hairline)) + 1;
  const stamps = [];
  const inks = [];
  const covers = new Map();

  // The pixels that a shape touches at one phase: [across, down, share covered by the shape, share covered with its hairline].
  const coverOf = (shape, phase) => {
    const [shiftX, shiftY] = [(phase % PHASES) / PHASES, Math.floor(phase / PHASES) / PHASES];
    const touched = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        let [core, around] = [0, 0];
        for (let s = 0; s < SAMPLES * SAMPLES; s++) {
          const x = dx - 0.5 + ((s % SAMPLES) + 0.5) / SAMPLES - shiftX;
          const y = dy - 0.5 + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES - shiftY;
          if (shapeHolds(shape, x, y, radius)) core++;
          if (shapeHolds(shape, x, y, radius + hairline)) around++;
        }
        if (around) touched.push([dx, dy, core / SAMPLES ** 2, around / SAMPLES ** 2]);
      }
    }
    return touched;
  };

  // For each pixel touched: its place in the block, the share of what lay there that stays (of 256), and the colour to be added.
  const make = (slot, level, phase) => {
    const { hue, shape } = markAt(slot, n);
    const colour = (inks[slot] ??= rgb(hue));
    const name = shape + phase;
    if (!covers.has(name)) covers.set(name, coverOf(shape, phase));
    const cover = covers.get(name);
    const stamp = { across: new Int32Array(cover.length), along: new Int32Array(cover.length), keep: new Int32Array(cover.length), add: new Int32Array(cover.length) };
    cover.forEach(([dx, dy, core, around], i) => {
      const inner = core * STRENGTHS[level];
      const outer = level && hairline ? around * STRENGTHS[level] * (1 - inner) : 0; // dimmed marks have no hairline
      const [r, g, b] = colour.map((part, channel) => Math.floor(part * inner + paper[channel] * outer));
      stamp.across[i] = dx;
      stamp.along[i] = dy * columns + dx;
      stamp.keep[i] = Math.round(256 * (1 - inner - outer));
      stamp.add[i] = (b << 16) | (g << 8) | r;
    });
    return stamp;
  };

  // pixels: Uint32Array of the block, 0 where nothing was drawn; x and y in device pixels.
  const put = (pixels, x, y, slot, level) => {
    const left = Math.floor(x);
    const top = Math.floor(y);
    const phase = Math.floor((y - top) * PHASES) * PHASES + Math.floor((x - left) * PHASES);
    const key = (slot * 3 + level) * PHASES * PHASES + phase;
    const { across, along, keep, add } = (stamps[key] ??= make(slot, level, phase));
    const start = top * columns + left;
    const whole = left >= reach && left < columns - reach; // above and below, what is outside the block lies outside the array
    for (let i = 0; i < along.length; i++) {
      if (!whole && (left + across[i] < 0 || left + across[i] >= columns)) continue;
      const at = start + along[i];
      if (at < 0 || at >= pixels.length) continue;
      const under = pixels[at] || blank;
      const redBlue = (((under & 0xff00ff) * keep[i]) >>> 8) & 0xff00ff;
      const green = (((under & 0x00ff00) * keep[i]) >>> 8) & 0x00ff00;
      pixels[at] = 0xff000000 | (redBlue + green + add[i]);
    }
  };
  return { put, reach };
};
