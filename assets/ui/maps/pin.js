// What is drawn above the points of a map besides rings and lines: the query's pin and the line of a lasso.
import { clamp } from "../core/keys.js";

// The middle square of a picture; nothing until it has arrived.
const drawSquare = (context, picture, x, y, side) => {
  if (!picture?.complete || !picture.naturalWidth) return;
  const cut = Math.min(picture.naturalWidth, picture.naturalHeight);
  context.drawImage(picture, (picture.naturalWidth - cut) / 2, (picture.naturalHeight - cut) / 2, cut, cut, x, y, side, side);
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
  drawSquare(context, picture, cx - half, top, side);
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
