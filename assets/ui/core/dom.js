// Elements of the page: made here, with words as text.

const build = (element, classes, given) => {
  const attributes = given[0]?.constructor === Object ? given.shift() : {};
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "style") Object.entries(value).forEach(([property, text]) => element.style.setProperty(property, text));
    else if (typeof value === "function") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.classList.add(...classes);
  element.append(...given.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

// make("p.lead.muted", {attributes}, ...children): words go in as text, never as markup; null, undefined and false are left out, of
// attributes and of children, lists of children are laid out flat, and {onclick} listens. A button submits nothing.
export const make = (name, ...given) => {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (tag === "button") element.type = "button";
  return build(element, classes, given);
};

// The same within a drawing.
export const svg = (name, ...given) => {
  const [tag, ...classes] = name.split(".");
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), classes, given);
};

export const makePicture = (url, attributes = {}) => make("img", { src: url, alt: "", decoding: "async", ...attributes });

// A picture that does not arrive, or that this browser cannot show, leaves a quiet frame instead of a broken icon.
const mark = (event) => event.target.tagName === "IMG" && event.target.classList.toggle("missing", event.type === "error");
document.addEventListener("error", mark, true);
document.addEventListener("load", mark, true);

// Words whose meaning shows on hover, on focus and to a screen reader.
export const hint = (text, meaning, attributes = {}) =>
  make("span", { tabindex: "0", ...attributes, class: `hint ${attributes.class ?? ""}` }, [
    text,
    make("span.hint-text", { role: "tooltip" }, meaning),
  ]);

// A share from 0 to 1 as a length, and as a bar of that length.
export const percent = (share) => `${100 * share}%`;
export const makeBar = (share, kind = "") => make("span", { class: `bar ${kind}` }, make("span", { style: { width: percent(share) } }));

// The head of a table: words become headings of columns, finished cells stay as they are.
export const makeHead = (...cells) =>
  make("thead", make("tr", cells.flat().map((cell) => (cell instanceof HTMLTableCellElement ? cell : make("th", { scope: "col" }, cell)))));

// Buttons of which one is pressed. options: [value, words, attributes]; `choose` hears the value of a click, `mark` presses one.
export const makeChoice = (frame, label, options, choose, button = "button") => {
  const buttons = options.map(([value, words, attributes]) =>
    make(button, { "data-value": value, ...attributes, onclick: () => choose(value) }, words),
  );
  const mark = (chosen) => buttons.forEach((one, i) => one.setAttribute("aria-pressed", String(options[i][0] === chosen)));
  return { element: make(frame, { role: "group", "aria-label": label }, buttons), mark };
};
