// Inspect: the chosen queries, a leaf at a time, each with its true source and the first answer of every space; and the way to
// Compare and back.
import { goTo, remember, showView } from "../core/address.js";
import { askQuery } from "../core/asking.js";
import { make, makePicture } from "../core/dom.js";
import { clamp, walkRow } from "../core/keys.js";
import { nameOf, referenceOf, state } from "../core/state.js";
import { cosineText, countText, percentText } from "../core/words.js";
import { inspectOrders, orderRows } from "./inspect-data.js";
import { outcomeMark } from "./inspect-facets.js";

const PER_LEAF = 20;

export const inspectList = (context) => {
  const { part, table } = context;
  const orders = inspectOrders(table);
  const select = make("select", { "aria-label": "Order" }, ...orders.map(({ key, label }) => make("option", { value: key }, label)));
  const turn = make("button.plain", { onclick: () => context.change({ isRising: !context.state.isRising }) });
  const head = make("div.case-head", { "aria-hidden": "true" }, make("span", "Picture and its true source"), ...table.spaces.map((space) => make("span.term", { "data-space": space }, nameOf(space))));
  const list = make("ol.cases", { onkeydown: walkRow });
  const empty = make("div.notice", [
    make("h2", "No query is like that"),
    make("p", "Remove a filter above, or start over."),
    make("button.plain", { onclick: context.reset }, "Start over"),
  ]);
  const lastLeaf = () => Math.max(0, context.leafOf(context.ordered.length - 1));
  const turns = [["First", -Infinity], ["Previous", -1], ["Next", 1], ["Last", Infinity]].map(([words, by]) =>
    make("button.plain", { onclick: () => go(clamp(context.state.leaf + by, lastLeaf())) }, words),
  );
  const where = make("span.number", { role: "status" });
  const pager = make("nav.leaves", { "aria-label": "Leaves of the list" }, turns.toSpliced(2, 0, where));
  let drawn = "";

  const answer = (i, s) => {
    const space = table.spaces[s];
    const found = referenceOf(table.first[s][i]);
    const isRight = table.rank[s][i] === 1;
    return make("span", { class: `answer ${isRight ? "is-right" : "is-wrong"}`, "data-space": space }, [
      make("span.frame", makePicture(found.picture, { loading: "lazy", title: found.title })),
      make("span.words", [
        make("span.right-or-wrong", outcomeMark(isRight ? "r" : "w"), isRight ? "Right" : "Wrong", make("span.sr", ` in ${nameOf(space)}`)),
        make("span.muted.what", { title: found.title }, isRight ? "" : found.title),
        make("span.muted.number", isRight ? "" : `source at ${countText(table.rank[s][i])}`),
        make("span.muted.number", { title: `similarity ${cosineText(table.similarity[s][i])}` }, `weight ${percentText(table.weight[s][i])}`),
      ]),
    ]);
  };

  const row = (i, position) => {
    const source = referenceOf(table.truth[i]);
    const more = table.sources[i] > 1 ? `one of ${table.sources[i]} sources` : null;
    return make("li", make("button.case", { "data-query": table.ids[i], tabindex: position % PER_LEAF ? "-1" : "0", onclick: () => context.open(position) }, [
      make("span.frame", makePicture(table.picture(i), { loading: "lazy" })),
      make("span.frame.source", makePicture(source.picture, { loading: "lazy" })),
      make("span.words", [
        make("span.title", source.title),
        make("span.muted", [table.typeOf(i), table.word("split", i), more].filter(Boolean).join(", ")),
      ]),
      ...table.spaces.map((_, s) => answer(i, s)),
    ]));
  };

  const draw = () => {
    const { state } = context;
    const rule = orders.find(({ key }) => key === state.order);
    const ordered = (context.ordered = orderRows(state.choice.rows, rule, state.isRising));
    state.leaf = Math.min(state.leaf, lastLeaf());
    const from = state.leaf * PER_LEAF;
    const shown = ordered.slice(from, from + PER_LEAF);
    select.value = state.order;
    turn.textContent = state.isRising ? "Smallest first" : "Largest first";
    turn.hidden = state.order === "collection";
    empty.hidden = ordered.length > 0;
    head.hidden = pager.hidden = !ordered.length;
    where.textContent = `${countText(from + 1)}\u2013${countText(from + shown.length)} of ${countText(ordered.length)}`;
    turns.forEach((one, i) => (one.disabled = state.leaf === (i < 2 ? 0 : lastLeaf())));
    list.start = from + 1;
    if (drawn === shown.join() && !list.querySelector("img[src='']")) return; // the same rows: their pictures and the focus stay
    drawn = shown.join();
    const at = list.contains(document.activeElement) ? document.activeElement.dataset.query : null;
    list.replaceChildren(...shown.map((i, offset) => row(i, from + offset)));
    list.querySelector(`[data-query="${at}"]`)?.focus({ preventScroll: true });
  };

  const go = (leaf) => {
    context.change({ leaf }, { keepLeaf: true });
    head.scrollIntoView({ block: "nearest" });
    list.querySelector(".case")?.focus({ preventScroll: true });
  };
  part.carded(list, draw);
  part.on(select, "change", () => context.change({ order: select.value, isRising: false }));
  context.leafOf = (position) => Math.floor(position / PER_LEAF);
  const bar = make("div.panel-head", make("label", make("span", "Order by"), select), turn, make("span.muted", "Choose a query to open it in Compare."));
  return { element: make("div", bar, head, list, empty, pager), draw };
};

