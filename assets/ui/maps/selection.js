// What is selected on the maps: how many, and as pictures.
import { make, makePicture } from "../core/dom.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { walkRow } from "../core/keys.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";
import { countText } from "../core/words.js";

const N_SHOWN = 96; // pictures

export const makeSelection = (part) => {
  const { on, heard, carded } = part;
  const chosen = make("span.chosen", { role: "status" });
  const clear = make("button.tool", { onclick: () => set("selection", null) }, "Clear selection");
  const gathered = make("div.gathered", { role: "group", "aria-label": "The selected pictures", onkeydown: walkRow });
  const element = make("div", make("div.selection-bar", chosen, clear), gathered);

  const show = () => {
    const ids = [...(state.selection ?? [])];
    element.hidden = !ids.length;
    chosen.textContent = `${countText(ids.length)} of ${countText(catalogue.n)} pictures selected`;
    const thumbs = ids.slice(0, N_SHOWN).map((id, i) => {
      const { title, picture } = referenceOf(id);
      return make("button", { "data-ref": id, title, "aria-label": title, tabindex: i ? "-1" : "0" }, makePicture(picture, { loading: "lazy" }));
    });
    const rest = ids.length - thumbs.length;
    gathered.replaceChildren(...thumbs, rest > 0 ? make("span.muted", `and ${countText(rest)} more`) : "");
  };

  followHover(part, gathered);
  on(gathered, "click", (event) => referenceAt(event) && set("selected", referenceAt(event)));
  heard("selection", show);
  carded(gathered, show);
  heard("hover", () => markHovered(gathered));
  show();
  return element;
};
