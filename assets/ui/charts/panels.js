// The charts of "Why it works": small multiples that share one frame, rows of dots with intervals, and for each its figures as a table.
// A chart is one stop of the Tab key; arrow keys walk through it, and what lies under the pointer or the walk is said in words below it.
import { hint, make, svg } from "../core/dom.js";

const percent = (share) => `${100 * share}%`;

export const signedFigure = (value, digits) => value.toFixed(digits).replace("-", "\u2212");

// Something to point at, its words below. `at(event)` gives a place, `move(place, key)` the next one or null, `tell(place)` its
// words, `mark(place)` shows it in the drawing; a place is null when there is none.
export const makeReadout = (part, { area, prompt, at, move, tell, mark }) => {
  const words = make("p.readout", { "aria-live": "polite" }, prompt);
  const go = (place) => {
    words.textContent = place === null ? prompt : tell(place);
    words.classList.toggle("is-told", place !== null);
    mark(place);
  };
  let place = null;
  part.on(area, "pointermove", (event) => go(at(event) ?? null));
  part.on(area, "pointerdown", (event) => go(at(event) ?? null));
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

// The next of n places in a row for a key; undefined for a key that does not move.
export const nextPlace = (place, key, n, back = ["ArrowLeft", "ArrowUp"], on = ["ArrowRight", "ArrowDown"]) => {
  if (key === "Home") return 0;
  if (key === "End") return n - 1;
  if (on.includes(key)) return place === null ? 0 : Math.min(n - 1, place + 1);
  if (back.includes(key)) return place === null ? n - 1 : Math.max(0, place - 1);
  return undefined;
};

// One exhibit: words on the left, the chart on the right.
export const makeExhibit = (title, term, meaning, sentences, ...content) => {
  return make("section.exhibit", [
    make("div.exhibit-words", make("h3", title), make("p.term", hint(term, meaning)), ...sentences.map((sentence) => make("p", sentence))),
    make("div.exhibit-chart", ...content),
  ]);
};

// One panel per column, all on one frame.
export const makePanels = (columns, label, plotOf, foot) => {
  const plots = columns.map(plotOf);
  const area = make("div.panels", { tabindex: "0", role: "img", "aria-label": label }, [
    ...columns.map((column, i) => make("div.panel", { "data-space": column.id }, [
      make("p.panel-name", make("b", column.name), make("span.term", column.id)),
      plots[i],
      make("p.panel-foot", foot(column)),
    ])),
  ]);
  return { area, plots };
};

// Lines: every column's in grey, its own in its colour. values(column) are within 0..1 of `top`.
export const makeLines = (part, { columns, values, top, label, foot, ticks, axis, tell, prompt }) => {
  const n = Math.max(...columns.map((column) => values(column).length));
  const x = (i) => (100 * (i + 0.5)) / n;
  const path = (figures) => figures.map((figure, i) => `${i ? "L" : "M"}${x(i).toFixed(2)} ${(100 - (100 * figure) / top).toFixed(2)}`).join("");
  const line = (column, name) => svg(`path.${name}`, { d: path(values(column)) });
  const plotOf = (column) => make("div.lines", [
    ...ticks.map((tick) => make("span.tick", { style: { bottom: percent(tick / top) } }, String(tick))),
    svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, [
      ...columns.filter((other) => other !== column).map((other) => line(other, "line-other")),
      line(column, "line-own"),
    ]),
    make("span.guide", { hidden: true }),
    make("span.axis-x", make("span", "1"), make("span", axis), make("span", String(n))),
  ]);
  const { area, plots } = makePanels(columns, label, plotOf, foot);
  const mark = (place) => plots.forEach((plot) => {
    const guide = plot.querySelector(".guide");
    guide.hidden = place === null;
    if (place !== null) guide.style.left = `${x(place)}%`;
  });
  const at = (event) => {
    const plot = event.target.closest?.(".lines");
    if (!plot) return null;
    const box = plot.getBoundingClientRect();
    return Math.max(0, Math.min(n - 1, Math.floor((n * (event.clientX - box.left)) / box.width)));
  };
  const words = makeReadout(part, { area, prompt, at, move: (place, key) => nextPlace(place, key, n), tell, mark });
  return make("div", area, words);
};

// Rows of dots. rows: [{label, note, end, marks: [{space, at, low, high, hollow}], floor}], all on 0..top.
export const makeDots = (part, { rows, top, ticks, label, tell, prompt, endName = "", axis, form = String }) => {
  const dots = ({ marks, floor = [] }) => make("span.dots", { style: { "--n": String(marks.length) } }, [
    ...ticks.map((tick) => make("span.grid", { style: { left: percent(tick / top) } })),
    ...floor.map((at, i) => make("span", { class: floor.length > 1 ? "floor is-own" : "floor", style: { left: percent(at / top), "--i": String(i) } })),
    ...marks.flatMap(({ space, at, low, high, hollow }, i) => [
      low === undefined ? null : make("span.whisker", { "data-space": space, style: { left: percent(low / top), width: percent((high - low) / top), "--i": String(i) } }),
      make("span", { class: hollow ? "dot is-hollow" : "dot", "data-space": space, style: { left: percent(at / top), "--i": String(i) } }),
    ]),
  ]);
  const drawn = rows.map((row) =>
    make("div", { class: row.isSum ? "dot-row is-sum" : row.isNext ? "dot-row is-next" : "dot-row" }, [
      make("span.dot-label", { "data-space": row.space ?? null }, make("span", row.label), row.note ? make("span.term", row.note) : null),
      dots(row),
      make("span.dot-end.number", row.end ?? ""),
    ]),
  );
  const foot = make("div.dot-row.dot-axis", [
    make("span.dot-label", axis),
    make("span.dots", ...ticks.map((tick) => make("span.tick-x", { style: { left: percent(tick / top) } }, form(tick)))),
    make("span.dot-end", endName),
  ]);
  const area = make("div.dot-chart", { tabindex: "0", role: "img", "aria-label": label }, ...drawn, foot);
  const mark = (place) => drawn.forEach((row, i) => row.classList.toggle("is-told", i === place));
  const at = (event) => {
    const i = drawn.indexOf(event.target.closest?.(".dot-row"));
    return i < 0 ? null : i;
  };
  const words = makeReadout(part, { area, prompt, at, move: (place, key) => nextPlace(place, key, rows.length), tell: (i) => tell(rows[i], i), mark });
  return make("div", area, words);
};

// The same figures as a table, built when it is opened. heads: [text]; rows: [[row's name, cell, ...]].
export const figuresTable = (name, heads, rows) => {
  return make("div.scroller", { tabindex: "0", role: "region", "aria-label": name }, make("table.figures", [
    make("thead", make("tr", ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", ...rows.map(([first, ...cells]) => make("tr", make("th", { scope: "row" }, String(first)), ...cells.map((cell) => make("td", cell))))),
  ]));
};
export const figuresTwin = (part, name, build) => {
  const twin = make("details.figures-twin", make("summary", "The figures as a table", make("span.sr", `: ${name}`)));
  part.on(twin, "toggle", () => twin.open && twin.childElementCount === 1 && twin.append(build()));
  return twin;
};
