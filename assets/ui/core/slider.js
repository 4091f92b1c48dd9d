// A slider that moves freely under the hand, and in strides under the keys.
import { make } from "./dom.js";
import { clamp } from "./keys.js";

// From 0 to `last`: `stride` for an arrow key, `page` for a page key. `slid` hears the place, and whether a key led there.
export const makeSlider = (label, { last, stride, page }, slid) => {
  const steps = { ArrowRight: stride, ArrowUp: stride, ArrowLeft: -stride, ArrowDown: -stride, PageUp: page, PageDown: -page };
  const onkeydown = (event) => {
    const step = { Home: -Infinity, End: Infinity, ...steps }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    slid(clamp(Number(slider.value) + step, last), true);
  };
  const range = { type: "range", min: "0", max: String(last), step: "any", value: "0", "aria-label": label };
  const slider = make("input", { ...range, oninput: () => slid(Number(slider.value), false), onkeydown });
  return slider;
};
