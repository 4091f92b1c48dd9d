// What is searched and how much is shown, behind one button: groups, sources and licences, several values each, with the counts that
// remain; and the matches of a column. A filter that is set stands beside the button.
import { chooseK, refresh } from "../core/asking.js";
import { hint, make, makeChoice } from "../core/dom.js";
import { countsOf, passingNow, passingOf, setFilter } from "../core/filter.js";
import { catalogue, mountPart, state } from "../core/state.js";
import { countText } from "../core/words.js";

const FIELDS = [["group", "Group"], ["source", "Source"], ["licence", "Licence"]];
const MOST = 100; // lines at a time: a list of thousands is narrowed by typing
const MANY = 8; // values from which a search field is offered
const WAIT = 200; // milliseconds, so that several ticks are one search
const MEANING = "Only these are named in the columns. The weights stay those of the whole collection, so they need not add up to 100%.";

const isChosen = (field, value) => Boolean(state.filter?.[field]?.has(value));

// How many references hold each value of a field and pass the filter of the others.
const remaining = (field) => countsOf(catalogue.words[field], passingOf({ ...state.filter, [field]: null }));

export const mountOptions = (element) => {
  const { slot, on, heard, ready, ended } = mountPart("options", element);
  let waiting = null;

  const apply = (filter) => {
    setFilter(filter);
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh(), WAIT);
  };
  ended(() => clearTimeout(waiting));

  const toggle = (field, value) => {
    const values = new Set(state.filter?.[field]);
    if (!values.delete(value)) values.add(value);
    apply({ ...state.filter, [field]: values });
  };

  const picker = (field, name) => {
    const { values } = catalogue.words[field];
    const find = `Find a ${name.toLowerCase()}`;
    const search = make("input", { type: "search", placeholder: find, "aria-label": find, oninput: () => fill() });
    const list = make("ul.filter-values", { onchange: ({ target }) => toggle(field, values[Number(target.dataset.value)]) });
    const more = make("p.muted", { role: "status" });
    let order = [];

    const line = (i, count) => {
      const checked = isChosen(field, values[i]);
      const box = make("input", { type: "checkbox", "data-value": String(i), checked, disabled: !checked && !count });
      const words = [make("span.filter-word", values[i] || "not stated"), make("span.number.muted", countText(count))];
      return make("li", make("label", box, words));
    };
    const fill = () => {
      const counts = remaining(field);
      const text = search.value.trim().toLowerCase();
      const found = order.filter((i) => values[i].toLowerCase().includes(text));
      list.replaceChildren(...found.slice(0, MOST).map((i) => line(i, counts[i])));
      const rest = found.length - MOST;
      more.textContent = !found.length ? "Nothing by this name." : rest > 0 ? `and ${countText(rest)} more: type to narrow` : "";
    };
    // Those that are chosen come first, then the most frequent; the order stays for as long as the list is open. On the click,
    // since "toggle" comes later, after what is typed at once.
    const onclick = () => {
      if (root.open) return;
      const counts = remaining(field);
      const chosen = (i) => Number(isChosen(field, values[i]));
      order = [...values.keys()].sort((a, b) => chosen(b) - chosen(a) || counts[b] - counts[a] || values[a].localeCompare(values[b]));
      fill();
    };
    const root = make("details.filter", { name: "filter" }, make("summary", { onclick }, name), values.length > MANY ? search : null, list, more);

    // The filter has changed: the ticks follow, and the focus stays where it is.
    const follow = () => {
      root.classList.toggle("is-set", Boolean(state.filter?.[field]));
      if (!root.open) return;
      const at = document.activeElement?.dataset?.value;
      fill();
      if (at !== undefined) root.querySelector(`[data-value="${at}"]`)?.focus();
    };
    return { root, follow };
  };

  let pickers = [];
  const chips = make("span.filter-chips");
  const total = make("p.filter-total");

  const chip = (field, value) => {
    const name = value || "not stated";
    const onclick = () => {
      toggle(field, value);
      (chips.querySelector(".chip") ?? summary).focus();
    };
    return make("button.chip", { "aria-label": `Take ${name} out of the filter`, onclick }, name, make("span", { "aria-hidden": "true" }, " \u00d7"));
  };
  const clear = () => {
    apply(null);
    summary.focus();
  };

  const show = () => {
    pickers.forEach(({ follow }) => follow());
    const chosen = FIELDS.flatMap(([field]) => [...(state.filter?.[field] ?? [])].map((value) => chip(field, value)));
    chips.replaceChildren(...chosen, chosen.length ? make("button.filter-clear", { onclick: clear }, "Clear") : "");
    const passing = passingNow();
    const all = `${countText(catalogue.n)} pictures`;
    const left = () => countText(passing.reduce((sum, passes) => sum + passes, 0));
    total.replaceChildren(...(passing ? [`${left()} of ${all}; `, hint("weights as in the whole collection", MEANING)] : []));
  };

  const summary = make("summary", "Options");
  const close = (event) => {
    if (event.type === "keydown" ? event.key !== "Escape" : panel.contains(event.target)) return;
    panel.open = false;
    if (event.type === "keydown") summary.focus();
  };
  const panel = make("details.options", summary);

  ready(() => {
    pickers = FIELDS.filter(([field]) => catalogue.words[field].values.length > 1).map(([field, name]) => picker(field, name));
    const { element: amount, mark } = makeChoice("div.segment", "Matches per column", catalogue.k_choices.map((k) => [k, String(k)]), chooseK);
    const search = make("div", { role: "group", "aria-label": "Search in" }, make("p.muted", "Search in"), pickers.map(({ root }) => root));
    panel.append(make("div.options-panel", pickers.length ? search : null, make("div.filters", make("span.muted", "Matches per column"), amount)));
    slot.replaceChildren(panel, total, chips);
    on(document, "pointerdown", close);
    on(panel, "keydown", close);
    heard("filter", show);
    heard("answer", () => mark(state.answer?.k));
    show();
  });
};
