// Inspect: what a space takes a source for (confusions), and which references it offers too often (hubs). Both filter the list.
import { hint, make, makeBar, makePicture, svg } from "../core/dom.js";
import { catalogue, nameOf, referenceOf } from "../core/state.js";
import { countText, fixedText } from "../core/words.js";
import { inspectSegment } from "./inspect-charts.js";
import { countPairs, writeMask } from "./inspect-data.js";

const N_PAIRS = 10;
const SKEWNESS_MEANING =
  "Skewness of N\u2081\u2080, how often each picture is among the ten nearest of a query. 0 is a symmetric spread; large values mean that a few hubs are near everything (Radovanovi\u0107 et al., 2010). Right answers skew it somewhat too, since only some pictures are true sources.";
const NOTHING = "No query is chosen: remove a filter.";
const named = (text) => text || "no group";

export const inspectPairs = (context) => {
  const { table } = context;
  const lens = inspectSegment(context, "lens", table.spaces.map((space) => [space, nameOf(space), { "data-space": space }]), "Space");
  const said = make("p.muted");
  const pairs = make("div.pairs");

  const choose = (by, from, to) => context.change({ pair: { space: context.state.lens, by, from, to }, tab: "queries" });
  const isChosen = (by, from, to) => {
    const { pair, lens } = context.state;
    return pair?.space === lens && pair.by === by && pair.from === from && pair.to === to;
  };

  const bars = (title, by, counted) => {
    const most = counted[0]?.n ?? 1;
    const items = counted.slice(0, N_PAIRS).map(({ from, to, n }) =>
      make("li", make("button.pair", { "aria-pressed": String(isChosen(by, from, to)), onclick: () => choose(by, from, to) }, [
        make("span.words", named(from), make("span.muted", from === to ? " taken for another of them" : " taken for "), from === to ? null : named(to)),
        make("span.number", String(n)),
        makeBar(n / most),
      ])),
    );
    return make("section", { "data-space": context.state.lens }, make("h3", title), make("ol", items));
  };

  const draw = () => {
    lens.draw();
    const { state } = context;
    const rows = context.rowsWithout("pair");
    const s = table.spaces.indexOf(state.lens);
    const [groups, concepts] = ["group", "concept"].map((by) => countPairs(table, rows, s, by));
    const sum = (counted) => counted.reduce((total, pair) => total + pair.n, 0);
    const n = sum(groups);
    const hasGroups = new Set(groups.flatMap(({ from, to }) => [from, to])).size > 1;
    const own = countText(sum(groups.filter(({ from, to }) => from === to)));
    const within = hasGroups ? `; ${own} of these are another picture of the right group` : "";
    if (n) said.textContent = `${countText(n)} of ${countText(rows.length)} first answers are wrong${within}. Choose a pair to list its queries.`;
    else said.textContent = rows.length ? "Every first answer is right here: nothing is taken for something else." : NOTHING;
    const lists = [hasGroups ? bars("Most frequent, by group", "group", groups) : null, n ? bars("Most frequent, by concept", "concept", concepts) : null];
    pairs.replaceChildren(...lists.filter(Boolean));
  };
  return { element: make("div", make("div.panel-head", lens.element, said), pairs), draw };
};

export const inspectHubs = (context) => {
  const { part, table } = context;
  const said = make("p.muted");
  const columns = make("div.trio.hubs");
  let asked = ""; // what the columns are about, or are to be

  const curve = (counts, most, expected) => {
    const x = (i) => (100 * i) / Math.max(1, counts.length - 1);
    const y = (n) => 40 - (38 * n) / Math.max(1, most);
    const line = counts.map((n, i) => `L${x(i).toFixed(2)} ${y(n).toFixed(2)}`).join("");
    return svg("svg.curve", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" }, [
      svg("path", { d: `M0 40${line}L100 40Z` }),
      svg("path.mean", { d: `M0 ${y(expected).toFixed(2)}H100` }),
    ]);
  };

  const hub = (space, [id, count, deserved]) => {
    const reference = referenceOf(id);
    const { hub: chosen } = context.state;
    const onclick = () => context.change({ hub: { space, id }, tab: "queries" }).catch((error) => (said.textContent = `The list did not arrive: ${error.message}`));
    const isChosen = chosen?.space === space && chosen?.id === id;
    return make("li", make("button.hub", { "data-ref": id, "aria-pressed": String(isChosen), onclick }, [
      make("span.frame", makePicture(reference.picture, { loading: "lazy" })),
      make("span.words", make("span.title", reference.title), make("span.muted.number", deserved ? `the source of ${deserved} of these` : "the source of none of these")),
      make("span.number.count", make("span.sr", "among the first ten of "), String(count), make("span.unit", "queries")),
    ]));
  };

  const column = (reply, s) => {
    const space = table.spaces[s];
    const one = reply.spaces[s];
    const most = Math.max(...reply.spaces.map(({ curve: counts }) => counts[0]));
    return make("section.lane", { "data-space": space }, [
      make("h3", catalogue.spaces[s].name, " ", make("span.term", space)),
      make("p", hint("Hubness", SKEWNESS_MEANING), ` (skewness of N\u2081\u2080) `, make("b.number", fixedText(one.skewness, 2))),
      curve(one.curve, most, reply.expected),
      make("p.muted.axis", make("span", `offered ${one.curve[0]} times`), make("span", `${countText(one.never)} of ${countText(catalogue.n)} never`)),
      make("ol", ...one.top.map((entry) => hub(space, entry))),
    ]);
  };

  const draw = async () => {
    const rows = context.rowsWithout("hub");
    const mask = writeMask(rows, table.m);
    const key = `${mask} ${JSON.stringify(context.state.hub)}`;
    if (key === asked) return;
    asked = key;
    const show = (words, reply = null) => {
      said.textContent = words;
      columns.replaceChildren(...(reply ? table.spaces.map((_, s) => column(reply, s)) : []));
      columns.classList.remove("is-pending");
    };
    if (!rows.length) return show(NOTHING);
    columns.classList.add("is-pending");
    try {
      const reply = await context.ask("inspect_hubs", { rows: mask });
      if (key !== asked || part.signal.aborted) return;
      const even = `An even hand would offer each ${reply.expected.toFixed(1)} times (the line).`;
      const words = `How often each picture is among the first ${reply.k} of ${countText(reply.n)} queries, from the most to the least offered; all three curves share one scale.`;
      show(`${words} ${even} Choose a picture to list the queries it is offered to.`, reply);
    } catch (error) {
      if (key !== asked) return;
      asked = "";
      show(`The hubs did not arrive: ${error.message}`);
    }
  };
  return { element: make("div", make("div.panel-head", said), columns), draw };
};
