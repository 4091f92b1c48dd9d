// Buttons that turn the leaves of a list of rows.
import { make } from "./dom.js";
import { clamp } from "./keys.js";
import { countText } from "./words.js";

// `button(words, onclick)` makes one, `turn` hears the first row that is wanted, `show` is told the first row shown, and of how many.
export const makePager = (size, button, turn) => {
  let [first, n] = [0, 0];
  const lastLeaf = () => size * Math.max(0, Math.ceil(n / size) - 1);
  const steps = [["First", -Infinity], ["Previous", -size], ["Next", size], ["Last", Infinity]];
  const buttons = steps.map(([words, by]) => button(words, () => turn(clamp(first + by, lastLeaf()))));
  const where = make("span.number", { role: "status" });
  const show = (now, all) => {
    [first, n] = [now, all];
    where.textContent = n ? `${countText(first + 1)}\u2013${countText(Math.min(first + size, n))} of ${countText(n)}` : "0";
    buttons.forEach((one, i) => (one.disabled = i < 2 ? first === 0 : first >= lastLeaf()));
  };
  return { where, buttons, show };
};
