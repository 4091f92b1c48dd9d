// A picture with the heat of its regions over it: squares as they are, never smoothed. A grid that the arrow keys walk.
import { hint, make, makePicture } from "../core/dom.js";
import { ARROWS, clamp } from "../core/keys.js";
import { fixedText } from "../core/words.js";

const BANDS = ["Top", "Middle", "Bottom"];
const SIDES = ["left", "centre", "right"];
const HEAT_MEANING =
  "The feature is pooled again without the region, mapped into the space, and compared with the whole other picture. What the similarity loses by that is the region\u2019s value. A region just as alike as the rest stays near 0, and the values do not add up to the whole.";
const N_FOR = 3; // regions numbered: those that speak most for the match

// Where a region lies, in words: the three bands of a grid of seven hold two, three and two rows.
const third = (i, side) => (i < Math.floor(side / 3) ? 0 : i >= side - Math.floor(side / 3) ? 2 : 1);
export const placeOf = (cell, side) => {
  const row = Math.floor(cell / side);
  const column = cell % side;
  const [band, flank] = [BANDS[third(row, side)], SIDES[third(column, side)]];
  return { row: row + 1, column: column + 1, words: band === "Middle" && flank === "centre" ? "Centre" : `${band} ${flank}` };
};

// One decimal more than elsewhere: a region's part is small.
const heatNumber = (value) => Math.abs(value).toFixed(4);
const similarityWithout = (value, similarity) => fixedText(similarity - value, 4);

// What a region does, for hover, focus and screen readers.
const heatWords = (cell, value, similarity, side) => {
  const { row, column, words } = placeOf(cell, side);
  const does = value < 0 ? `takes ${heatNumber(value)} away` : `adds ${heatNumber(value)}`;
  return {
    place: `${words}, row ${row}, column ${column}`,
    does,
    without: `without it ${similarityWithout(value, similarity)} instead of ${similarityWithout(0, similarity)}`,
  };
};

// The regions that add most, the strongest first.
export const strongestRegions = (values) =>
  [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, N_FOR).filter((i) => values[i] > 0);

// How a region is coloured: the share of the scale, and whether it speaks for or against.
const paintCell = (cell, value, scale) => {
  cell.style.setProperty("--heat", scale ? Math.min(1, Math.abs(value) / scale).toFixed(3) : 0);
  cell.dataset.sign = value < 0 ? "against" : "for";
  return cell;
};

// One scale for both pictures of a space.
export const heatLegend = (scale, name) => [
  make("p", hint("What a region adds", HEAT_MEANING), ` to the similarity in ${name}. One scale for both pictures.`),
  make("span.swatches", { "aria-hidden": "true" }, [-3, -2, -1, 0, 1, 2, 3].map((step) => paintCell(make("span.cell"), (step / 3) * scale, scale))),
  make("p.ends", make("span", `against \u2212${heatNumber(scale)}`), make("span", "0"), make("span", `for +${heatNumber(scale)}`)),
];

// A pane: `show` gives it a picture and `heat` lays values over it, or takes them away.
export const makeHeatPane = ({ on }, name) => {
  const image = makePicture("");
  const cover = make("div.cover", image);
  const readout = make("p.readout");
  const caption = make("figcaption");
  const element = make("figure.heat-pane", { "data-of": name }, caption, make("div.view", cover), readout);
  let cells = [];
  let shown = null;
  let active = 0;

  // The network sees the whole picture squeezed to a square, so the regions stretch with the picture.
  const fit = () => cover.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight || 1);
  on(image, "load", fit);

  const say = (cell) => {
    if (!shown) return readout.replaceChildren();
    if (cell === null) return readout.replaceChildren(make("span.muted", "Point at a region, or walk with the arrow keys."));
    const { place, does, without } = heatWords(cell, shown.values[cell], shown.similarity, shown.side);
    readout.replaceChildren(make("b", `${place} ${does}`), `: ${without}.`);
  };

  const mark = (cell) => {
    cells.forEach((one, i) => one.classList.toggle("is-active", i === cell));
    say(cell);
  };

  const walk = (cell) => {
    cells[active].tabIndex = -1;
    active = cell;
    cells[active].tabIndex = 0;
  };

  on(cover, "keydown", (event) => {
    const step = ARROWS[event.key];
    if (!shown || !step) return;
    event.preventDefault();
    const { side } = shown;
    const [row, column] = [Math.floor(active / side), active % side].map((i, axis) => clamp(i + step[axis], side - 1));
    walk(row * side + column);
    cells[active].focus();
  });
  const of = (event) => cells.indexOf(event.target.closest?.("[role=gridcell]"));
  on(cover, "focusin", (event) => {
    if (of(event) < 0) return;
    walk(of(event));
    mark(active);
  });
  on(cover, "pointerover", (event) => of(event) >= 0 && mark(of(event)));
  on(cover, "pointerleave", () => mark(cover.contains(document.activeElement) ? active : null));
  on(cover, "focusout", (event) => !cover.contains(event.relatedTarget) && mark(null));

  return {
    element,
    show(url, alt, words) {
      if (image.getAttribute("src") !== url) image.src = url;
      image.alt = alt;
      caption.textContent = words;
      fit();
    },
    heat(given, title) {
      shown = given;
      cover.querySelector(".heat")?.remove();
      cells = [];
      active = 0;
      say(null);
      if (!given) return;
      const { values, side, scale, similarity } = given;
      const labels = new Map(strongestRegions(values).map((cell, i) => [cell, i + 1]));
      cells = values.map((value, i) => {
        const { place, does } = heatWords(i, value, similarity, side);
        const label = labels.get(i);
        const cell = make("span.cell", { role: "gridcell", tabindex: i ? -1 : 0, "aria-label": `${place} ${does}` });
        if (label) cell.append(make("span.cell-label", { "aria-hidden": "true" }, String(label)));
        return paintCell(cell, value, scale);
      });
      const rows = Array.from({ length: side }, (_, row) => make("span", { role: "row" }, cells.slice(row * side, (row + 1) * side)));
      cover.append(make("span.heat", { role: "grid", "aria-label": title, style: { "--side": side } }, rows));
    },
  };
};
