// Inspect: what is chosen, in words, and how well each space does on it: means with bootstrap intervals on one scale from 0 to 1.
// The charts are tables whose cells hold the bars, so every figure also stands there as text.
import { makeDots, makeScale } from "../charts/panels.js";
import { hint, make, makeChoice, makeHead } from "../core/dom.js";
import { nameOf, referenceOf } from "../core/state.js";
import { countText, fixedText } from "../core/words.js";
import { chooseRows, findingOf, meanFigure, writeMask } from "./inspect-data.js";

const MEANINGS = {
  "R@1": "Recall at 1: the share of a query\u2019s true sources found at rank 1, averaged over queries. A query with n true sources cannot exceed 1/n.",
  "R@5": "Recall at 5: the share of a query\u2019s true sources among the first five, averaged over queries.",
  MRR: "Mean reciprocal rank: the mean of 1 divided by the rank of the best-placed true source. 1 is perfect.",
};
const INTERVAL_MEANING =
  "Bootstrap 95% interval: whole concepts are drawn again and again, since queries about one concept fail together.";
const GAIN_MEANING = "Paired difference on the same queries, with its interval. A step is shown where the interval excludes zero.";
const FACTOR_NAMES = { type: "Kind of query", generator: "Generator", group: "Concept group", split: "Split" };
const FEW = 10;
const WAIT = 80; // milliseconds, so that several changes are one question
const fixed = (figure) => fixedText(figure, 3);
const between = ([, low, high]) => `${fixed(low)} to ${fixed(high)}`;
const counted = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

const track = (figures, spaces) => makeDots(figures.map(([at, low, high], s) => ({ space: spaces[s], at, low, high })));
const scale = () => make("th", { scope: "col" }, make("span.sr", "From 0 to 1"), make("span", { "aria-hidden": "true" }, makeScale()));

// Whether the choice itself rests on what the spaces answered; then an interval would describe the choice, not the spaces.
const isCircular = ({ filters, pair, hub }) => Boolean(filters.outcome || pair || hub);

// The server's figures for what is chosen: {reply, fault}, both null while they are on their way. `arrived` hears when they are there.
export const followFigures = (context, arrived) => {
  const figures = { reply: null, fault: null };
  let asked = null;
  const follow = async () => {
    const { choice, measure, by } = context.state;
    const question = { rows: writeMask(choice.rows, context.table.m), measure, by };
    const key = JSON.stringify(question);
    if (key === asked && !figures.fault) return;
    asked = key;
    Object.assign(figures, { reply: null, fault: null });
    if (!choice.rows.length) return;
    await new Promise((resolve) => setTimeout(resolve, WAIT));
    if (key !== asked) return;
    const found = await context.ask("inspect_recall", question).then((reply) => ({ reply }), ({ message }) => ({ fault: message }));
    if (key !== asked || context.part.signal.aborted) return;
    Object.assign(figures, found);
    arrived();
  };
  return { figures, follow };
};

export const inspectSegment = (context, key, options, label) => {
  const choose = (value) => context.change({ [key]: value }, { keepLeaf: true });
  const { element, mark } = makeChoice("div.segment", label, options, choose);
  return { element, draw: () => mark(context.state[key]) };
};

