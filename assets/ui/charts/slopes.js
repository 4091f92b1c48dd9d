// Ranks in the three columns as a slope chart: one line per picture that is among the first k somewhere; and the same as a table.
import { make, resting, svg } from "../core/dom.js";
import { idsOf, movesBetween, truthIds } from "../core/match.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";

const PITCH = 24;
const TOP = 56;
const NODE = 10;

// [{id, ranks: [rank or null, ...]}] in the order in which the columns name them.
const slopeLines = (answer) => {
  const orders = catalogue.spaces.map((space) => idsOf(space.id, answer));
  const ids = [...new Set(orders.flat())];
  return ids.map((id) => ({ id, ranks: orders.map((order) => (order.includes(id) ? order.indexOf(id) + 1 : null)) }));
};

export const makeSlopes = ({ on, resized }) => {
  const chart = make("div.slopes-chart");
  const caption = make("p.slopes-caption", { "aria-live": "polite" });
  const table = make("div.scroller");
  const twin = make("details.slopes-twin", make("summary", "The same as a table"), table);
  const root = make("section.slopes", { "aria-label": "How ranks change between the spaces" }, make("h3", "How the ranks change"), chart, caption, twin);
  let lines = [];
  let answer = null;
  let width = 0;

  const place = (rank) => (rank === null ? `not among the first ${answer.k}` : `rank ${rank}`);
  const story = ({ id, ranks }) =>
    `${referenceOf(id).title}: ${catalogue.spaces.map((space, i) => `${space.name} ${place(ranks[i])}`).join(", ")}`;

  const fill = () => {
    const names = catalogue.spaces.map((space) => make("th", { scope: "col", "data-space": space.id }, space.name));
    table.replaceChildren(make("table.slopes-table", [
      make("thead", make("tr", make("th", { scope: "col" }, "Picture"), ...names)),
      make("tbody", lines.map(({ id, ranks }) => make("tr", { "data-ref": id }, [
        make("th", { scope: "row" }, referenceOf(id).title, truthIds().has(id) ? make("span.flag", "True source") : null),
        ...ranks.map((rank) => make("td", { class: rank === null ? "muted" : null }, rank === null ? "\u2013" : String(rank))),
      ]))),
    ]));
  };

  const draw = () => {
    if (!answer || !width) return;
    const spaces = catalogue.spaces;
    const n = Math.max(1, ...lines.flatMap(({ ranks }) => ranks.map((rank) => rank ?? 0)));
    const wide = width >= 640;
    const margin = wide ? Math.min(280, width * 0.27) : 44;
    const inset = wide ? margin : 48;
    const x = (i) => inset + (i * (width - 2 * inset)) / (spaces.length - 1);
    const y = (rank) => TOP + ((rank ?? n + 1.2) - 0.5) * PITCH;
    const height = y(null) + PITCH;
    const text = (content, attributes) => svg("text", { class: "slopes-text", ...attributes }, content);
    const room = Math.floor((margin - NODE - 48) / 7.2);
    const short = (title) => (title.length > room ? `${title.slice(0, room - 1).trimEnd()}\u2026` : title);
    const under = []; // all strokes lie below all numbers
    const groups = lines.map((line) => {
      const { id, ranks } = line;
      const group = svg("g", {
        class: `slope${truthIds().has(id) ? " is-truth" : ""}`,
        "data-ref": id,
        role: "button",
        tabindex: "-1",
        "aria-label": story(line),
      });
      const strokes = svg("g", { class: `slope-strokes${truthIds().has(id) ? " is-truth" : ""}`, "data-ref": id });
      for (let i = 0; i + 1 < ranks.length; i++) {
        const [from, to] = [ranks[i], ranks[i + 1]];
        if (from === null && to === null) continue;
        const ends = { x1: x(i), y1: y(from), x2: x(i + 1), y2: y(to) };
        strokes.append(svg("line", { ...ends, class: "slope-reach" }), svg("line", { ...ends, class: from && to ? "slope-line" : "slope-line is-stub" }));
      }
      ranks.forEach((rank, i) => {
        if (rank === null) return;
        group.append(
          svg("g", { "data-space": spaces[i].id, class: "slope-node" }, svg("circle", { cx: x(i), cy: y(rank), r: NODE }), text(String(rank), { x: x(i), y: y(rank), class: "slope-rank" })),
        );
      });
      const reference = referenceOf(id);
      const side = PITCH - 4;
      const label = (i, sign) => {
        if (ranks[i] === null) return;
        const edge = x(i) + sign * (NODE + 6);
        group.append(
          svg("image", { href: reference.picture, x: sign < 0 ? edge - side : edge, y: y(ranks[i]) - side / 2, width: side, height: side, preserveAspectRatio: "xMidYMid slice" }),
        );
        if (wide) group.append(text(short(reference.title), { x: edge + sign * (side + 6), y: y(ranks[i]), "text-anchor": sign < 0 ? "end" : "start", class: "slopes-text slope-title" }));
      };
      label(0, -1);
      label(ranks.length - 1, 1);
      under.push(strokes);
      return group;
    });
    groups[0]?.setAttribute("tabindex", "0");
    const anchor = (i) => (wide || i === 1 ? "middle" : i === 0 ? "start" : "end");
    const at = (i) => (wide || i === 1 ? x(i) : i === 0 ? 0 : width);
    const heads = spaces.map((space, i) => text(space.name, { x: at(i), y: 12, "text-anchor": anchor(i), class: "slopes-text slopes-head", "data-space": space.id }));
    const shared = spaces.slice(1).map((space, i) => {
      const { shared: same, of } = movesBetween(idsOf(spaces[i].id, answer), idsOf(space.id, answer));
      return text(`${same} of ${of}${wide ? " the same" : ""}`, { x: (x(i) + x(i + 1)) / 2, y: 36, "text-anchor": "middle", class: "slopes-text slopes-shared" });
    });
    const beyond = [
      svg("line", { x1: x(0) - NODE, x2: x(spaces.length - 1) + NODE, y1: y(null), y2: y(null), class: "slopes-beyond" }),
      text(`not among the first ${answer.k}`, { x: width / 2, y: y(null) + 14, "text-anchor": "middle" }),
    ];
    chart.replaceChildren(
      svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Slope chart of ranks; arrow keys move from line to line, Enter opens a picture" }, ...beyond, ...under, ...groups, ...heads, ...shared),
    );
    mark();
  };

  const groupOf = (event) => event.target.closest?.("[data-ref]");
  const idOf = (element) => Number(element.dataset.ref);
  const open = (id) => set("selected", { id, opener: chart.querySelector(`.slope[data-ref="${id}"]`) });

  const mark = () => {
    const id = state.hover;
    const line = id === null ? null : lines.find((one) => one.id === id);
    chart.classList.toggle("has-linked", Boolean(line));
    root.querySelectorAll("[data-ref]").forEach((element) => element.classList.toggle("is-linked", Boolean(line) && idOf(element) === id));
    caption.textContent = line ? story(line) : "Point at a line, or walk the lines with the arrow keys.";
  };

  on(chart, "pointerover", (event) => set("hover", groupOf(event) ? idOf(groupOf(event)) : resting()));
  on(chart, "pointerleave", () => set("hover", resting()));
  on(chart, "focusin", (event) => groupOf(event) && set("hover", idOf(groupOf(event))));
  on(chart, "focusout", () => set("hover", null));
  on(chart, "click", (event) => groupOf(event) && open(idOf(groupOf(event))));
  on(chart, "keydown", (event) => {
    const current = groupOf(event);
    if (!current) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return open(idOf(current));
    }
    const all = [...chart.querySelectorAll(".slope")];
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const next = { Home: all[0], End: all.at(-1) }[event.key] ?? all[all.indexOf(current) + (step ?? 0)];
    if (!next || next === current) return;
    event.preventDefault();
    current.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus({ preventScroll: false });
  });

  resized(chart, () => {
    const now = Math.floor(chart.getBoundingClientRect().width);
    if (now === width || !now) return;
    width = now;
    draw();
  });

  return {
    root,
    mark,
    show: (given) => {
      answer = given;
      root.hidden = !answer || !catalogue.spaces.some((space) => answer.spaces[space.id].matches.length);
      if (root.hidden) return;
      lines = slopeLines(answer);
      fill();
      draw();
    },
  };
};
