// The pictures that are selected on the maps, and the table twin of the maps: the same references as rows that can be sorted, selected
// and read out, a page of them at a time.
import { make, makePicture } from "../core/dom.js";
import { download } from "../core/files.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { walkRow } from "../core/keys.js";
import { flagOf, matchesOf } from "../core/match.js";
import { makePager } from "../core/pager.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";
import { cosineText, countText } from "../core/words.js";
import { csvOfReferences, sortedReferences } from "./rows.js";

const PER_PAGE = 25;
const N_GATHERED = 96; // pictures of a selection that are shown
const WORDS = { title: "Title", group: "Concept group", source: "Source", split: "Split" };

export const makeMapTable = (places, part) => {
  const { on, heard, announce } = part;
  const { spaces, n } = catalogue;
  const fields = Object.keys(WORDS).filter((field) => field === "title" || catalogue.words[field]?.values.some(Boolean));
  let sorting = { key: `rank ${spaces[spaces.length - 1].id}`, descending: false };
  let first = 0;
  let own = false; // whether the selection is being changed by the table itself

  const button = (words, onclick, attributes = {}) => make("button.tool", { ...attributes, onclick }, words);

  const toggle = button("Show as a table", () => {
    frame.hidden = !frame.hidden;
    refresh();
  });
  const chosen = make("span.chosen");
  const only = make("input", { type: "checkbox" });
  const onlyLabel = make("label.together", only, "Only these");
  const clear = button("Clear selection", () => set("selection", null));
  const save = button("", () => {
    const rows = csvOfReferences(sortedReferences(state.selection, sorting), places);
    download(state.selection ? "selection.csv" : "references.csv", rows, "text/csv");
  });
  const gathered = make("div.gathered", { role: "group", "aria-label": "The selected pictures", hidden: true, onkeydown: walkRow });
  const bar = make("div.twin-bar", toggle, chosen, onlyLabel, clear, save);

  const header = (key, words, attributes) => {
    const sort = () => {
      const falling = key.startsWith("similarity"); // the best first
      sorting = { key, descending: sorting.key === key ? !sorting.descending : falling };
      refreshFromStart();
    };
    return make("th", { scope: "col", ...attributes }, make("button", { "data-sort": key, onclick: sort }, words));
  };
  const ofSpace = ({ id }) => ["rank", "similarity"].map((figure) => header(`${figure} ${id}`, figure, { class: "figure", "data-space": id }));
  const fieldHeads = fields.map((field) => header(field, WORDS[field], { rowspan: "2" }));
  const figureHeads = spaces.flatMap(ofSpace);
  const body = make("tbody");
  const table = make("table.twin", [
    make("caption.sr", "The pictures of the maps, with rank and similarity where they are among the matches"),
    make("thead", [
      make("tr", [
        make("th", { scope: "col", rowspan: "2" }, make("span.sr", "Selected")),
        fieldHeads,
        spaces.map(({ id }) => make("th.term", { scope: "colgroup", colspan: "2", "data-space": id }, id)),
      ]),
      make("tr", figureHeads),
    ]),
    body,
  ]);
  const turn = (to) => {
    first = to;
    list();
  };
  const pager = makePager(PER_PAGE, (words, onclick) => button(words, onclick, { "aria-label": `${words} page of the table` }), turn);
  const frame = make("div.twin-frame", { hidden: true }, [
    make("div.scroller", { tabindex: "0", role: "region", "aria-label": "The maps as a table" }, table),
    make("div.pager", pager.where, pager.buttons),
  ]);

  const row = (id, matches) => {
    const reference = referenceOf(id);
    const box = make("input", { type: "checkbox", "aria-label": `Select ${reference.title}`, checked: Boolean(state.selection?.has(id)) });
    const words = make("span.words", make("span.title", reference.title), flagOf(id));
    const open = make("button.open", makePicture(reference.picture, { loading: "lazy" }), words);
    const cells = matches.flatMap((found, i) => {
      const match = found.get(id);
      const figures = match ? [String(match.rank), cosineText(match.similarity)] : ["\u2013", "\u2013"];
      return figures.map((text) => make("td", { class: match ? "figure number" : "figure muted", "data-space": spaces[i].id }, text));
    });
    return make("tr", { "data-ref": id }, [
      make("td", box),
      make("th", { scope: "row" }, open),
      fields.slice(1).map((field) => make("td", reference[field] || "\u2013")),
      cells,
    ]);
  };

  const list = () => {
    if (frame.hidden) return;
    const ids = sortedReferences(only.checked ? state.selection : null, sorting);
    if (first >= ids.length) first = 0;
    const matches = spaces.map((space) => matchesOf(space.id));
    body.replaceChildren(...Array.from(ids.subarray(first, first + PER_PAGE), (id) => row(id, matches)));
    const nColumns = 1 + fieldHeads.length + figureHeads.length;
    if (!ids.length) body.append(make("tr", make("td.muted", { colspan: nColumns }, "No picture passes the filter and the selection.")));
    pager.show(first, ids.length);
    markHovered(body);
  };

  const label = () => {
    const { selection } = state;
    toggle.textContent = frame.hidden ? "Show as a table" : "Hide the table";
    toggle.setAttribute("aria-expanded", String(!frame.hidden));
    clear.hidden = chosen.hidden = !selection;
    onlyLabel.hidden = !selection || frame.hidden;
    if (selection) chosen.textContent = `${countText(selection.size)} of ${countText(n)} pictures selected`;
    save.textContent = selection ? "Export selection (CSV)" : "Export (CSV)";
    for (const head of [...fieldHeads, ...figureHeads]) {
      const isSorted = head.firstChild.dataset.sort === sorting.key;
      if (isSorted) head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  const gather = () => {
    const ids = [...(state.selection ?? [])].slice(0, N_GATHERED);
    gathered.hidden = !ids.length;
    const rest = (state.selection?.size ?? 0) - ids.length;
    const thumbs = ids.map((id, i) => {
      const { title, picture } = referenceOf(id);
      return make("button", { "data-ref": id, title, "aria-label": title, tabindex: i ? "-1" : "0" }, makePicture(picture, { loading: "lazy" }));
    });
    gathered.replaceChildren(...thumbs, rest > 0 ? make("span.muted", `and ${countText(rest)} more: show them as a table`) : "");
  };

  const refresh = () => {
    label();
    list();
  };
  const refreshFromStart = () => {
    first = 0;
    refresh();
  };

  followHover(part, body);
  followHover(part, gathered);
  on(gathered, "click", (event) => referenceAt(event) && set("selected", referenceAt(event)));
  on(body, "click", (event) => {
    const opener = event.target.closest?.(".open");
    if (opener) set("selected", { id: referenceAt(event).id, opener });
  });
  on(body, "change", (event) => {
    const selection = new Set(state.selection ?? []);
    if (event.target.checked) selection.add(referenceAt(event).id);
    else selection.delete(referenceAt(event).id);
    own = true;
    set("selection", selection.size ? selection : null);
    own = false;
    announce(`${selection.size} pictures selected`);
  });
  on(only, "change", refreshFromStart);
  heard("selection", () => {
    const { selection } = state;
    gather();
    if (own && selection) {
      label();
      // the row at hand must not go away under the pointer
      body.querySelectorAll("[data-ref]").forEach((line) => (line.querySelector("input").checked = selection.has(Number(line.dataset.ref))));
    } else {
      only.checked = Boolean(selection);
      refreshFromStart();
    }
  });
  heard("hover", () => [body, gathered].forEach(markHovered));
  heard("answer filter", refresh);
  refresh();
  gather();
  return make("div.twin-part", bar, gathered, frame);
};
