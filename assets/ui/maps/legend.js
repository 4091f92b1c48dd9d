// The legend of the maps: what each mark stands for and how many there are, of all pictures or of those selected or filtered.
// Pointing at an entry or choosing it lights its pictures.
import { make } from "../core/dom.js";
import { passingNow } from "../core/filter.js";
import { set, state } from "../core/state.js";
import { colouringOf, makeSwatch } from "./marks.js";

// How many references of each value count now, and how many there are in all that pass the filter.
const legendCounts = () => {
  const { values, index } = colouringOf();
  const { selection } = state;
  const passing = passingNow();
  const counts = new Uint32Array(values.length);
  const all = new Uint32Array(values.length);
  for (let id = 0; id < index.length; id++) if (!passing || passing[id]) all[index[id]]++;
  if (!selection) return { counts: all, all };
  for (const id of selection) if (!passing || passing[id]) counts[index[id]]++;
  return { counts, all };
};

export const makeLegend = ({ on, heard, themed }) => {
  const root = make("div.groups", { role: "group" });
  let entries = []; // {value, item, number, swatch}
  let rest = null;
  let kept = null; // the value that stays lit when the pointer leaves

  const light = (value) => set("group", value);

  const entry = (value, colouring) => {
    const swatch = makeSwatch(colouring.slots[value], colouring.n);
    const number = make("span.number.muted");
    const name = colouring.values[value] || "not stated";
    const item = make("button.group", { "aria-pressed": "false" }, swatch, make("span", name), number);
    on(item, "pointerenter", (event) => event.pointerType !== "touch" && light(value));
    on(item, "pointerleave", (event) => event.pointerType !== "touch" && light(kept));
    on(item, "focus", () => item.matches(":focus-visible") && light(value));
    on(item, "blur", () => light(kept));
    on(item, "click", () => {
      kept = kept === value ? null : value;
      entries.forEach((other) => other.item.setAttribute("aria-pressed", String(other.value === kept)));
      light(kept);
    });
    return { value, item, number, swatch };
  };

  const count = () => {
    const { counts, all } = legendCounts();
    const scoped = Boolean(state.selection);
    const words = (n, of) => (scoped ? `${n.toLocaleString("en-GB")} of ${of.toLocaleString("en-GB")}` : n.toLocaleString("en-GB"));
    for (const { value, item, number } of entries) {
      number.textContent = words(counts[value], all[value]);
      item.classList.toggle("is-absent", !counts[value]);
    }
    if (!rest) return;
    const others = [...counts.keys()].filter((value) => !entries.some((one) => one.value === value));
    const sum = (list) => others.reduce((total, value) => total + list[value], 0);
    rest.lastChild.textContent = words(sum(counts), sum(all));
  };

  const build = () => {
    kept = null;
    light(null);
    const colouring = colouringOf();
    entries = colouring.named.map((value) => entry(value, colouring));
    const more = colouring.values.length - entries.length;
    rest = more
      ? make("span.group", makeSwatch(colouring.n - 1, colouring.n), make("span", `${more} more`), make("span.number.muted"))
      : null;
    root.setAttribute("aria-label", `${colouring.name}: choose one to light it up on the maps`);
    root.replaceChildren(...entries.map(({ item }) => item), ...(rest ? [rest] : []));
    count();
  };

  heard("colours", build);
  heard("selection", count);
  heard("filter", count);
  themed(() => root.querySelectorAll(".swatch").forEach((swatch) => swatch.paint()));
  build();
  return root;
};
