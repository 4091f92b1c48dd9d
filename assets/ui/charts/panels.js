// The charts of "Why it works": small multiples that share one frame, and rows of dots with intervals. A chart is one
// stop of the Tab key; arrow keys walk through it, and what lies under the pointer or the walk is said in words below it.
import { hint, make, percent, svg } from "../core/dom.js";
import { clamp, nextPlace } from "../core/keys.js";

const TICKS = [0, 0.25, 0.5, 0.75, 1];

// Something to point at, its words below. `at(event)` gives a place, `move(place, key)` the next one, `tell(place)` its words,
// `mark(place)` shows it in the drawing; a place is null when there is none, and undefined for a key that does not move.
export const makeReadout = (part, { area, prompt, at, move, tell, mark }) => {
  const words = make("p.readout", { "aria-live": "polite" }, prompt);
  const go = (place) => {
    words.textContent = place === null ? prompt : tell(place);
    words.classList.toggle("is-told", place !== null);
    mark(place);
  };
  let place = null;
  for (const type of ["pointermove", "pointerdown"]) part.on(area, type, (event) => go(at(event) ?? null));
  part.on(area, "pointerleave", () => go(document.activeElement === area ? place : null));
  part.on(area, "keydown", (event) => {
    const next = event.key === "Escape" ? null : move(place, event.key);
    if (next === undefined) return;
    if (event.key !== "Escape") event.preventDefault();
    go((place = next));
  });
  part.on(area, "blur", () => go((place = null)));
  return words;
};

// Which of n equal parts of a box, side by side, an event lies in; null beside every box of that name.
const partAt = (event, name, n) => {
  const box = event.target.closest?.(name)?.getBoundingClientRect();
  return box ? clamp(Math.floor((n * (event.clientX - box.left)) / box.width), n - 1) : null;
};

// A line through figures, one after the other, within a box of 100 by 100. x(i) and y(figure) are in hundredths.
export const linePath = (figures, x, y) => figures.map((figure, i) => `${i ? "L" : "M"}${x(i)} ${y(figure)}`).join("");
export const lineFrame = (ticks, lines, ...above) => [
  ticks.map(([share, words]) => make("span.tick", { style: { bottom: percent(share) } }, words)),
  svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, lines),
  above,
];

// One exhibit: its finding and whether that supports the theory; behind them words on the left, the chart on the right.
export const makeExhibit = ({ title, term, meaning, sentences, supports }, ...content) =>
  make("details.exhibit", [
    make("summary", make("h3", title), make("p", sentences.at(-1)), make("span.supports", supports)),
    make("div.exhibit-words", make("p.term", hint(term, meaning)), sentences.slice(0, -1).map((sentence) => make("p", sentence))),
    make("div.exhibit-chart", content),
  ]);

// One panel per column, all on one frame: every column's line in grey, its own in its colour. values(column) are within 0..1.
export const makeLines = (part, { columns, values, label, foot, ticks, axis, tell, prompt }) => {
  const n = Math.max(...columns.map((column) => values(column).length));
  const x = (i) => (100 * (i + 0.5)) / n;
  const line = (column, name) =>
    svg(`path.${name}`, { d: linePath(values(column), (i) => x(i).toFixed(2), (figure) => (100 - 100 * figure).toFixed(2)) });
  const plotOf = (column) => {
    const others = columns.filter((other) => other !== column).map((other) => line(other, "line-other"));
    const below = make("span.axis-x", make("span", "1"), make("span", axis), make("span", String(n)));
    return make("div.lines", lineFrame(ticks.map((tick) => [tick, String(tick)]), [others, line(column, "line-own")], make("span.guide", { hidden: true }), below));
  };
  const plots = columns.map(plotOf);
  const panels = columns.map((column, i) =>
    make("div.panel", { "data-space": column.id }, [
      make("p.panel-name", make("b", column.name), make("span.term", column.id)),
      plots[i],
      make("p.panel-foot", foot(column)),
    ]),
  );
  const area = make("div.panels", { tabindex: "0", role: "img", "aria-label": label }, panels);
  const mark = (place) => plots.forEach((plot) => {
    const guide = plot.querySelector(".guide");
    guide.hidden = place === null;
    if (place !== null) guide.style.left = `${x(place)}%`;
  });
  const at = (event) => partAt(event, ".lines", n);
  return make("div", area, makeReadout(part, { area, prompt, at, move: (place, key) => nextPlace(place, key, n), tell, mark }));
};

// Figures from 0 to 1 as dots, one below the other, with their intervals; chance as a grey mark. marks: [{space, at, low, high, hollow}].
export const makeDots = (marks, chance = null) => make("span.dots", { style: { "--n": String(marks.length) } }, [
  TICKS.map((tick) => make("span.grid", { style: { left: percent(tick) } })),
  chance === null ? null : make("span.floor", { style: { left: percent(chance) } }),
  marks.map(({ space, at, low, high, hollow }, i) => [
    low === undefined ? null : make("span.whisker", { "data-space": space, style: { "--i": String(i), left: percent(low), width: percent(high - low) } }),
    make("span", { class: hollow ? "dot is-hollow" : "dot", "data-space": space, style: { "--i": String(i), left: percent(at) } }),
  ]),
]);
export const makeScale = () => make("span.dots", TICKS.map((tick) => make("span.tick-x", { style: { left: percent(tick) } }, String(tick))));

// Rows of them. rows: [{label, note, end, marks, chance}].
export const makeDotRows = (part, { rows, label, tell, prompt, endName = "", axis }) => {
  const drawn = rows.map((row) =>
    make("div", { class: row.isSum ? "dot-row is-sum" : "dot-row" }, [
      make("span.dot-label", { "data-space": row.space ?? null }, make("span", row.label), row.note ? make("span.term", row.note) : null),
      makeDots(row.marks, row.chance),
      make("span.dot-end.number", row.end ?? ""),
    ]),
  );
  const foot = make("div.dot-row.dot-axis", [
    make("span.dot-label", axis),
    makeScale(),
    make("span.dot-end", endName),
  ]);
  const area = make("div.dot-chart", { tabindex: "0", role: "img", "aria-label": label }, drawn, foot);
  const told = (place) => drawn.forEach((row, i) => row.classList.toggle("is-told", i === place));
  const at = (event) => {
    const i = drawn.indexOf(event.target.closest?.(".dot-row"));
    return i < 0 ? null : i;
  };
  const move = (place, key) => nextPlace(place, key, rows.length);
  return make("div", area, makeReadout(part, { area, prompt, at, move, tell: (i) => tell(rows[i]), mark: told }));
};
