// The legend of the maps: what each mark stands for and how many there are, of all pictures or of those selected or filtered.
// Pointing at an entry or choosing it lights its pictures.
import { make } from "../core/dom.js";
import { countsOf, passingNow } from "../core/filter.js";
import { set, state } from "../core/state.js";
import { countText } from "../core/words.js";
import { colouringOf, makeSwatch } from "./marks.js";

export const makeLegend = ({ on, heard, themed }) => {
  const root = make("div.groups", { role: "group" });
  let entries = []; // {values: those it counts, item, number}
  let kept = null; // the value that stays lit when the pointer leaves

  const light = (value) => set("group", value);

  const entry = (tag, values, slot, words, { n }) => {
    const number = make("span.number.muted");
    return { values, number, item: make(tag, makeSwatch(slot, n), make("span", words), number) };
  };

  const button = (value, colouring) => {
    const one = entry("button.group", [value], colouring.slots[value], colouring.values[value] || "not stated", colouring);
    const { item } = one;
    item.setAttribute("aria-pressed", "false");
    on(item, "pointerenter", (event) => event.pointerType !== "touch" && light(value));
    on(item, "pointerleave", (event) => event.pointerType !== "touch" && light(kept));
    on(item, "focus", () => item.matches(":focus-visible") && light(value));
    on(item, "blur", () => light(kept));
    on(item, "click", () => {
      kept = kept === value ? null : value;
      root.querySelectorAll("[aria-pressed]").forEach((other) => other.setAttribute("aria-pressed", String(other === item && kept !== null)));
      light(kept);
    });
    return one;
  };

  const count = () => {
    const { selection } = state;
    const colouring = colouringOf();
    const all = countsOf(colouring, passingNow());
    const shown = selection ? countsOf(colouring, passingNow(), selection) : all;
    for (const { values, item, number } of entries) {
      const [n, of] = [shown, all].map((counts) => values.reduce((sum, value) => sum + counts[value], 0));
      number.textContent = selection ? `${countText(n)} of ${countText(of)}` : countText(n);
      item.classList.toggle("is-absent", !n && item.matches("button"));
    }
  };

  const build = () => {
    kept = null;
    light(null);
    const colouring = colouringOf();
    entries = colouring.named.map((value) => button(value, colouring));
    const others = colouring.values.map((_, value) => value).filter((value) => !colouring.named.includes(value));
    if (others.length) entries.push(entry("span.group", others, colouring.n - 1, `${others.length} more`, colouring));
    root.setAttribute("aria-label", `${colouring.name}: choose one to light it up on the maps`);
    root.replaceChildren(...entries.map(({ item }) => item));
    count();
  };

  heard("colours", build);
  heard("selection filter", count);
  themed(() => root.querySelectorAll(".swatch").forEach((swatch) => swatch.paint()));
  build();
  return root;
};
