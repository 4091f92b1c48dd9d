// Rows, lines and pictures that stand for a reference carry its id as data-ref: which one an event is about, and which one is hovered.
import { set, state } from "./state.js";

// {id, opener} of the reference that something happened to; null beside all of them.
export const referenceAt = (event) => {
  const opener = event.target.closest?.("[data-ref]");
  return opener ? { id: Number(opener.dataset.ref), opener } : null;
};

// What stays lit when the pointer goes: the row or line that the keyboard is on.
const resting = () => {
  const focused = document.activeElement?.closest?.("[data-ref]");
  return focused?.matches(":focus-visible") ? Number(focused.dataset.ref) : null;
};

export const markHovered = (element) =>
  element.querySelectorAll("[data-ref]").forEach((one) => one.classList.toggle("is-linked", one.dataset.ref === String(state.hover)));

export const followHover = ({ on }, element) => {
  for (const type of ["pointerover", "focusin"]) on(element, type, (event) => set("hover", referenceAt(event)?.id ?? resting()));
  for (const type of ["pointerleave", "focusout"]) on(element, type, () => set("hover", resting()));
};
