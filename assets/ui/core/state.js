// Shared by the parts of the page: the catalogue, what is shown now, and who is told when that changes.

export let catalogue;

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
// "answer filter", `resized` where an element is, `themed` where light and dark change, `ready` when the catalogue is there,
// `ended` when the part is replaced.
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
  const ready = (listener) => catalogueReady.then(() => signal.aborted || listener());
  return { slot: element.querySelector(".slot"), on, heard, resized, themed, ready, ended, signal };
};

export const setCatalogue = (given) => {
  catalogue = given;
  catalogueArrived();
};

export const referenceOf = (id) => {
  const { titles, folders, files, words } = catalogue;
  const reference = { id, title: titles[id], picture: folders.values[folders.index[id]] + files[id] };
  for (const [field, { values, index }] of Object.entries(words)) reference[field] = values[index[id]];
  return reference;
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
