// The table twin of the maps: the same references as rows that can be sorted, selected and read out, a page of them at a time.
import { make, makePicture } from "../core/dom.js";
import { download } from "../core/files.js";
import { matchesOf, truthIds } from "../core/match.js";
import { catalogue, referenceOf, set, state } from "../core/state.js";
import { cosineText } from "../core/words.js";
import { csvOfReferences, referencesShown, sortReferences } from "./rows.js";

const PER_PAGE = 25;
const WORDS = { title: "Title", group: "Concept group", source: "Source", split: "Split" };

export const makeMapTable = (places, { on, heard, announce }) => {
  const { spaces, n } = catalogue;
  const count = (number) => number.toLocaleString("en-GB");
  const fields = Object.keys(WORDS).filter((field) => field === "title" || catalogue.words[field]?.values.some(Boolean));
  let sorting = { key: `rank ${spaces[spaces.length - 1].id}`, descending: false };
  let first = 0;
  let ids = null; // what the table shows, sorted; null until it is opened
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
    const rows = sortReferences(referencesShown(Boolean(state.selection)), sorting.key, sorting.descending);
    download(state.selection ? "selection.csv" : "references.csv", csvOfReferences(rows, places), "text/csv");
  });
  const bar = make("div.twin-bar", toggle, chosen, onlyLabel, clear, save);

  const header = (key, words, attributes = {}) => {
    const sort = make("button", { "data-sort": key }, words);
    on(sort, "click", () => {
      const falling = key.startsWith("similarity") || key.startsWith("weight"); // the best first
      sorting = { key, descending: sorting.key === key ? !sorting.descending : falling };
      first = 0;
      refresh();
    });
    return make("th", { scope: "col", ...attributes }, sort);
  };
  const ofSpace = (space) => ["rank", "similarity"].map((figure) => header(`${figure} ${space.id}`, figure, { class: "figure", "data-space": space.id }));
  const heads = [...fields.map((field) => header(field, WORDS[field], { rowspan: "2" })), ...spaces.flatMap(ofSpace)];
  const body = make("tbody");
  const table = make("table.twin", [
    make("caption.sr", "The pictures of the maps, with rank and similarity where they are among the matches"),
    make("thead", [
      make("tr", [
        make("th", { scope: "col", rowspan: "2" }, make("span.sr", "Selected")),
        ...heads.slice(0, fields.length),
        ...spaces.map((space) => make("th.term", { scope: "colgroup", colspan: "2", "data-space": space.id }, space.id)),
      ]),
      make("tr", ...heads.slice(fields.length)),
    ]),
    body,
  ]);
  const turn = (by) => () => {
    first = Math.max(0, Math.min(first + by, PER_PAGE * Math.floor((ids.length - 1) / PER_PAGE)));
    fill();
  };
  const pages = make("span.number", { role: "status" });
  const [start, back, on1, end] = [["First", -Infinity], ["Previous", -PER_PAGE], ["Next", PER_PAGE], ["Last", Infinity]].map(([words, by]) =>
    button(words, turn(by), { "aria-label": `${words} page of the table` }),
  );
  const frame = make("div.twin-frame", { hidden: true }, [
    make("div.scroller", { tabindex: "0", role: "region", "aria-label": "The maps as a table" }, table),
    make("div.pager", pages, start, back, on1, end),
  ]);

  const row = (id, matches) => {
    const reference = referenceOf(id);
    const box = make("input", { type: "checkbox", "aria-label": `Select ${reference.title}`, checked: Boolean(state.selection?.has(id)) });
    const truth = truthIds().has(id) ? make("span.flag", "True source") : null;
    const words = make("span.words", make("span.title", reference.title), truth);
    const open = make("button.open", makePicture(reference.picture, { loading: "lazy" }), words);
    const cells = matches.flatMap((found, i) => {
      const match = found.get(id);
      const figures = match ? [String(match.rank), cosineText(match.similarity)] : ["\u2013", "\u2013"];
      return figures.map((text) => make("td", { class: match ? "figure number" : "figure muted", "data-space": spaces[i].id }, text));
    });
    return make("tr", { "data-ref": id }, [
      make("td", box),
      make("th", { scope: "row" }, open),
      ...fields.slice(1).map((field) => make("td", reference[field] || "\u2013")),
      ...cells,
    ]);
  };

  const fill = () => {
    const matches = spaces.map((space) => matchesOf(space.id));
    const shown = ids.subarray(first, first + PER_PAGE);
    body.replaceChildren(...Array.from(shown, (id) => row(id, matches)));
    if (!ids.length) body.append(make("tr", make("td.muted", { colspan: String(1 + heads.length) }, "No picture passes the filter and the selection.")));
    pages.textContent = ids.length ? `${count(first + 1)}\u2013${count(first + shown.length)} of ${count(ids.length)}` : "0";
    start.disabled = back.disabled = first === 0;
    on1.disabled = end.disabled = first + PER_PAGE >= ids.length;
    markHover();
  };

  const label = () => {
    const { selection } = state;
    toggle.textContent = frame.hidden ? "Show as a table" : "Hide the table";
    toggle.setAttribute("aria-expanded", String(!frame.hidden));
    for (const element of [clear, chosen]) element.hidden = !selection;
    onlyLabel.hidden = !selection || frame.hidden;
    if (selection) chosen.textContent = `${count(selection.size)} of ${count(n)} pictures selected`;
    save.textContent = selection ? "Export selection (CSV)" : "Export (CSV)";
    for (const head of heads) {
      const sorted = head.firstChild.dataset.sort === sorting.key;
      if (sorted) head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  const list = () => {
    if (frame.hidden) return;
    ids = sortReferences(referencesShown(only.checked), sorting.key, sorting.descending);
    if (first >= ids.length) first = 0;
    fill();
  };

  const refresh = () => {
    label();
    list();
  };

  const markHover = () => {
    for (const line of body.children) line.classList.toggle("is-linked", Number(line.dataset.ref) === state.hover && state.hover !== null);
  };
  const markSelection = () => {
    for (const line of body.querySelectorAll("tr[data-ref]")) line.querySelector("input").checked = Boolean(state.selection?.has(Number(line.dataset.ref)));
  };

  const idOf = (event) => {
    const line = event.target.closest?.("tr[data-ref]");
    return line ? Number(line.dataset.ref) : null;
  };
  for (const type of ["pointerover", "focusin"]) on(body, type, (event) => set("hover", idOf(event)));
  for (const type of ["pointerleave", "focusout"]) on(body, type, () => set("hover", null));
  on(body, "click", (event) => {
    const opener = event.target.closest?.(".open");
    if (opener) set("selected", { id: idOf(event), opener });
  });
  on(body, "change", (event) => {
    const selection = new Set(state.selection ?? []);
    if (event.target.checked) selection.add(idOf(event));
    else selection.delete(idOf(event));
    own = true;
    set("selection", selection.size ? selection : null);
    own = false;
    announce(`${selection.size} pictures selected`);
  });
  const listAnew = () => {
    first = 0;
    refresh();
  };
  on(only, "change", listAnew);
  heard("selection", () => {
    const { selection } = state;
    if (own && selection) {
      label();
      markSelection(); // the row at hand must not go away under the pointer
    } else {
      only.checked = Boolean(selection);
      listAnew();
    }
  });
  heard("hover", markHover);
  for (const name of ["answer", "filter"]) heard(name, refresh);
  refresh();
  return make("div.twin-part", bar, frame);
};
