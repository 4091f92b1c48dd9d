// A PNG of any panel of the page. The panel is copied with its pictures and canvases as data, set into an SVG together with the
// page's own style sheets, and drawn: nothing is loaded while that happens, so the canvas can be read again.

const XHTML = "http://www.w3.org/1999/xhtml";
const SVG = "http://www.w3.org/2000/svg";
const SCALE = 2;
const PAD = 24;
const FOOT = 32;
const CHROME = ".strip, .offer, .filters, .again, .back, .hint-text, .label, #k-choice, .icon-button-wrapper, .tabs, .tip, .sr, .slopes-caption, .twin:not([open]), dialog, script";
const PLACED = ["position", "inset", "display", "width", "height"];

const asData = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

// A picture no larger than it is shown, as data; null when it does not arrive.
const pictureData = async (url, width, height) => {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  const share = Math.min(1, (SCALE * Math.max(width, height, 16)) / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(share * image.naturalWidth));
  canvas.height = Math.max(1, Math.round(share * image.naturalHeight));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/webp", 0.92);
};

const faceData = async (rule) => {
  const base = rule.parentStyleSheet.href ?? document.baseURI;
  const found = /url\(["']?([^"')]+)["']?\)/.exec(rule.style.getPropertyValue("src"));
  if (!found) return "";
  try {
    const reply = await fetch(new URL(found[1], base));
    const data = reply.ok ? await asData(await reply.blob()) : null;
    return data ? rule.cssText.replace(/src:[^;}]*/, `src: url("${data}")`) : "";
  } catch {
    return "";
  }
};

// The style sheets as they apply now: media queries are decided here, for in the picture they would be asked of its own width.
const styles = async (families) => {
  const texts = [];
  const walk = async (rules) => {
    for (const rule of rules) {
      if (rule instanceof CSSMediaRule) {
        if (matchMedia(rule.conditionText).matches) await walk(rule.cssRules);
      } else if (rule instanceof CSSFontFaceRule) {
        if (families.includes(rule.style.getPropertyValue("font-family").replaceAll(/["']/g, ""))) texts.push(await faceData(rule));
      } else if (rule instanceof CSSImportRule) {
        if (rule.styleSheet) await walk(rule.styleSheet.cssRules);
      } else texts.push(rule.cssText);
    }
  };
  for (const sheet of document.styleSheets) {
    let rules = [];
    try {
      rules = sheet.cssRules;
    } catch {
      continue; // another origin's
    }
    await walk(rules);
  }
  return texts.join("\n");
};

const still = async (original, copy) => {
  const box = original.getBoundingClientRect();
  if (original.tagName === "CANVAS") {
    const image = document.createElement("img");
    const style = getComputedStyle(original);
    for (const name of PLACED) image.style.setProperty(name, style.getPropertyValue(name));
    image.src = original.width && original.height ? original.toDataURL() : "";
    copy.replaceWith(image);
  } else if (original.tagName === "IMG" && original.currentSrc + original.src) {
    const data = await pictureData(original.currentSrc || original.src, box.width, box.height);
    for (const name of ["srcset", "loading", "decoding"]) copy.removeAttribute(name);
    if (data) copy.setAttribute("src", data);
    else copy.removeAttribute("src");
  } else if (original.localName === "image" && original.namespaceURI === SVG) {
    const data = await pictureData(original.href.baseVal, box.width, box.height);
    if (data) copy.setAttribute("href", data);
    else copy.remove();
  }
};

// The panel's copy within copies of its ancestors, which take part in the style sheets' selectors but not in the layout.
const copyOf = async (element, width) => {
  const copy = element.cloneNode(true);
  const copies = [...copy.querySelectorAll("*")];
  await Promise.all([...element.querySelectorAll("*")].map((original, i) => still(original, copies[i])));
  copy.querySelectorAll(CHROME).forEach((one) => one.remove());
  copy.style.cssText += `; width: ${width}px; margin: 0; position: static; box-sizing: border-box`;
  let whole = copy;
  for (let outer = element.parentElement; outer && outer !== document.documentElement; outer = outer.parentElement) {
    const shell = outer.cloneNode(false);
    shell.setAttribute("style", "display: contents !important");
    shell.append(whole);
    whole = shell;
  }
  return whole;
};

const drawable = async (element, width, height) => {
  const root = document.documentElement;
  const svg = document.createElementNS(SVG, "svg");
  const size = [["width", width + 2 * PAD], ["height", height + 2 * PAD], ["class", root.className]];
  for (const [name, value] of size) svg.setAttribute(name, value);
  const look = getComputedStyle(element);
  svg.style.cssText = `font-size: ${getComputedStyle(root).fontSize}`;
  const frame = document.createElementNS(SVG, "foreignObject");
  frame.setAttribute("width", "100%");
  frame.setAttribute("height", "100%");
  const ground = document.createElementNS(XHTML, "div");
  ground.style.cssText = `padding: ${PAD}px; font: ${look.font}; color: ${look.color}`;
  const style = document.createElementNS(XHTML, "style");
  const families = look.fontFamily.split(",").map((name) => name.trim().replaceAll(/["']/g, ""));
  style.textContent = await styles(families);
  ground.append(style, await copyOf(element, width));
  frame.append(ground);
  svg.append(frame);
  // Characters that XML does not allow would spoil the whole picture.
  const text = new XMLSerializer().serializeToString(svg).replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "");
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  return image;
};

// element -> PNG, with a line of provenance at its foot.
export const imageOf = async (element, provenance) => {
  const box = element.getBoundingClientRect();
  const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
  const image = await drawable(element, width, height);
  const canvas = document.createElement("canvas");
  canvas.width = SCALE * (width + 2 * PAD);
  canvas.height = SCALE * (height + 2 * PAD + FOOT);
  const context = canvas.getContext("2d");
  const tokens = getComputedStyle(document.body);
  context.scale(SCALE, SCALE);
  context.fillStyle = tokens.getPropertyValue("--paper") || "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, width + 2 * PAD, height + 2 * PAD);
  context.fillStyle = tokens.getPropertyValue("--muted") || "#666";
  context.font = `13px ${getComputedStyle(element).fontFamily}`;
  context.fillText(provenance, PAD, height + PAD + FOOT, width);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large for this browser."))), "image/png"));
};
