// The strip of bundled examples under the query, the caption of what is shown, and paste or drop anywhere on the page.
import { askQuery, heldFile, startAsking } from "../core/asking.js";
import { hint, make, makeChoice, makePicture } from "../core/dom.js";
import { refusalOf } from "../core/files.js";
import { followHover, referenceAt } from "../core/hover.js";
import { walkRow } from "../core/keys.js";
import { flagOf, matchesOf, truthRank } from "../core/match.js";
import { tilesOf } from "../core/sheet.js";
import { catalogue, mountPart, referenceOf, set, setCatalogue, state } from "../core/state.js";

const AGAIN_MEANING =
  "It is compared as the real picture it is, from its stored features. The weights are calibrated for synthetic pictures, so read them with care.";
const ABSENT = "Not here";
const NO_FILE = "An address came, no picture: save the picture first, then drop or choose the file.";

export const mountExamples = (element, props, { trigger, server }) => {
  const part = mountPart("examples", element);
  const { slot, on, heard } = part;
  const picker = () => document.querySelector("#query-picture input[type=file]");
  const shelf = JSON.parse(props.value);
  setCatalogue(shelf, server.reference_cards);

  const caption = make("p.query-caption", { "aria-live": "polite" });
  startAsking({ trigger, heard, first: shelf.examples[0]?.id, opened: shelf.examples[0]?.url, choices: shelf.k_choices, again: (file) => offer([file]) });
  const options = shelf.examples.map(({ id, url, label }, i) => {
    const words = [makePicture(url, { alt: `Example ${i + 1}`, loading: "lazy" }), make("span", label)];
    return [id, words, { "data-query": id }];
  });
  // A picture whose source is in no collection goes the way of a visitor's own, so that it is seen how that is answered.
  let absent = null;
  options.push(...shelf.absent.map((url) => [url, [makePicture(url, { loading: "lazy" }), make("span", ABSENT)], {}]));
  const askAbsent = async (url) => {
    const bytes = await (await fetch(url)).blob();
    offer([new File([bytes], url.split("/").at(-1), { type: bytes.type })]);
    absent = url;
  };
  const ask = (which) => (shelf.absent.includes(which) ? askAbsent(which) : askQuery(which));
  const { element: strip, mark } = makeChoice("div.strip", "Bundled examples", options, ask, "button.example");
  mark(null);
  strip.onkeydown = walkRow;
  [...strip.children].forEach((one, i) => (one.tabIndex = i ? -1 : 0)); // one stop of the tab key
  const source = make("div.source", { hidden: true, onclick: (event) => referenceAt(event) && set("selected", referenceAt(event)) });
  followHover(part, source);
  const heading = options.length ? make("h2.label", "Or try one of these") : null;
  const choose = make("button", { onclick: () => picker()?.click() }, "Choose a file");
  const offerLine = make("p.offer", choose, "or drop or paste one");
  slot.replaceChildren(...[caption, source, offerLine, heading, strip].filter(Boolean));

  // Of a sheet of four pictures each is offered by itself: what stands beside it is no part of where it came from.
  const tiles = make("div.tiles", { hidden: true, role: "group", "aria-label": "Pictures of this sheet" });
  caption.after(tiles);
  const offerTiles = async (url) => {
    const found = url ? await tilesOf(url).catch(() => null) : null;
    if (state.answer?.query?.url !== url) return;
    const ask = (canvas, i) => canvas.toBlob((bytes) => offer([new File([bytes], `picture ${i + 1}.png`, { type: bytes.type })]));
    tiles.hidden = !found;
    tiles.replaceChildren(...(found ?? []).map((canvas, i) => make("button.example", { "aria-label": `Picture ${i + 1}`, onclick: () => ask(canvas, i) }, canvas)));
    if (found) caption.textContent = "Four pictures on one sheet? Choose the one to look up.";
  };

  heard("answer", () => {
    const query = state.answer?.query;
    tiles.hidden = true;
    const isUpload = query && query.id === undefined && query.reference === undefined;
    mark(isUpload ? absent : query?.id);
    if (isUpload) offerTiles(query.url);
    source.hidden = !query?.truth?.length;
    source.replaceChildren(source.hidden ? "" : sourceOf(query.truth));
    if (!query) caption.textContent = "";
    else if (query.reference !== undefined) {
      const { title } = referenceOf(query.reference);
      caption.replaceChildren(hint("A picture of the collection", AGAIN_MEANING), `, searched again: \u201c${title}\u201d. It is not listed among its own answers.`);
      if (window.history.state?.within) caption.append(make("button.back", { onclick: () => window.history.back() }, "\u2190 Back"));
    } else if (isUpload) caption.textContent = absent ? "An example whose source is not in the collection." : "Your picture. Its true source is not known to us.";
    else {
      caption.textContent = `${query.kind}${query.generator ? `, by ${query.generator}` : ""}.`;
    }
  });

  // The true source, whatever was answered, and where each space has it; of several, the one that is best placed in the last.
  const sourceOf = (truth) => {
    const listed = [...matchesOf(catalogue.spaces.at(-1).id).keys()];
    const { id, title, picture } = referenceOf(listed.find((one) => truth.includes(one)) ?? truth[0]);
    const ranks = catalogue.spaces.map((space) => make("span", { "data-space": space.id }, make("b.number", truthRank(space.id).replace("rank ", "#")), ` ${space.name}`));
    const more = truth.length > 1 ? make("span.muted", `one of ${truth.length}; best placed`) : null;
    return make("button.is-truth", { "data-ref": id }, make("span.frame", makePicture(picture)), make("span.words", flagOf(id), make("span.title", title), more, ranks));
  };

  // Gradio drops what is no picture, or too large, without a word; so it is told here, before anything is sent.
  const refused = (file) => {
    const text = refusalOf(file, `\u201c${file.name}\u201d`);
    if (text) set("answer", { serial: -1, status: "error", title: "This file was not taken", text });
    return Boolean(text);
  };
  const guard = (event, files) => {
    if (!event.target.closest?.("#query-picture") || (event.type === "change" && !files.length)) return;
    if (!files?.length) caption.textContent = NO_FILE;
    else if (!refused(files[0])) {
      absent = null;
      return heldFile(files[0]);
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.target.type === "file") event.target.value = "";
  };
  on(document, "change", (event) => guard(event, event.target.files), { capture: true });
  on(document, "drop", (event) => guard(event, event.dataTransfer?.files), { capture: true });

  // A picture pasted or dropped anywhere goes the same way as a picked file.
  const offer = (files) => {
    const all = [...(files ?? [])];
    const file = all.find((one) => one.type.startsWith("image/")) ?? all[0];
    if (!file || !picker()) return false;
    if (refused(file)) return true;
    const transfer = new DataTransfer();
    transfer.items.add(file);
    picker().files = transfer.files;
    picker().dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  on(document, "paste", (event) => {
    if (offer(event.clipboardData?.files)) event.preventDefault();
  });
  const brings = (event) => event.dataTransfer?.types.some((type) => type === "Files" || type === "text/uri-list");
  on(document, "dragover", (event) => brings(event) && event.preventDefault());
  on(document, "drop", (event) => {
    if (!brings(event) || event.target.closest?.("#query-picture input, #query-picture button")) return;
    event.preventDefault(); // the browser would leave for an address
    if (!offer(event.dataTransfer.files)) caption.textContent = NO_FILE;
  });
};