export const inspectSummary = (context) => {
  const { table } = context;
  const count = make("p.count", { role: "status" });
  const chips = make("div.chosen-words");
  const notes = make("div.notes");
  const finding = make("p.finding");
  const body = make("tbody");
  const measured = make("th.figure", { scope: "col" });
  const head = makeHead("Space", scale(), measured, hint("95% interval", INTERVAL_MEANING), hint("Gained on the space before", GAIN_MEANING));
  const chart = make("table.recall", make("caption.sr", "The measure in each space, for the chosen queries"), head, body);
  const measure = inspectSegment(context, "measure", table.measures.map((name) => [name, name]), "Measure");

  const chip = (text, onclick) =>
    make("button.chosen-word", { "aria-label": `Remove the filter ${text}`, onclick }, text, make("span", { "aria-hidden": "true" }, "\u00d7"));
  const drawChips = () => {
    const { filters, pair, hub } = context.state;
    const all = table.facets.flatMap(({ key, values }) =>
      values
        .filter(({ value }) => filters[key]?.has(value))
        .map(({ value, label }) => chip(key === "split" ? `${label} split` : label, () => context.toggle(key, value, false))),
    );
    if (pair) all.push(chip(`${nameOf(pair.space)}: ${pair.from || "no group"} taken for ${pair.to || "no group"}`, () => context.change({ pair: null })));
    if (hub) all.push(chip(`${nameOf(hub.space)}: \u201c${referenceOf(hub.id).title}\u201d among the first ten`, () => context.change({ hub: null })));
    chips.replaceChildren(...all, all.length ? make("button.plain", { onclick: context.reset }, "Start over") : "");
  };

  const drawNotes = ({ reply, fault }) => {
    const { filters, choice } = context.state;
    const lines = [];
    const others = [...table.splits].filter((split) => split !== "test");
    const flatters = table.splits.has("test") && others.some((split) => !filters.split || filters.split.has(split));
    if (flatters) lines.push("These figures flatter: some of the chosen queries are about concepts that the heads were fitted on, or that settings were chosen on.");
    else if (table.splits.has("test")) lines.push("Test split only: concepts on which nothing was chosen.");
    if (choice.rows.length && isCircular(context.state)) lines.push("These were chosen by what the spaces answered, so their share of right answers follows from that and is not drawn.");
    else if (reply && reply.all.n_concepts < FEW) lines.push(`Only ${counted(reply.all.n_concepts, "concept")}: an interval over so few says little.`);
    if (fault) lines.push(`Intervals did not arrive: ${fault}`);
    notes.replaceChildren(...lines.map((line) => make("p", line)));
  };

  const row = (space, s, all) => {
    const { choice, measure: name } = context.state;
    const figure = all?.spaces[s] ?? [meanFigure(table, choice.rows, s, name)];
    const step = s ? all?.steps[s - 1] : null;
    const isClear = step && (step[1] > 0 || step[2] < 0);
    return make("tr", { "data-space": space }, [
      make("th", { scope: "row" }, nameOf(space)),
      make("td", track([figure], [space])),
      make("td.figure.number", fixed(figure[0])),
      make("td.number.muted", figure.length > 1 ? between(figure) : ""),
      make("td", { class: `number step ${isClear ? "is-clear" : "muted"}` }, [
        step ? `${step[0] >= 0 ? "+" : ""}${fixed(step[0])}` : "",
        step ? make("span.muted", ` (${between(step)})`) : null,
      ]),
    ]);
  };

  const fill = () => {
    const { state, figures } = context;
    drawNotes(figures);
    chart.hidden = !state.choice.rows.length || isCircular(state);
    chart.classList.toggle("is-pending", !figures.reply && !figures.fault);
    measured.replaceChildren(hint(state.measure, MEANINGS[state.measure]));
    body.replaceChildren(...table.spaces.map((space, s) => row(space, s, figures.reply?.all)));
  };

  const draw = () => {
    const { filters, choice } = context.state;
    const within = table.splits.size > 1 && filters.split ? `of the ${[...filters.split].join(" and ")} split` : "with a known source";
    const whole = chooseRows(table, filters.split ? { split: filters.split } : {}, null, null).rows;
    count.replaceChildren(make("b", countText(choice.rows.length)), ` of ${countText(whole.length)} pictures ${within}`);
    finding.textContent = isCircular(context.state) || !choice.rows.length ? "" : findingOf(table, choice.rows);
    drawChips();
    measure.draw();
    fill();
  };
  const element = make("section.inspect-summary", { "aria-label": "Summary" }, make("div.count-line", count, measure.element), chips, finding, chart, notes);
  return { element, draw, fill };
};

export const inspectRecall = (context) => {
  const { table } = context;
  const factors = table.facets.filter(({ key, values }) => key in FACTOR_NAMES && values.length > 1);
  const options = Object.entries(FACTOR_NAMES).filter(([factor]) => factors.some(({ key }) => key === factor));
  const by = inspectSegment(context, "by", options, "Measured apart for each");
  const body = make("tbody");
  const title = make("th", { scope: "col" });
  const head = makeHead(title, scale(), table.spaces.map((space) => make("th.term", { scope: "col", "data-space": space }, nameOf(space))));
  const chart = make("table.recall.recall-by", head, body);
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
    const few = one.n_concepts < FEW ? "only " : "";
    const facts = [counted(one.n, "query", "queries"), few + counted(one.n_concepts, "concept"), value?.note];
    return make("tr", [
      make("th", { scope: "row" }, name, make("span.interval", facts.filter(Boolean).join(", "))),
      make("td", track(circular ? one.spaces.map(([mean]) => [mean]) : one.spaces, table.spaces)),
      ...one.spaces.map((figure, s) => cell(figure, table.spaces[s], circular)),
    ]);
  };

  const words = (circular) => {
    const { state, figures } = context;
    if (figures.fault) return [`The figures did not arrive: ${figures.fault}`];
    if (!state.choice.rows.length) return ["No query is chosen: remove a filter."];
    const rest = figures.reply?.left_out ? ` ${figures.reply.left_out} queries of rarer values are not drawn apart.` : "";
    const intervals = circular ? [". The choice rests on the answers, so no intervals."] : [" with ", hint("95% intervals", INTERVAL_MEANING)];
    return [hint(state.measure, MEANINGS[state.measure]), ...intervals, `. Choose a row to list its queries.${rest}`];
  };

  const fill = () => {
    const { state, figures } = context;
    const circular = isCircular(state);
    title.textContent = FACTOR_NAMES[state.by];
    frame.hidden = !state.choice.rows.length || Boolean(figures.fault);
    chart.classList.toggle("is-pending", !figures.reply);
    if (figures.reply) body.replaceChildren(...figures.reply.by.map((one) => row(one, circular)));
    note.replaceChildren(...words(circular));
  };
  const draw = () => {
    by.draw();
    fill();
  };
  return { element: make("div", make("div.panel-head", by.element, note), frame), draw, fill };
};
