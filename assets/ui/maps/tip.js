// The picture and words of the point under the pointer or the keyboard.
import { make, makePicture } from "../core/dom.js";
import { clamp } from "../core/keys.js";
import { matchesOf, standingOf, truthIds } from "../core/match.js";
import { referenceOf } from "../core/state.js";
import { colouringOf } from "./marks.js";

export const makeTip = (map) => {
  const element = make("div.tip", { hidden: true });

  const standing = (id) => {
    const match = matchesOf(map.space()).get(id);
    const { values, index } = colouringOf();
    return match ? standingOf(match) : values[index[id]] || "not stated";
  };

  const show = (id) => {
    element.hidden = id === null;
    if (id === null) return;
    const reference = referenceOf(id);
    if (element.dataset.ref !== String(id) || element.firstChild.getAttribute("src") !== reference.picture) {
      element.dataset.ref = String(id);
      element.replaceChildren(makePicture(reference.picture), make("span.title", reference.title), make("span.muted"));
    }
    element.lastChild.textContent = (truthIds().has(id) ? "True source \u00b7 " : "") + standing(id);
    const [x, y] = map.at(id);
    const left = clamp(x - element.offsetWidth / 2, map.width - element.offsetWidth - 4, 4);
    const above = y - element.offsetHeight - 14;
    element.style.transform = `translate(${left}px, ${above > 4 ? above : y + 14}px)`;
  };
  return { element, show, words: (id) => `${referenceOf(id).title}, ${standing(id)}` };
};
