// The address that leads back to what is shown: what each part wants to keep in it, it registers.
import { set } from "./state.js";

export let restored;

const VIEWS = ["compare", "inspect", "why"];
const kept = new Map();

export const showView = (view) => {
  if (!VIEWS.includes(view)) return;
  document.body.dataset.view = view;
  set("view", view);
  window.scrollTo(0, 0);
};

// A part keeps something in the address: `get` gives a text or null, `set` takes it up again when the page opens.
export const keepInAddress = (name, get, set) => {
  kept.set(name, { get, set });
  if (restored) restore(name);
};

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

export const remember = () => window.history.replaceState(null, "", linkHere());

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
