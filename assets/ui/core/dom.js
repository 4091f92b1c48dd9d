// Elements of the page: made here, with words as text.


// Elements are made here and words go in as text, never as markup.
export const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.entries(value).forEach(([key, text]) => element.style.setProperty(key, text));
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

export const makePicture = (url, attributes = {}) => make("img", { src: url, alt: "", decoding: "async", ...attributes });

// A picture that does not arrive, or that this browser cannot show, leaves a quiet frame instead of a broken icon.
const mark = (event) => event.target.tagName === "IMG" && event.target.classList.toggle("missing", event.type === "error");
document.addEventListener("error", mark, true);
document.addEventListener("load", mark, true);

// Words whose meaning shows on hover, on focus and to a screen reader.
export const hint = (text, meaning, attributes = {}) =>
  make(
    "span",
    { tabindex: "0", ...attributes, class: `hint ${attributes.class ?? ""}` },
    text,
    make("span", { class: "hint-text", role: "tooltip" }, meaning),
  );