// From a query to Compare, through the chosen queries there, and back to the same place here.
export const inspectWalk = (context) => {
  const { part, table } = context;
  let position = null; // of the query opened from here, among the ordered rows
  let asked = new Set(); // the queries this walk has asked for; answers may come late
  let scroll = 0;
  const back = make("button.plain", { onclick: () => goTo("inspect") }, "\u2190 Back to Inspect");
  const before = make("button.plain", { onclick: () => ask(position - 1) }, "Previous");
  const after = make("button.plain", { onclick: () => ask(position + 1) }, "Next");
  const where = make("span.number.muted");
  const bar = make("div.walk", { role: "group", "aria-label": "Queries chosen in Inspect", hidden: true }, back, where, before, after);
  document.querySelector("#nav .slot")?.append(bar);
  part.ended(() => bar.remove());

  const draw = () => {
    const isHere = position !== null && state.view === "compare";
    bar.hidden = !isHere;
    if (!isHere) return;
    const n = context.ordered.length;
    where.textContent = `${countText(position + 1)} of ${countText(n)} chosen`;
    before.disabled = position === 0;
    after.disabled = position === n - 1;
  };
  const ask = (next) => {
    position = next;
    asked.add(table.ids[context.ordered[position]]);
    askQuery(table.ids[context.ordered[position]]);
    draw();
  };

  context.open = (at) => {
    scroll = window.scrollY;
    asked = new Set();
    remember();
    showView("compare");
    ask(at);
  };
  part.heard("answer", () => {
    const { answer } = state;
    if (answer?.status === "answer" && !asked.has(answer.query?.id)) position = null; // another picture: the walk is over
    if (position !== null && state.view === "compare") remember();
    draw();
  });
  part.heard("view", () => {
    draw();
    if (state.view !== "inspect") return;
    const at = position;
    const isElsewhere = at !== null && context.leafOf(at) !== context.state.leaf;
    if (isElsewhere) context.change({ leaf: context.leafOf(at) }, { keepLeaf: true });
    requestAnimationFrame(() => {
      if (state.view !== "inspect") return;
      window.scrollTo(0, scroll);
      if (at === null) return;
      const opened = document.querySelector(`.cases .case[data-query="${table.ids[context.ordered[at]]}"]`);
      opened?.focus({ preventScroll: true });
      opened?.scrollIntoView({ block: "nearest" });
    });
  });
};
