// What is selected on the maps: how many, as pictures, and as a file.
import { make, makePicture } from "../core/dom.js";
import { csvText, download } from "../core/files.js";
import { passingNow } from "../core/filter.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { walkRow } from "../core/keys.js";
import { FIGURES, matchesOf } from "../core/match.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";
import { countText } from "../core/words.js";

const N_SHOWN = 96; // pictures
const FIELDS = ["title", "author", "source", "licence", "url", "concept", "group", "split"];

// References as a text of comma-separated values, with their places, and their standing where they are among the matches.
const csvOf = (ids, places) => {
  const { spaces } = catalogue;
  const matches = spaces.map((space) => matchesOf(space.id));
  const head = ["id", ...FIELDS, ...spaces.flatMap(({ id }) => ["x", "y", ...FIGURES.map(({ key }) => key)].map((name) => `${id}_${name}`))];
  const rows = ids.map((id) => {
    const reference = referenceOf(id);
    const standing = spaces.flatMap((_, i) => {
      const place = [places[i][2 * id].toFixed(5), places[i][2 * id + 1].toFixed(5)];
      return [...place, ...FIGURES.map(({ key }) => matches[i].get(id)?.[key])];
    });
    return [id, ...FIELDS.map((field) => reference[field]), ...standing];
  });
  return csvText([head, ...rows], "");
};

export const makeSelection = (places, part) => {
  const { on, heard } = part;
  const chosen = make("span.chosen", { role: "status" });
  const clear = make("button.tool", { onclick: () => set("selection", null) }, "Clear selection");
  const onclick = () => {
    const passing = passingNow();
    const ids = [...(state.selection ?? catalogue.titles.keys())].filter((id) => !passing || passing[id]);
    download(state.selection ? "selection.csv" : "references.csv", csvOf(ids, places), "text/csv");
  };
  const save = make("button.tool", { onclick });
  const gathered = make("div.gathered", { role: "group", "aria-label": "The selected pictures", onkeydown: walkRow });

  const show = () => {
    const ids = [...(state.selection ?? [])];
    chosen.hidden = clear.hidden = gathered.hidden = !ids.length;
    chosen.textContent = `${countText(ids.length)} of ${countText(catalogue.n)} pictures selected`;
    save.textContent = ids.length ? "Export selection (CSV)" : "Export all (CSV)";
    const thumbs = ids.slice(0, N_SHOWN).map((id, i) => {
      const { title, picture } = referenceOf(id);
      return make("button", { "data-ref": id, title, "aria-label": title, tabindex: i ? "-1" : "0" }, makePicture(picture, { loading: "lazy" }));
    });
    const rest = ids.length - thumbs.length;
    gathered.replaceChildren(...thumbs, rest > 0 ? make("span.muted", `and ${countText(rest)} more, in the exported file`) : "");
  };

  followHover(part, gathered);
  on(gathered, "click", (event) => referenceAt(event) && set("selected", referenceAt(event)));
  heard("selection", show);
  heard("hover", () => markHovered(gathered));
  show();
  return make("div", make("div.selection-bar", chosen, clear, save), gathered);
};
