// Inspect: what is chosen, in words, and how well each space does on it: means with bootstrap intervals on one scale from 0 to 1.
// The charts are tables whose cells hold the bars, so every figure also stands there as text.
import { hint, make } from "../core/dom.js";
import { referenceOf } from "../core/state.js";
import { meanFigure, writeMask } from "./inspect-data.js";

const MEANINGS = {
  "R@1": "Recall at 1: the share of a query\u2019s true sources found at rank 1, averaged over queries. A query with n true sources cannot exceed 1/n.",
  "R@5": "Recall at 5: the share of a query\u2019s true sources among the first five, averaged over queries.",
  MRR: "Mean reciprocal rank: the mean of 1 divided by the rank of the best-placed true source. 1 is perfect.",
};
const INTERVAL_MEANING =
  "Bootstrap 95% interval: whole concepts are drawn again and again, since queries about one concept fail together.";
const FACTOR_NAMES = { type: "Kind of query", generator: "Generator", group: "Concept group", split: "Split" };
const FEW = 10;
const fixed = (figure) => figure.toFixed(3).replace("-", "\u2212");
const between = ([, low, high]) => `${fixed(low)} to ${fixed(high)}`;

const bar = ([mean, low, high], space, i = 0, n = 1) => {
  const percent = (share) => `${100 * share}%`;
  const top = `${(100 * (i + 0.5)) / n}%`;
  return [
    low === undefined ? null : make("span.reach", { "data-space": space, style: { left: percent(low), width: percent(high - low), top } }),
    make("span.dot", { "data-space": space, style: { left: percent(mean), top } }),
  ];
};
const track = (figures, spaces) =>
  make("span.track", { "aria-hidden": "true" }, ...figures.flatMap((figure, s) => (figure ? bar(figure, spaces[s], s, figures.length) : [])));
const scale = () =>
  make("span.scale", { "aria-hidden": "true" }, ...["0", ".25", ".5", ".75", "1"].map((text) => make("span", text)));

// Whether the choice itself rests on what the spaces answered; then an interval would describe the choice, not the spaces.
const isCircular = ({ filters, pair, hub }) => Boolean(filters.outcome || pair || hub);

const keep = new Map();
const figuresOf = async (context, measure, by) => {
  const { table, state } = context;
  const rows = writeMask(state.choice.rows, table.m);
  const key = `${measure} ${by} ${rows}`;
  if (!keep.has(key)) {
    if (keep.size > 64) keep.clear();
    keep.set(key, context.ask("inspect_recall", { rows, measure, by }).catch((error) => (keep.delete(key), Promise.reject(error))));
  }
  return keep.get(key);
};
// Draw at once with what is known, and again when the figures for the latest choice arrive.
const follow = (context, fill) => {
  let latest = 0;
  return async (state) => {
    const turn = (latest += 1);
    fill(null);
    if (!state.choice.rows.length) return;
    await new Promise((resolve) => setTimeout(resolve, 80));
    if (turn !== latest) return;
    try {
      const reply = await figuresOf(context, state.measure, state.by);
      if (turn === latest && !context.part.signal.aborted) fill(reply);
    } catch (error) {
      if (turn === latest) fill(null, error.message);
    }
  };
};

export const inspectSegment = (context, key, options, label) => {
  const buttons = options.map(([value, text, space]) => {
    const onclick = () => context.change({ [key]: value }, { keepLeaf: true });
    return make("button", { "data-value": value, "data-space": space, onclick }, text);
  });
  const element = make("div.segment", { role: "group", "aria-label": label }, ...buttons);
  const draw = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === context.state[key])));
  return { element, draw };
};

