// Ranks in the three columns as a slope chart: one line per picture that is among the first k somewhere. "Details" has them as rows.
import { make, svg } from "../core/dom.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { walkRow } from "../core/keys.js";
import { idsOf, movesBetween, truthIds } from "../core/match.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";

const PITCH = 24;
const TOP = 56;
const NODE = 10;

// [{id, ranks: [rank or null, ...], reference, isTruth}] in the order in which the columns name them.
const slopeLines = (answer) => {
  const orders = catalogue.spaces.map((space) => idsOf(space.id, answer));
  const rankIn = (order, id) => (order.includes(id) ? order.indexOf(id) + 1 : null);
  return [...new Set(orders.flat())].map((id) => ({
    id,
    ranks: orders.map((order) => rankIn(order, id)),
    reference: referenceOf(id),
    isTruth: truthIds().has(id),
  }));
};

export const makeSlopes = (part) => {
  const { on, resized } = part;
  const chart = make("div.slopes-chart");
  const caption = make("p.slopes-caption", { "aria-live": "polite" });
  const root = make("section.slopes", { "aria-label": "How ranks change between the spaces" }, make("h3", "How the ranks change"), chart, caption);
  let lines = [];
  let answer = null;
  let width = 0;

  const place = (rank) => (rank === null ? `not among the first ${answer.k}` : `rank ${rank}`);
  const story = ({ reference, ranks }) =>
    `${reference.title}: ${catalogue.spaces.map((space, i) => `${space.name} ${place(ranks[i])}`).join(", ")}`;

  const draw = () => {
    if (!answer || !width) return;
    const { spaces } = catalogue;
    const last = spaces.length - 1;
    const n = Math.max(1, ...lines.flatMap(({ ranks }) => ranks));
    const wide = width >= 640;
    const margin = wide ? Math.min(280, width * 0.27) : 44;
    const inset = wide ? margin : 48;
    const x = (i) => inset + (i * (width - 2 * inset)) / last;
    const y = (rank) => TOP + ((rank ?? n + 1.2) - 0.5) * PITCH;
    const height = y(null) + PITCH;
    const side = PITCH - 4;
    const text = (content, name, attributes) => svg("text", { class: `slopes-text ${name}`, ...attributes }, content);
    const room = Math.floor((margin - NODE - 48) / 7.2);
    const short = (title) => (title.length > room ? `${title.slice(0, room - 1).trimEnd()}\u2026` : title);

    const strokes = ({ id, ranks, isTruth }) => {
      const steps = ranks.slice(1).map((to, i) => {
        const from = ranks[i];
        if (from === null && to === null) return null;
        const ends = { x1: x(i), y1: y(from), x2: x(i + 1), y2: y(to) };
        return [svg("line.slope-reach", ends), svg(from && to ? "line.slope-line" : "line.slope-line.is-stub", ends)];
      });
      return svg("g", { class: `slope-strokes${isTruth ? " is-truth" : ""}`, "data-ref": id }, steps);
    };
    const node = (rank, i) => {
      if (rank === null) return null;
      const circle = svg("circle", { cx: x(i), cy: y(rank), r: NODE });
      return svg("g.slope-node", { "data-space": spaces[i].id }, circle, text(String(rank), "slope-rank", { x: x(i), y: y(rank) }));
    };
    // The picture and title at one end of a line; sign is -1 on the left.
    const label = ({ ranks, reference }, i, sign) => {
      if (ranks[i] === null) return null;
      const edge = x(i) + sign * (NODE + 6);
      const frame = { x: sign < 0 ? edge - side : edge, y: y(ranks[i]) - side / 2, width: side, height: side };
      const at = { x: edge + sign * (side + 6), y: y(ranks[i]), "text-anchor": sign < 0 ? "end" : "start" };
      const title = wide ? text(short(reference.title), "slope-title", at) : null;
      return [svg("image", { href: reference.picture, ...frame, preserveAspectRatio: "xMidYMid slice" }), title];
    };
    const slope = (line, i) => {
      const named = { role: "button", tabindex: i ? "-1" : "0", "aria-label": story(line) };
      const name = `slope${line.isTruth ? " is-truth" : ""}`;
      return svg("g", { class: name, "data-ref": line.id, ...named }, line.ranks.map(node), label(line, 0, -1), label(line, last, 1));
    };
    const head = (space, i) => {
      const isInner = wide || i === 1;
      const at = isInner ? { x: x(i), "text-anchor": "middle" } : i === 0 ? { x: 0, "text-anchor": "start" } : { x: width, "text-anchor": "end" };
      return text(space.name, "slopes-head", { ...at, y: 12, "data-space": space.id });
    };
    const shared = (space, i) => {
      const { shared: same, of } = movesBetween(idsOf(spaces[i].id, answer), idsOf(space.id, answer));
      return text(`${same} of ${of}${wide ? " the same" : ""}`, "slopes-shared", { x: (x(i) + x(i + 1)) / 2, y: 36, "text-anchor": "middle" });
    };
    const beyond = svg("line.slopes-beyond", { x1: x(0) - NODE, x2: x(last) + NODE, y1: y(null), y2: y(null) });
    const absent = text(`not among the first ${answer.k}`, "", { x: width / 2, y: y(null) + 14, "text-anchor": "middle" });
    const words = { role: "group", "aria-label": "Slope chart of ranks; arrow keys move from line to line, Enter opens a picture" };
    // All strokes lie below all numbers.
    const layers = [beyond, absent, lines.map(strokes), lines.map(slope), spaces.map(head), spaces.slice(1).map(shared)];
    chart.replaceChildren(svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, ...words }, layers));
    mark();
  };

  const mark = () => {
    const line = lines.find(({ id }) => id === state.hover);
    chart.classList.toggle("has-linked", Boolean(line));
    markHovered(root);
    caption.textContent = line ? story(line) : "Point at a line, or walk the lines with the arrow keys.";
  };

  const open = ({ id }) => set("selected", { id, opener: chart.querySelector(`.slope[data-ref="${id}"]`) });
  followHover(part, chart);
  on(chart, "click", (event) => referenceAt(event) && open(referenceAt(event)));
  on(chart, "keydown", (event) => {
    const current = referenceAt(event);
    if (!current) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return open(current);
    }
    walkRow(event);
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
      draw();
    },
  };
};
