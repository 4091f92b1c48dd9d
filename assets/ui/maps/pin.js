// What is drawn above the points of a map besides rings and lines: the query's pin and the line of a lasso.
import { clamp } from "../core/keys.js";

// The middle square of a picture; nothing until it has arrived.
export const drawSquare = (context, picture, x, y, side) => {
  if (!picture?.complete || !picture.naturalWidth) return;
  const cut = Math.min(picture.naturalWidth, picture.naturalHeight);
  context.drawImage(picture, (picture.naturalWidth - cut) / 2, (picture.naturalHeight - cut) / 2, cut, cut, x, y, side, side);
};

// The tip is the exact place; the picture hangs on the side with fewer matches.
export const drawPin = (context, [x, y], { hanging, picture, width, height, ink }) => {
  const half = 19; // of the picture's side
  const stem = 10;
  const room = stem + 2 * half + 4;
  const below = y < room || (hanging && y < height - room);
  const cx = clamp(x, width - half - 2, half + 2);
  const top = below ? y + stem : y - stem - 2 * half;
  context.beginPath();
  context.roundRect(cx - half - 2, top - 2, 2 * half + 4, 2 * half + 4, 5);
  const base = below ? top - 1 : top + 2 * half + 1;
  context.moveTo(cx - 6, base);
  context.lineTo(x, y);
  context.lineTo(cx + 6, base);
  context.closePath();
  context.fillStyle = ink;
  context.fill();
  context.save();
  context.beginPath();
  context.roundRect(cx - half, top, 2 * half, 2 * half, 3);
  context.clip();
  drawSquare(context, picture, cx - half, top, 2 * half);
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
