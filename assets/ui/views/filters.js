// The filter of the gallery: which groups, sources and licences are searched. Several values each; the counts are those that remain.
import { refresh } from "../core/asking.js";
import { hint, make } from "../core/dom.js";
import { passes, setFilter } from "../core/filter.js";
import { catalogue, catalogueReady, mountPart, state } from "../core/state.js";

const FIELDS = [["group", "Group"], ["source", "Source"], ["licence", "Licence"]];
const MOST = 100; // lines at a time: a list of thousands is narrowed by typing
const MANY = 8; // values from which a search field is offered
const WAIT = 200; // milliseconds, so that several ticks are one search
const MEANING = "Only these are named in the columns. The weights stay those of the whole collection, so they need not add up to 100%.";

export const mountFilters = (element) => {
  const { on, heard, signal } = mountPart("filters");
  const slot = element.querySelector(".slot");
  let waiting = null;

  const apply = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh(), WAIT);
  };
  signal.addEventListener("abort", () => clearTimeout(waiting));

  const toggle = (field, value) => {
    const filter = { ...(state.filter ?? {}) };
    const values = new Set(filter[field] ?? []);
    if (!values.delete(value)) values.add(value);
    filter[field] = values;
    setFilter(filter);
    apply();
  };

  // How many references hold each value of a field and pass the filter of the others.
  const countsOf = (field) => {
    const { n, words } = catalogue;
    const others = FIELDS.map(([id]) => id).filter((id) => id !== field && state.filter?.[id]?.size);
    const allowed = others.map((id) => words[id].values.map((value) => state.filter[id].has(value)));
    const counts = new Array(words[field].values.length).fill(0);
    for (let id = 0; id < n; id++) {
      if (others.every((other, i) => allowed[i][words[other].index[id]])) counts[words[field].index[id]] += 1;
    }
    return counts;
  };

  const picker = (field, name) => {
    const button = make("button.filter-open", { "aria-expanded": "false", "aria-haspopup": "dialog" }, name);
    const search = make("input", { type: "search", placeholder: `Find a ${name.toLowerCase()}`, "aria-label": `Find a ${name.toLowerCase()}` });
    const list = make("ul.filter-values");
    const more = make("p.muted", { role: "status" });
    const many = catalogue.words[field].values.length > MANY;
    const panel = make("div.filter-panel", { role: "dialog", "aria-label": `Filter by ${name.toLowerCase()}`, hidden: true }, many ? search : null, list, more);
    let order = [];

    const fill = () => {
      const { values } = catalogue.words[field];
      const counts = countsOf(field);
      const text = search.value.trim().toLowerCase();
      const found = order.filter((i) => values[i].toLowerCase().includes(text));
      list.replaceChildren(...found.slice(0, MOST).map((i) => {
        const chosen = Boolean(state.filter?.[field]?.has(values[i]));
        const box = make("input", { type: "checkbox", "data-value": String(i), disabled: !chosen && !counts[i] });
        box.checked = chosen;
        return make("li", make("label", box, make("span.filter-word", values[i] || "not stated"), make("span.number.muted", counts[i].toLocaleString("en-GB"))));
      }));
      const rest = found.length - MOST;
      more.textContent = !found.length ? "Nothing by this name." : rest > 0 ? `and ${rest.toLocaleString("en-GB")} more: type to narrow` : "";
    };

    const close = (back) => {
      if (panel.hidden) return;
      panel.hidden = true;
      button.setAttribute("aria-expanded", "false");
      if (back) button.focus();
    };
    const open = () => {
      pickers.forEach((one) => one.close(false));
      const { values } = catalogue.words[field];
      const counts = countsOf(field);
      const chosen = (i) => Number(Boolean(state.filter?.[field]?.has(values[i])));
      order = values.map((_, i) => i).sort((a, b) => chosen(b) - chosen(a) || counts[b] - counts[a] || values[a].localeCompare(values[b]));
      search.value = "";
      panel.hidden = false;
      button.setAttribute("aria-expanded", "true");
      fill();
      panel.querySelector("input:not([disabled])")?.focus();
    };

    on(button, "click", () => (panel.hidden ? open() : close(true)));
    on(search, "input", fill);
    on(list, "change", (event) => toggle(field, catalogue.words[field].values[Number(event.target.dataset.value)]));
    on(panel, "keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        return close(true);
      }
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const stops = [...panel.querySelectorAll("input:not([disabled])")];
      stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(document.activeElement) + step))]?.focus();
    });
    return { field, root: make("div.filter", button, panel), button, panel, fill, close };
  };

  let pickers = [];
  const chips = make("span.filter-chips");
  const total = make("p.filter-total");

  const show = () => {
    const filter = state.filter;
    for (const { field, button, panel, fill } of pickers) {
      const n = filter?.[field]?.size ?? 0;
      button.classList.toggle("is-set", n > 0);
      if (panel.hidden) continue;
      const at = document.activeElement?.dataset?.value;
      fill();
      if (at !== undefined) panel.querySelector(`[data-value="${at}"]`)?.focus();
    }
    const chosen = FIELDS.flatMap(([field]) => [...(filter?.[field] ?? [])].map((value) => [field, value]));
    chips.replaceChildren(...chosen.map(([field, value]) => {
      const name = value || "not stated";
      const onclick = () => {
        toggle(field, value);
        (chips.querySelector(".chip") ?? pickers[0].button).focus();
      };
      return make("button.chip", { "aria-label": `Take ${name} out of the filter`, onclick }, name, make("span", { "aria-hidden": "true" }, " \u00d7"));
    }));
    if (chosen.length) {
      const onclick = () => {
        setFilter(null);
        pickers[0].button.focus();
        apply();
      };
      chips.append(make("button.filter-clear", { onclick }, "Clear"));
    }
    const all = catalogue.n;
    const left = filter ? Array.from({ length: all }, (_, id) => id).filter(passes).length : all;
    const count = (n) => n.toLocaleString("en-GB");
    total.replaceChildren(...(filter ? [`${count(left)} of ${count(all)} pictures; `, hint("weights as in the whole collection", MEANING)] : [`all ${count(all)} pictures`]));
  };

  catalogueReady.then(() => {
    if (signal.aborted) return;
    pickers = FIELDS.filter(([field]) => catalogue.words[field].values.length > 1).map(([field, name]) => picker(field, name));
    slot.replaceChildren(
      ...(pickers.length
        ? [make("div.filters", { role: "group", "aria-label": "Filter the collection" }, make("span.filter-lead", "Search in"), ...pickers.map((one) => one.root), total, chips)]
        : []),
    );
    on(document, "pointerdown", (event) => pickers.forEach((one) => one.root.contains(event.target) || one.close(false)));
    on(slot, "focusout", (event) => pickers.forEach((one) => event.relatedTarget && !one.root.contains(event.relatedTarget) && one.close(false)));
    heard("filter", show);
    if (pickers.length) show();
  });
};
