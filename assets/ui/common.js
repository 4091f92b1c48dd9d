// Shared by the parts of the page: the catalogue, what is shown now, and who is told when that changes.
// Files of this folder load in any order, so each only adds to this one object and calls the others when it is mounted.
(() => {
  const page = (window.attributionPage ??= {});
  const bus = (page.bus ??= new EventTarget());
  const mounts = new Map();
  let catalogueArrived;
  page.catalogueReady = new Promise((resolve) => (catalogueArrived = resolve));

  // State: answer (last payload), busy (text or null), hover (reference id or null), selected ({id, opener} or null), group (number or
  // null), view ("compare", "inspect" or "why"), selection (Set of reference ids or null),
  // filter ({group, source, licence} -> Set of words or null; null without one), settings ({k}).
  page.state = { answer: null, busy: null, hover: null, selected: null, group: null, view: null, selection: null, filter: null, settings: {} };

  page.set = (name, value) => {
    if (page.state[name] === value) return;
    page.state[name] = value;
    bus.dispatchEvent(new CustomEvent(name));
  };

  // A part that is created again replaces its former self, listeners included.
  page.mount = (name) => {
    mounts.get(name)?.abort();
    const controller = new AbortController();
    mounts.set(name, controller);
    const on = (target, type, listener, options = {}) =>
      target.addEventListener(type, listener, { ...options, signal: controller.signal });
    return { on, heard: (event, listener) => on(bus, event, listener), signal: controller.signal };
  };

  page.setCatalogue = (catalogue) => {
    page.catalogue = catalogue;
    catalogueArrived();
  };

  page.reference = (id) => {
    const { titles, folders, files, words } = page.catalogue;
    const reference = { id, title: titles[id], picture: folders.values[folders.index[id]] + files[id] };
    for (const [field, { values, index }] of Object.entries(words)) reference[field] = values[index[id]];
    return reference;
  };

  page.decode = (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true) / 65535);
  };

  // Reference id -> {rank, similarity, weight} in one space of the answer shown.
  page.matchesOf = (space) => {
    const found = new Map();
    const part = page.state.answer?.spaces?.[space];
    part?.matches.forEach(([id, similarity, weight], i) => found.set(id, { rank: i + 1, similarity, weight, estimated: part.estimated }));
    return found;
  };

  page.truth = () => new Set(page.state.answer?.query?.truth ?? []);

  // Elements are made here and words go in as text, never as markup.
  page.make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "style") Object.entries(value).forEach(([key, text]) => element.style.setProperty(key, text));
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  };

  page.picture = (url, attributes = {}) => page.make("img", { src: url, alt: "", decoding: "async", ...attributes });

  // A picture that does not arrive, or that this browser cannot show, leaves a quiet frame instead of a broken icon.
  const mark = (event) => event.target.tagName === "IMG" && event.target.classList.toggle("missing", event.type === "error");
  document.addEventListener("error", mark, true);
  document.addEventListener("load", mark, true);

  // Words whose meaning shows on hover, on focus and to a screen reader.
  page.hint = (text, meaning, attributes = {}) =>
    page.make(
      "span",
      { tabindex: "0", ...attributes, class: `hint ${attributes.class ?? ""}` },
      text,
      page.make("span", { class: "hint-text", role: "tooltip" }, meaning),
    );

  page.percent = (share) => {
    const percent = 100 * share;
    if (percent > 0 && percent < 0.5) return "<1%";
    return percent < 100 && percent > 99.5 ? ">99%" : `${Math.round(percent)}%`;
  };
  // The share of an answer: an estimate says so wherever it stands.
  page.share = (share, estimated) => (estimated ? "\u2248\u00a0" : "") + page.percent(share);
  page.cosine = (similarity) => similarity.toFixed(3).replace("-", "\u2212");
  page.ordinalList = (numbers) => numbers.join(", ");

  page.busy = (text) => page.set("busy", text);

  // A fault the server did not put into words: the former answer would no longer belong to the picture shown.
  page.fail = () => {
    page.busy(null);
    page.set("answer", { serial: -1, status: "error", text: "Something went wrong on the server. Please try again.", title: "No answer this time" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && page.state.selected) page.set("selected", null);
  });
})();
