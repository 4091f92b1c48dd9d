// Inspect: every evaluated query, what each space made of it, and where a space fails.
// This file holds what is chosen and keeps it in the address; facets, list, figures, confusions and hubs draw themselves.
import { goTo, keepInAddress, remember } from "../core/address.js";
import { make, makeChoice } from "../core/dom.js";
import { catalogue, catalogueReady, learn, mountPart, state } from "../core/state.js";
import { countText } from "../core/words.js";
import { followFigures, inspectRecall, inspectSummary } from "./inspect-charts.js";
import { chooseRows, inspectOrders, readMask, readOutcomes } from "./inspect-data.js";
import { inspectFacets } from "./inspect-facets.js";
import { inspectHubs, inspectPairs } from "./inspect-panels.js";
import { inspectList, inspectWalk } from "./inspect-table.js";

const TABS = [["queries", "Queries"], ["recall", "Recall by kind"], ["confusions", "Confusions"], ["hubs", "Hubs"]];
const FACTORS = ["type", "generator", "group", "split"];

const isShown = () => state.view === "inspect";

export const mountInspect = (element, props, { server }) => {
  const part = mountPart("inspect", element);
  const { n, n_queries: nQueries } = props.value;
  const body = make("div.inspect");
  let table = null;
  let views = [];
  let follow = null; // asks for the figures of what is chosen
  let wanted = null; // what the address asks for, until the table is there
  let loading = null;

  const fresh = () => ({
    filters: table?.splits.has("test") && table.splits.size > 1 ? { split: new Set(["test"]) } : {},
    pair: null,
    hub: null,
    near: null,
    tab: "queries",
    lens: catalogue.spaces.at(-1).id,
    measure: "R@1",
    by: "type",
    order: "gain.both",
    isRising: false,
    leaf: 0,
    choice: { rows: [], counts: [] },
  });
  const context = { part, state: null, table: null };

  context.ask = async (name, request) => {
    const reply = await server[name](request);
    if (!reply || reply.error) throw new Error(reply?.error ?? "The server did not answer. Please try again.");
    learn(reply.cards);
    return reply;
  };

  // Everything that is chosen goes through here; a new choice starts at the first leaf of the list.
  context.change = async (changes, { keepLeaf = false } = {}) => {
    const { state } = context;
    if (changes.hub !== undefined) changes.near = changes.hub ? await nearOf(changes.hub) : null;
    Object.assign(state, keepLeaf ? {} : { leaf: 0 }, changes);
    update();
    if (isShown()) remember();
  };
  context.toggle = (key, value, isOn) => {
    const filters = { ...context.state.filters };
    const values = new Set(filters[key] ?? []);
    if (isOn) values.add(value);
    else values.delete(value);
    if (values.size) filters[key] = values;
    else delete filters[key];
    // What a step fixed is listed by gain, what it broke by loss.
    const [did, step] = key === "outcome" && isOn ? value.split("_by_") : [];
    context.change({ filters, ...(step ? { order: `gain.${step}`, isRising: did === "broken" } : {}) });
  };
  context.reset = () => context.change({ filters: fresh().filters, pair: null, hub: null });
  context.rowsWithout = (name) => {
    const { filters, pair, near } = context.state;
    return chooseRows(table, filters, name === "pair" ? null : pair, name === "hub" ? null : near).rows;
  };

  const nearOf = async ({ space, id }) => {
    const { rows } = await context.ask("inspect_retrieving", { space, reference: id });
    return readMask(rows, table.m);
  };

  const update = () => {
    const { state } = context;
    state.choice = chooseRows(table, state.filters, state.pair, state.near);
    follow();
    views.forEach(({ draw }) => draw());
  };

  const tabs = (panels) => {
    const { element: bar, mark } = makeChoice("div.inspect-tabs", "What to look at", TABS, (tab) => context.change({ tab }, { keepLeaf: true }));
    const frames = TABS.map(([id]) => make("div", { id: `inspect-panel-${id}` }, panels[id].element));
    const draw = () => {
      const { tab } = context.state;
      mark(tab);
      TABS.forEach(([id], t) => (frames[t].hidden = id !== tab));
      panels[tab].draw();
    };
    return { element: make("div", bar, frames), draw };
  };

  const load = async () => {
    body.replaceChildren(waiting());
    body.setAttribute("aria-busy", "true");
    try {
      const sent = await context.ask("inspect_outcomes", {});
      await catalogueReady;
      if (part.signal.aborted) return;
      table = context.table = readOutcomes(sent);
      context.state = fresh();
      const facets = inspectFacets(context);
      const summary = inspectSummary(context);
      const recall = inspectRecall(context);
      const below = tabs({ queries: inspectList(context), recall, confusions: inspectPairs(context), hubs: inspectHubs(context) });
      const arrived = () => {
        summary.fill();
        if (context.state.tab === "recall") recall.fill();
      };
      ({ figures: context.figures, follow } = followFigures(context, arrived));
      inspectWalk(context);
      views = [facets, summary, below];
      body.replaceChildren(facets.element, make("div.findings", summary.element, below.element));
      await takeUp(wanted ?? "");
    } catch (error) {
      if (part.signal.aborted) return;
      loading = null;
      const again = make("button.plain", { onclick: open }, "Try again");
      body.replaceChildren(make("div.notice", { role: "alert" }, make("h2", "The outcomes did not arrive"), make("p", error.message), again));
    }
    body.removeAttribute("aria-busy");
  };
  const open = () => (loading ??= n ? load() : null);

  const waiting = () => make("div.waiting", make("p", { role: "status" }, `Searching all ${countText(n)} queries in three spaces\u2026`));

  const nothing = () => {
    const back = make("button.plain", { onclick: () => goTo("compare") }, "Go to Compare");
    const which = nQueries ? `None of the ${countText(nQueries)} queries of this collection has one` : "This collection has no queries";
    return make("div.notice", [
      make("h2", "Nothing here can be right or wrong"),
      make("p", `This view compares what each space answers with the true source of a query. ${which}, so there is nothing to count.`),
      make("p.muted", "A collection built from a benchmark brings known sources along; precompute/README.md says how."),
      back,
    ]);
  };

  // The address holds what differs from a fresh view, as one text.
  const written = () => {
    if (!isShown()) return null;
    const { state } = context;
    if (!state) return wanted;
    const start = fresh();
    const text = new URLSearchParams();
    const chosen = Object.entries(state.filters).flatMap(([key, values]) => [...values].map((value) => [key, value]));
    const isStart = chosen.length === [...(start.filters.split ?? [])].length && chosen.every(([key, value]) => start.filters[key]?.has(value));
    if (!isStart) chosen.length ? chosen.forEach(([key, value]) => text.append(key, value)) : text.append("all", "1");
    if (state.pair) text.append("pair", [state.pair.space, state.pair.by, state.pair.from, state.pair.to].join("|"));
    if (state.hub) text.append("hub", `${state.hub.space}|${state.hub.id}`);
    for (const key of ["tab", "lens", "measure", "by", "order"]) if (state[key] !== start[key]) text.append(key, state[key]);
    if (state.isRising) text.append("rising", "1");
    if (state.leaf) text.append("leaf", String(state.leaf + 1));
    return text.toString() || null;
  };

  const takeUp = async (text) => {
    const asked = new URLSearchParams(text);
    const state = fresh();
    const oneOf = (key, allowed) => {
      if (allowed.includes(asked.get(key))) state[key] = asked.get(key);
    };
    const filters = {};
    for (const facet of table.facets) {
      const known = asked.getAll(facet.key).filter((value) => facet.values.some((one) => one.value === value));
      if (known.length) filters[facet.key] = new Set(known);
    }
    if (asked.has("all") || Object.keys(filters).length) state.filters = filters;
    oneOf("tab", TABS.map(([id]) => id));
    oneOf("lens", table.spaces);
    oneOf("measure", table.measures);
    oneOf("by", FACTORS);
    oneOf("order", inspectOrders(table).map(({ key }) => key));
    state.isRising = asked.has("rising");
    state.leaf = Math.max(0, (Number.parseInt(asked.get("leaf"), 10) || 1) - 1);
    const [space, by, from, to] = (asked.get("pair") ?? "").split("|");
    if (table.spaces.includes(space) && ["group", "concept"].includes(by) && to !== undefined) state.pair = { space, by, from, to };
    const [hubSpace, hubId] = (asked.get("hub") ?? "").split("|");
    if (table.spaces.includes(hubSpace) && /^\d+$/.test(hubId) && Number(hubId) < catalogue.n) {
      state.hub = { space: hubSpace, id: Number(hubId) };
      state.near = await nearOf(state.hub).catch(() => null);
      if (!state.near) state.hub = null;
    }
    Object.assign(context.state, state);
    update();
  };

  part.slot.replaceChildren(
    make("header.inspect-head", [
      make("h2", "What did the two steps change?"),
      n ? make("p", "Every picture whose true source is known, with the first answer of each space.") : null,
    ]),
    body,
  );
  if (!n) body.replaceChildren(nothing());
  keepInAddress("inspect", written, (text) => {
    wanted = text ?? "";
    if (context.state && wanted !== (written() ?? "")) takeUp(wanted);
  });
  part.heard("view", () => isShown() && open());
  if (isShown()) open();
};