export const inspectSummary = (context) => {
  const { table } = context;
  const count = make("p.count", { role: "status" });
  const chips = make("div.chosen-words");
  const notes = make("div.notes");
  const body = make("tbody");
  const measured = make("span");
  const head = make("tr", [
    make("th", { scope: "col" }, "Space"),
    make("th", { scope: "col" }, scale()),
    make("th.figure", { scope: "col" }, measured),
    make("th", { scope: "col" }, hint("95% interval", INTERVAL_MEANING)),
    make("th", { scope: "col" }, hint("Gained on the space before", "Paired difference on the same queries, with its interval. A step is shown where the interval excludes zero.")),
  ]);
  const chart = make("table.recall", make("caption.sr", "The measure in each space, for the chosen queries"), make("thead", head), body);
  const measure = inspectSegment(context, "measure", table.measures.map((name) => [name, name]), "Measure");

  const chip = (text, onclick) =>
    make("button.chosen-word", { "aria-label": `Remove the filter ${text}`, onclick }, text, make("span", { "aria-hidden": "true" }, "\u00d7"));
  const drawChips = () => {
    const { filters, pair, hub } = context.state;
    const all = table.facets.flatMap((facet) =>
      facet.values.filter(({ value }) => filters[facet.key]?.has(value))
        .map(({ value, label }) => chip(facet.key === "split" ? `${label} split` : label, () => {
          const left = { ...filters, [facet.key]: new Set([...filters[facet.key]].filter((other) => other !== value)) };
          if (!left[facet.key].size) delete left[facet.key];
          context.change({ filters: left });
        })),
    );
    if (pair) all.push(chip(`${pair.space}: ${pair.from || "no group"} taken for ${pair.to || "no group"}`, () => context.change({ pair: null })));
    if (hub) all.push(chip(`${hub.space}: \u201c${referenceOf(hub.id).title}\u201d among the first ten`, () => context.change({ hub: null })));
    chips.replaceChildren(...all, all.length ? make("button.plain", { onclick: context.reset }, "Start over") : "");
  };

  const drawNotes = (reply, fault) => {
    const { filters, choice } = context.state;
    const lines = [];
    const others = [...table.splits].filter((split) => split !== "test");
    const flatters = table.splits.has("test") && others.some((split) => !filters.split || filters.split.has(split));
    if (flatters) lines.push("These figures flatter: some of the chosen queries are about concepts that the heads were fitted on, or that settings were chosen on.");
    else if (table.splits.has("test")) lines.push("Test split only: concepts on which nothing was chosen.");
    if (choice.rows.length && isCircular(context.state)) lines.push("The choice rests on what the spaces answered, so the figures follow from it; intervals are left out.");
    else if (reply && reply.all.n_concepts < FEW) lines.push(`Only ${reply.all.n_concepts} concept${reply.all.n_concepts === 1 ? "" : "s"}: an interval over so few says little.`);
    if (fault) lines.push(`Intervals did not arrive: ${fault}`);
    notes.replaceChildren(...lines.map((line) => make("p", line)));
  };

  const fill = (reply, fault) => {
    const { state } = context;
    const { choice } = state;
    const shown = isCircular(state) ? null : reply;
    drawNotes(reply, fault);
    chart.hidden = !choice.rows.length;
    chart.classList.toggle("is-pending", !reply && !fault);
    chart.classList.toggle("is-bare", isCircular(state));
    measured.replaceChildren(hint(state.measure, MEANINGS[state.measure]));
    body.replaceChildren(...table.spaces.map((space, s) => {
      const figure = shown?.all.spaces[s] ?? [meanFigure(table, choice.rows, s, state.measure)];
      const step = s ? shown?.all.steps[s - 1] : null;
      const isClear = step && (step[1] > 0 || step[2] < 0);
      return make("tr", { "data-space": space }, [
        make("th", { scope: "row" }, space),
        make("td", track([figure], [space])),
        make("td.figure.number", fixed(figure[0])),
        make("td.number.muted", figure.length > 1 ? between(figure) : ""),
        make("td", { class: `number step ${isClear ? "is-clear" : "muted"}` }, [
          step ? `${step[0] >= 0 ? "+" : ""}${fixed(step[0])}` : "",
          step ? make("span.muted", ` (${between(step)})`) : null,
        ]),
      ]);
    }));
  };
  const request = follow(context, fill);

  const draw = () => {
    const { choice } = context.state;
    const n = choice.rows.length;
    count.replaceChildren(make("b", n.toLocaleString("en-GB")), ` of ${table.m.toLocaleString("en-GB")} queries with a known source`);
    drawChips();
    measure.draw();
    request(context.state);
  };
  const element = make("section.inspect-summary", { "aria-label": "Summary" }, make("div.count-line", count, measure.element), chips, chart, notes);
  return { element, draw };
};

export const inspectRecall = (context) => {
  const { table } = context;
  const options = Object.entries(FACTOR_NAMES).filter(([key]) => table.facets.some((facet) => facet.key === key && facet.values.length > 1));
  const by = inspectSegment(context, "by", options, "Measured apart for each");
  const body = make("tbody");
  const title = make("th", { scope: "col" });
  const head = [title, make("th", { scope: "col" }, scale()), ...table.spaces.map((space) => make("th.term", { scope: "col", "data-space": space }, space))];
  const chart = make("table.recall.recall-by", make("thead", make("tr", ...head)), body);
  const frame = make("div.scroller", { tabindex: "0", role: "region", "aria-label": "Recall by kind" }, chart);
  const note = make("p.muted");

  const cell = (figure, space, circular) =>
    make("td", { "data-space": space }, make("span.figure.number", fixed(figure[0])), circular ? null : make("span.interval.number", between(figure)));

  const row = (one, circular) => {
    const { state } = context;
    const facet = table.facets.find(({ key }) => key === state.by);
    const value = facet.values.find((known) => known.value === one.value);
    const onclick = () => context.change({ filters: { ...state.filters, [state.by]: new Set([one.value]) }, tab: "queries" });
    const name = make("button", { "data-value": one.value, onclick }, value?.label ?? one.value);
    const facts = [`${one.n} ${one.n === 1 ? "query" : "queries"}`, `${one.n_concepts < FEW ? "only " : ""}${one.n_concepts} concept${one.n_concepts === 1 ? "" : "s"}`, value?.note];
    return make("tr", [
      make("th", { scope: "row" }, name, make("span.interval", facts.filter(Boolean).join(", "))),
      make("td", track(circular ? one.spaces.map(([mean]) => [mean]) : one.spaces, table.spaces)),
      ...one.spaces.map((figure, s) => cell(figure, table.spaces[s], circular)),
    ]);
  };

  const fill = (reply, fault) => {
    const { state } = context;
    const circular = isCircular(state);
    title.textContent = FACTOR_NAMES[state.by];
    frame.hidden = !state.choice.rows.length || Boolean(fault);
    chart.classList.toggle("is-pending", !reply);
    if (reply) body.replaceChildren(...reply.by.map((one) => row(one, circular)));
    const rest = reply?.left_out ? ` ${reply.left_out} queries of rarer values are not drawn apart.` : "";
    note.replaceChildren(
      ...(fault
        ? [`The figures did not arrive: ${fault}`]
        : state.choice.rows.length
          ? [hint(state.measure, MEANINGS[state.measure]), circular ? ". The choice rests on the answers, so no intervals." : " with ", circular ? "" : hint("95% intervals", INTERVAL_MEANING), `. Choose a row to list its queries.${rest}`]
          : ["No query is chosen: remove a filter."]),
    );
  };
  const request = follow(context, fill);
  const draw = () => {
    by.draw();
    request(context.state);
  };
  return { element: make("div", make("div.panel-head", by.element, note), frame), draw };
};
