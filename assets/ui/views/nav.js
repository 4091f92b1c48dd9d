// The three views, and a place for what stands beside them.
import { goTo, keepInAddress, restoreAll, showView } from "../core/address.js";
import { make } from "../core/dom.js";
import { mountPart, state } from "../core/state.js";

const VIEWS = [["compare", "Compare"], ["inspect", "Inspect"], ["batch", "Many pictures"], ["why", "Why it works"]];

export const mountNav = (element) => {
  const { slot, heard, ready } = mountPart("nav", element);
  const buttons = VIEWS.map(([id, name]) => make("button", { "data-view": id, onclick: () => goTo(id) }, name));
  const extras = make("span.nav-extras"); // present, export: filled by their parts
  const skip = (event) => {
    event.preventDefault(); // no step that Back would undo
    document.querySelector("#reply .hit")?.focus();
  };
  slot.replaceChildren(make("a.skip", { href: "#reply", onclick: skip }, "Skip to the answer"), make("nav", { "aria-label": "Views" }, buttons, extras));
  const mark = () => buttons.forEach((button) => (button.ariaCurrent = button.dataset.view === state.view ? "page" : null));
  heard("view", mark);
  keepInAddress("view", () => (state.view === "compare" ? null : state.view), (view) => showView(view ?? "compare"));
  if (!state.view) showView("compare");
  mark();
  ready(restoreAll);
};
