// What is drawn above the points of a map besides rings and lines: the query's pin and the line of a lasso.
import { make } from "../core/dom.js";
import { clamp } from "../core/keys.js";

const SIDE = 256; // pixels of a square: a pin of the largest stage
let squares = {}; // address -> promise of its picture's middle square, of the last few

// Cut and made small once: three maps that each draw a photograph keep the page for longer than all the rest of an answer.
export const squareOf = (url) => {
  if (!squares[url] && Object.keys(squares).length > 3) squares = {};
  return (squares[url] ??= cutSquare(make("img", { src: url })));
};

const cutSquare = async (image) => {
  await image.decode();
  const cut = Math.min(image.naturalWidth, image.naturalHeight);
  const square = make("canvas", { width: SIDE, height: SIDE });
  square.getContext("2d").drawImage(image, (image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2, cut, cut, 0, 0, SIDE, SIDE);
  return square;
};

// The tip is the exact place; the picture hangs below it or stands above.
export const drawPin = (context, [x, y], { hanging, picture, side, width, height, ink }) => {
  const half = side / 2;
  const edge = side / 19; // of the frame
  const stem = side / 4;
  const room = stem + side + 2 * edge;
  const below = y < room || (hanging && y < height - room);
  const cx = clamp(x, width - half - edge, half + edge);
  const top = below ? y + stem : y - stem - side;
  context.beginPath();
  context.roundRect(cx - half - edge, top - edge, side + 2 * edge, side + 2 * edge, 2.5 * edge);
  const base = below ? top - edge / 2 : top + side + edge / 2;
  context.moveTo(cx - 3 * edge, base);
  context.lineTo(x, y);
  context.lineTo(cx + 3 * edge, base);
  context.closePath();
  context.fillStyle = ink;
  context.fill();
  context.save();
  context.beginPath();
  context.roundRect(cx - half, top, side, side, 1.5 * edge);
  context.clip();
  if (picture) context.drawImage(picture, cx - half, top, side, side);
  context.restore();
};

export const drawLasso = (context, line, ink) => {
  context.beginPath();
  line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fillStyle = ink;
  context.globalAlpha = 0.08;
  context.fill();
  context.globalAlpha = 1;
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  context.strokeStyle = ink;
  context.stroke();
  context.setLineDash([]);
};
