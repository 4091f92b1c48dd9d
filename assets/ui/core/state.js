// Shared by the parts of the page: the catalogue, the cards of references, what is shown now, and who is told when that changes.
import { readNumbers, readWords, wordsAt } from "./packed.js";

export let catalogue;

const cards = new Map(); // reference id -> {title, picture, author, url, concept}
const wanted = new Set(); // ids
let askCards;

const bus = new EventTarget();
const mounts = new Map();
let catalogueArrived;
export const catalogueReady = new Promise((resolve) => (catalogueArrived = resolve));

// answer: last payload; busy: text or null; hover: reference id or null; selected: {id, opener} or null; group: number or null; view:
// "compare", "inspect" or "why"; selection: Set of reference ids or null; filter: {group, source, licence} -> Set of words or null.
export const state = { answer: null, busy: null, hover: null, selected: null, group: null, view: null, selection: null, filter: null };

export const set = (name, value) => {
  if (state[name] === value) return;
  state[name] = value;
  bus.dispatchEvent(new CustomEvent(name));
};

// A part that is created again replaces its former self, listeners included: `on` a target, `heard` of changes of the state,
// "answer filter", `carded` where a card has come that an element shows without its picture, `resized` where an element is, `themed`
// where light and dark change, `ready` when the catalogue is there, `ended` when the part is replaced.
export const mountPart = (name, element) => {
  mounts.get(name)?.abort();
  const controller = new AbortController();
  mounts.set(name, controller);
  const on = (target, type, listener, options = {}) =>
    target.addEventListener(type, listener, { ...options, signal: controller.signal });
  const { signal } = controller;
  const ended = (listener) => signal.addEventListener("abort", listener);
  const resized = (target, listener) => {
    const sizes = new ResizeObserver(() => !signal.aborted && listener());
    sizes.observe(target);
    ended(() => sizes.disconnect());
  };
  const themed = (listener) => {
    const theme = new MutationObserver(listener);
    theme.observe(document.body, { attributeFilter: ["class"] });
    ended(() => theme.disconnect());
  };
  const heard = (names, listener) => names.split(" ").forEach((name) => on(bus, name, listener));
  const carded = (target, listener) => heard("cards", () => target.querySelector("img[src='']") && listener());
  const ready = (listener) => catalogueReady.then(() => signal.aborted || listener());
  return { slot: element.querySelector(".slot"), on, heard, carded, resized, themed, ready, ended, signal };
};

// Cards of references as the server tells them, null for none; "cards" is told when there are new ones.
export const learn = (told) => {
  const words = readWords(told?.words ?? {});
  told?.ids.forEach((id, i) => {
    const { root, folder, file, ...card } = wordsAt(words, i);
    cards.set(id, { ...card, picture: root + folder + file });
  });
  set("cards", cards.size);
};

export const setCatalogue = (given, ask) => {
  given.words = readWords(given.words);
  for (const space of given.spaces) space.places = Float32Array.from(readNumbers(space.coordinates), (level) => level / 65535);
  [catalogue, askCards] = [given, ask];
  learn(given.cards);
  catalogueArrived();
};

// Those wanted of one moment are asked for together, and the next when they are there.
const want = async (id) => {
  if (wanted.add(id).size > 1) return;
  await null;
  while (wanted.size) {
    const ids = [...wanted].slice(0, 1000); // as many as the server takes at once
    const told = await askCards({ ids }).catch(() => null);
    if (told?.ids) learn(told);
    ids.forEach((one) => wanted.delete(one)); // last, so that what is drawn anew does not begin a second round
  }
};

// What is known of a reference. A card that has not come is asked for: until then it has no picture, and see `carded`.
export const referenceOf = (id) => {
  if (!cards.has(id)) want(id);
  return { id, title: "\u2026", picture: "", ...wordsAt(catalogue.words, id), ...cards.get(id) };
};

// What a visitor calls a space.
export const nameOf = (space) => catalogue.spaces.find(({ id }) => id === space).name;

export const busy = (text) => set("busy", text);

// A fault the server did not put into words: the former answer would no longer belong to the picture shown.
export const fail = () => {
  busy(null);
  set("answer", { serial: -1, status: "error", text: "Something went wrong on the server. Please try again.", title: "No answer this time" });
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.selected) set("selected", null);
});
