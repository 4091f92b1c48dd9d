// What is asked: a bundled query, a picture of the collection searched again, or a visitor's own; with k and the filter; and
// what of it goes into the address.
import { keepBeside, keepInAddress, remember, restored } from "./address.js";
import { FILTER_FIELDS, filterAddress, filterText, plainFilter, readFilter } from "./filter.js";
import { subjectOf } from "./match.js";
import { busy, set, state } from "./state.js";

export let askFile, askQuery, askReference, chooseK, sending, sendAgain, cleared, boxedPicture, boxFilled, isStale, refresh, noLink, heldFile;

const OPENING = "Opening the link\u2026";
const WAIT = "Looking it up\u2026";

const plain = (path) => path?.replaceAll("\\", "/") ?? null;
const pathOf = (url) => plain(url && decodeURIComponent(url.replace(/^.*?gradio_api\/file=/, "")));
const count = (text) => (/^\d{1,9}$/.test(text ?? "") ? Number(text) : null);

// Called when the examples are mounted: `again` hands in a visitor's file once more, `trigger` speaks to the server.
export const startAsking = ({ trigger, again, heard, first, opened, choices }) => {
  let asked = { kind: "none" };
  let file = null; // the visitor's last file, so that the browser's Back leads to it
  let sent = null; // where the server has the picture that was sent last
  let boxed = pathOf(opened); // the same of the picture in the box
  let k = null;
  let touched = false; // until something is asked, the address stays as it came
  const address = new URLSearchParams(window.location.search);
  state.opening = !restored && ["query", "reference", "k", "filter"].some((name) => address.has(name));

  const send = () => {
    touched = true;
    if (asked.kind === "none") return;
    busy(state.opening ? OPENING : WAIT);
    if (asked.kind === "upload") trigger("apply", {});
    else trigger("select", { index: asked.id, value: { kind: asked.kind, k, filter: plainFilter(), opening: state.opening } });
  };
  const askFor = (kind, id) => {
    asked = { kind, id };
    send();
  };

  askFile = again;
  askQuery = (id) => askFor("query", id);
  askReference = (id) => askFor("reference", id);
  chooseK = (number) => {
    k = number;
    send();
  };
  // Called with the uploaded picture, when it is in its box: from now on its answer is the one to come.
  sending = (image, number) => {
    asked = { kind: "upload" };
    busy(WAIT);
    return sendAgain(image, number);
  };
  sendAgain = (image, number) => {
    sent = boxed = plain(image?.path);
    return [image, k ?? number, filterText()];
  };
  cleared = () => {
    asked = { kind: "none" };
    touched = true;
    boxed = null;
    busy(null);
    set("answer", { serial: -1, status: "empty" });
  };
  // The picture of the answer that is shown, as the box wants it.
  boxedPicture = () => {
    const { url } = state.answer.query;
    const path = pathOf(url);
    return { path, url: new URL(url, document.baseURI).href, orig_name: path.split("/").at(-1), meta: { _type: "gradio.FileData" } };
  };
  // Called with whatever came into the box. An upload that was overtaken still lands there, after the answer it lost against.
  boxFilled = (image) => {
    boxed = plain(image?.path);
    const answer = state.answer?.status === "answer" ? state.answer : null;
    if (boxed && answer && asked.kind !== "upload" && boxed !== pathOf(answer.query.url)) trigger("example_select", {});
  };
  const isOther = (query) => {
    if (asked.kind === "none") return touched; // taken away meanwhile
    const { kind, id } = subjectOf(query);
    return kind !== asked.kind || id !== asked.id || (kind === "upload" && pathOf(query.url) !== sent);
  };
  // An answer to another question, or for settings that have changed since: the one that is wanted is on its way.
  isStale = (answer) => {
    if (answer.status !== "answer") return false;
    if (isOther(answer.query)) return true;
    const [then, now] = [answer.gallery?.filter ?? {}, plainFilter()];
    const isSame = JSON.stringify(FILTER_FIELDS.map((field) => then[field]?.toSorted())) === JSON.stringify(FILTER_FIELDS.map((field) => now[field]));
    return !isSame || (k !== null && answer.k !== k);
  };
  refresh = send; // the same once more, with the settings as they are now

  // Why what is shown has no address of its own; null when it has one.
  noLink = () =>
    asked.kind === "upload" ? "A picture of your own has no link: it is not kept on the server. Its answer can be exported as a file." : null;

  heldFile = (given) => {
    file = given;
    sent = null;
    touched = true;
    asked = { kind: "upload" };
  };

  heard("answer", () => {
    const answer = state.answer;
    if (answer?.status !== "answer") return;
    const { url } = answer.query;
    if (boxed !== pathOf(url)) {
      boxed = pathOf(url);
      trigger("example_select", {});
    }
    asked = subjectOf(answer.query);
    k = answer.k;
    if (touched) remember();
  });

  // What the address asks for is gathered first and asked once.
  let pending = false;
  const open = (change) => {
    change();
    if (pending) return;
    pending = true;
    setTimeout(() => {
      pending = false;
      if (asked.kind === "none" && first !== undefined) asked = { kind: "query", id: first };
      if (asked.kind === "none") state.opening = false;
      send();
    });
  };
  const isAsked = (kind) => (asked.kind === kind ? String(asked.id) : null);
  for (const kind of ["query", "reference"]) {
    keepInAddress(kind, () => isAsked(kind), (text) => open(() => {
      if (text !== null) asked = { kind, id: count(text) ?? -1 };
      else if (asked.kind === kind) asked = { kind: "none" };
    }));
  }
  keepInAddress("k", () => (k === null ? null : String(k)), (text) => open(() => (k = choices.includes(count(text)) ? count(text) : null)));
  keepBeside(() => ({ kind: asked.kind === "upload" ? "upload" : null }), (past) => {
    if (past?.kind === "upload" && file) again(file);
    else if (asked.kind === "upload") open(() => (asked = { kind: "none" }));
  });
  keepInAddress("filter", filterAddress, (text) => open(() => readFilter(text)));
};
