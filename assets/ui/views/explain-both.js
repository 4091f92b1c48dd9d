// Two pictures in one frame, with a handle between them: drag it, click anywhere, or use the arrow keys.
import { make, makePicture } from "../core/dom.js";

export const makeBoth = ({ on }) => {
  const [left, right] = [makePicture(""), makePicture("")];
  const range = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50 });
  const view = make("div.view", [
    make("span.layer", right),
    make("span.layer.is-left", left),
    make("span.handle", { "aria-hidden": "true" }),
    range,
  ]);
  const words = make("figcaption");
  const element = make("figure.both", words, view);
  const move = () => {
    view.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value}% of the width shows the first picture`);
  };
  on(range, "input", move);
  move();
  return {
    element,
    show(first, second) {
      if (left.getAttribute("src") === first.url && right.getAttribute("src") === second.url) return;
      left.src = first.url;
      right.src = second.url;
      range.setAttribute("aria-label", `Slide between ${first.name} and ${second.name}`);
      words.replaceChildren(make("span", first.name), make("span", second.name));
      range.value = 50;
      move();
    },
  };
};
