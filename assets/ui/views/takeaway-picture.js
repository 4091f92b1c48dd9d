// The answer as a PNG, for a slide or a paper: what was asked, what the spaces amount to, and the first pictures of each.
import { make } from "../core/dom.js";
import { referenceOf } from "../core/state.js";
import { shareText } from "../core/words.js";

const [SCALE, WIDTH, HEIGHT, PAD] = [2, 1280, 720, 40];
const ASKED = 248; // width of the pictures at the left
const GAP = 24;
const MOST = 9; // pictures of a space: one large and two rows of four

const load = async (url) => {
  const image = make("img", { src: url });
  return image.decode().then(() => image, () => null); // one that does not arrive leaves its frame
};

// answer, catalogue's spaces, a line of provenance -> PNG.
export const pictureOf = async (answer, spaces, provenance) => {
  const { query, verdict } = answer;
  const truth = query.truth ?? [];
  const ids = new Set([...truth.slice(0, 1), ...spaces.flatMap(({ id }) => answer.spaces[id].matches.slice(0, MOST).map((match) => match.id))]);
  const [asked, ...found] = await Promise.all([query.url, ...[...ids].map((id) => referenceOf(id).picture)].map(load));
  const pictures = new Map([...ids].map((id, i) => [id, found[i]]));

  const canvas = make("canvas", { width: SCALE * WIDTH, height: SCALE * HEIGHT });
  const context = canvas.getContext("2d");
  const look = getComputedStyle(document.body);
  const colour = (name) => look.getPropertyValue(name).trim();
  const family = getComputedStyle(document.querySelector(".gradio-container")).fontFamily;
  context.scale(SCALE, SCALE);
  context.fillStyle = colour("--paper");
  context.fillRect(0, 0, WIDTH, HEIGHT);

  // One line of text, cut off where it has no room.
  const write = (text, x, y, room, { size = 15, bold = false, ink = "--ink", right = false } = {}) => {
    context.font = `${bold ? 700 : 400} ${size}px ${family}`;
    context.fillStyle = colour(ink);
    context.textAlign = right ? "right" : "left";
    let shown = text;
    for (let n = text.length; context.measureText(shown).width > room && n > 1; n--) shown = `${text.slice(0, n - 1).trimEnd()}\u2026`;
    context.fillText(shown, x, y);
  };

  // A whole picture, the outline green where it is a true source.
  const frame = (image, x, y, width, height, isTruth = false) => {
    context.fillStyle = colour("--surface");
    context.fillRect(x, y, width, height);
    if (image) {
      const share = Math.min(width / image.naturalWidth, height / image.naturalHeight);
      const [w, h] = [share * image.naturalWidth, share * image.naturalHeight];
      context.drawImage(image, x + (width - w) / 2, y + (height - h) / 2, w, h);
    }
    if (!isTruth) return;
    context.strokeStyle = colour("--truth");
    context.lineWidth = 4;
    context.strokeRect(x, y, width, height);
  };

  const column = (space, x, width) => {
    const { matches, estimated } = answer.spaces[space.id];
    context.fillStyle = colour(`--${space.id}`);
    context.fillRect(x, 120, width, 3);
    write(space.name, x, 148, width, { size: 20, bold: true });
    write(space.id, x, 168, width, { size: 13, ink: `--${space.id}` });
    const small = (width - 24) / 4;
    matches.slice(0, MOST).forEach(({ id, weight }, i) => {
      const isTruth = truth.includes(id);
      const [row, place] = [Math.floor((i - 1) / 4), (i - 1) % 4];
      if (i) return frame(pictures.get(id), x + place * (small + 8), 472 + row * (small + 8), small, small, isTruth);
      frame(pictures.get(id), x, 184, width, 240, isTruth);
      write(referenceOf(id).title, x, 450, width - 64, { bold: true, ink: isTruth ? "--truth" : "--ink" });
      return write(shareText(weight, estimated), x + width, 450, 56, { bold: true, right: true });
    });
  };

  write(verdict?.title ?? "Which pictures is it made of?", PAD, 68, WIDTH - 2 * PAD, { size: 28, bold: true });
  write([verdict?.standing && `${verdict.standing}.`, verdict?.line].filter(Boolean).join(" "), PAD, 94, WIDTH - 2 * PAD, { ink: "--muted" });
  frame(asked, PAD, 120, ASKED, 200);
  write(query.reference === undefined ? "The synthetic picture" : "The picture searched with", PAD, 344, ASKED, { ink: "--muted" });
  if (truth.length) {
    frame(pictures.get(truth[0]), PAD, 380, ASKED, 200, true);
    write(`True source: ${referenceOf(truth[0]).title}`, PAD, 606, ASKED, { bold: true, ink: "--truth" });
  }
  const width = (WIDTH - 2 * PAD - ASKED - spaces.length * GAP) / spaces.length;
  spaces.forEach((space, i) => column(space, PAD + ASKED + GAP + i * (width + GAP), width));
  write(provenance, PAD, HEIGHT - 24, WIDTH - 2 * PAD, { size: 13, ink: "--muted" });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser refused to make the picture"))), "image/png");
  });
};
