// The address that leads back to what is shown, and the browser's Back: what each part wants to keep, it registers.
import { set } from "./state.js";

export let restored;

const VIEWS = ["compare", "inspect", "why", "batch"];
const PLACES = ["view", "query", "reference"]; // a change of these is a step that Back undoes; the rest comes along
const kept = new Map();
let beside = { get: () => null, set: () => {} };
let isRestoring = false;

export const showView = (view) => {
  if (!VIEWS.includes(view)) return;
  document.body.dataset.view = view;
  set("view", view);
  window.scrollTo(0, 0);
};

// A part keeps something in the address: `get` gives a text or null, `set` takes it up again when the page opens or goes back.
export const keepInAddress = (name, get, set) => {
  kept.set(name, { get, set });
  if (restored) restore(name);
};

// What an address cannot hold, such as that a picture was the visitor's own: {kind, ...}, kept with a step.
export const keepBeside = (get, set) => (beside = { get, set });

const restore = (name) => {
  const text = new URLSearchParams(window.location.search).get(name);
  if (text !== null) kept.get(name).set(text);
};

// The address of what is shown now; names that are not ours, such as the theme's, stay.
export const linkHere = () => {
  const url = new URL(window.location.href);
  for (const [name, { get }] of kept) {
    const text = get();
    if (text === null || text === "") url.searchParams.delete(name);
    else url.searchParams.set(name, text);
  }
  return url.href;
};

export const remember = () => {
  if (isRestoring) return;
  const [href, more] = [linkHere(), beside.get()];
  const place = (address, kind) => [...PLACES.map((name) => new URL(address).searchParams.get(name)), kind || null].join();
  const isStep = place(href, more?.kind) !== place(window.location.href, window.history.state?.kind);
  const within = isStep || (window.history.state?.within ?? false); // whether Back stays on the page
  window.history[isStep ? "pushState" : "replaceState"]({ ...more, within }, "", href);
};

window.addEventListener("popstate", ({ state: more }) => {
  const address = new URLSearchParams(window.location.search);
  isRestoring = true;
  beside.set(more);
  for (const [name, { get, set }] of kept) if ((get() || null) !== address.get(name)) set(address.get(name));
  isRestoring = false;
});

export const goTo = (view) => {
  showView(view);
  remember();
};

// Once everything is registered: each takes up what the address keeps for it.
export const restoreAll = () => {
  if (restored) return;
  restored = true;
  [...kept.keys()].forEach(restore);
};
