// One column: its first pictures, and behind "Details" all matches with their figures, how each moved since the column before, and
// near-copies folded.
import { make, makeBar, makePicture } from "../core/dom.js";
import { walkRow } from "../core/keys.js";
import { flagOf, truthIds } from "../core/match.js";
import { referenceOf } from "../core/state.js";
import { cosineText, shareText } from "../core/words.js";

const N_SHOWN = 5; // pictures: one large and four small

export const ESTIMATE_MEANING =
  "Each weight is a share of the whole collection. That whole was judged here from the closest pictures and a sample. Similarities are exact.";

export const weightBar = (share, kind = "", unit = null, estimated = false) => make("span.measure", [
  make("span.number", shareText(share, estimated)),
  makeBar(Math.max(0, share), kind),
  unit ? make("span.unit", unit) : null,
]);

const SIGNS = { new: "new", same: "=", up: "\u25b2", down: "\u25bc" };

const moveOf = (move, before) => {
  if (!move) return null;
  const words = {
    new: `not among those of ${before.name}`,
    same: `same rank as in ${before.name}`,
    up: `up ${move.by} from rank ${move.was} in ${before.name}`,
    down: `down ${move.by} from rank ${move.was} in ${before.name}`,
  }[move.kind];
  const text = SIGNS[move.kind] + (move.by || "");
  return make("span.move", { "data-move": move.kind, title: words[0].toUpperCase() + words.slice(1) }, [
    make("span", { "aria-hidden": "true" }, text),
    make("span.sr", `, ${words}`),
  ]);
};

const row = (tag, { id, rank, similarity, weight }, move, before, estimated) => {
  const reference = referenceOf(id);
  const flag = flagOf(id);
  const button = make("button.match", { "data-ref": id }, [
    make("span.rank", make("span.sr", "Rank "), String(rank), moveOf(move, before)),
    make("span.frame", makePicture(reference.picture, { loading: "lazy" })),
    make("span.words", [
      make("span.title", { title: reference.title }, reference.title),
      make("span.similarity", "similarity ", make("span.number", cosineText(similarity))),
      flag,
    ]),
    weightBar(weight, "", rank === 1 ? (estimated ? "weight, estimate" : "weight") : null, estimated),
  ]);
  return make(tag, { class: flag ? "is-truth" : null }, button);
};

// The first pictures, near-copies left out: one stop of the tab key, arrow keys lead on.
export const firstPictures = (part) => {
  const shown = part.matches.filter((_, i) => (part.copies?.[i] ?? null) === null).slice(0, N_SHOWN);
  const items = shown.map(({ id }, i) => {
    const { title, picture: address } = referenceOf(id);
    const flag = flagOf(id);
    const words = make("span.title", { title }, title);
    return make("li", { class: flag ? "is-truth" : null }, make("button.hit", { "data-ref": id, tabindex: i ? "-1" : "0" }, [
      make("span.frame", makePicture(address), i ? null : flag),
      words,
    ]));
  });
  return make("ol.hits", { onkeydown: walkRow }, items);
};

// The rows, each followed by its near-copies behind a line that opens; ranks stay those of the whole list.
export const matchList = (part, moves, before) => {
  const list = make("ol.matches");
  const made = (tag, i) => row(tag, part.matches[i], moves?.rows[i], before, part.estimated);
  part.matches.forEach((_, i) => {
    if ((part.copies?.[i] ?? null) !== null) return;
    list.append(made("li", i));
    const copies = part.matches.map((_, j) => j).filter((j) => part.copies?.[j] === i);
    if (!copies.length) return;
    const text = copies.length === 1 ? "and 1 near-copy" : `and ${copies.length} near-copies`;
    const ranks = `rank ${copies.map((j) => j + 1).join(", ")}`;
    const isTruth = copies.some((j) => truthIds().has(part.matches[j].id));
    list.append(make("li.copies", make("details", { open: isTruth }, [
      make("summary", text, " ", make("span.muted", ranks)),
      ...copies.map((j) => made("div", j)),
    ])));
  });
  return list;
};
