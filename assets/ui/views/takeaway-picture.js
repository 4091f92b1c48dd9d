// A PNG of any panel of the page. The panel is copied with its pictures and canvases as data, set into an SVG together with the
// page's own style sheets, and drawn: nothing is loaded while that happens, so the canvas can be read again.
import { make, svg } from "../core/dom.js";

const SCALE = 2;
const PAD = 24;
const FOOT = 32;
const CHROME =
  ".strip, .offer, .options, .asked, .again, .back, .hint-text, .label, .icon-button-wrapper, .tip, .sr, .slopes-caption, summary, details:not([open]), .tool, .fade, .takes, .facets, .inspect-tabs, .panel-head, .leaves, .toy-head, dialog, script";
const PLACED = ["position", "inset", "display", "width", "height"];

const asData = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

// A picture no larger than it is shown, as data; null when it does not arrive.
const pictureData = async (url, { width, height }) => {
  const image = make("img", { src: url });
  try {
    await image.decode();
  } catch {
    return null;
  }
  const share = Math.min(1, (SCALE * Math.max(width, height, 16)) / Math.max(image.naturalWidth, image.naturalHeight));
  const [wide, high] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(share * side)));
  const canvas = make("canvas", { width: wide, height: high });
  canvas.getContext("2d").drawImage(image, 0, 0, wide, high);
  return canvas.toDataURL("image/webp", 0.92);
};

const faceData = async (rule) => {
  const base = rule.parentStyleSheet.href ?? document.baseURI;
  const found = /url\(["']?([^"')]+)["']?\)/.exec(rule.style.getPropertyValue("src"));
  if (!found) return "";
  try {
    const reply = await fetch(new URL(found[1], base));
    return reply.ok ? rule.cssText.replace(/src:[^;}]*/, `src: url("${await asData(await reply.blob())}")`) : "";
  } catch {
    return "";
  }
};

const bare = (family) => family.trim().replaceAll(/["']/g, "");

// The style sheets as they apply now: media queries are decided here, for in the picture they would be asked of its own width.
const styles = async (families) => {
  const texts = [];
  const walk = async (rules) => {
    for (const rule of rules) {
      if (rule instanceof CSSMediaRule) {
        if (matchMedia(rule.conditionText).matches) await walk(rule.cssRules);
      } else if (rule instanceof CSSFontFaceRule) {
        if (families.includes(bare(rule.style.getPropertyValue("font-family")))) texts.push(await faceData(rule));
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
    const look = getComputedStyle(original);
    const style = Object.fromEntries(PLACED.map((name) => [name, look.getPropertyValue(name)]));
    copy.replaceWith(make("img", { src: original.width && original.height ? original.toDataURL() : "", style }));
  } else if (original.tagName === "IMG" && original.currentSrc + original.src) {
    const data = await pictureData(original.currentSrc || original.src, box);
    for (const name of ["src", "srcset", "loading", "decoding"]) copy.removeAttribute(name);
    if (data) copy.setAttribute("src", data);
  } else if (original instanceof SVGImageElement) {
    const data = await pictureData(original.href.baseVal, box);
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

// A picture of the element, PAD pixels of room around it.
const drawable = async (element, width, height) => {
  const root = document.documentElement;
  const look = getComputedStyle(element);
  const style = make("style", await styles(look.fontFamily.split(",").map(bare)));
  const ground = make("div", { style: { padding: `${PAD}px`, font: look.font, color: look.color } }, style, await copyOf(element, width));
  const frame = svg("foreignObject", { width: "100%", height: "100%" }, ground);
  const size = { width: width + 2 * PAD, height: height + 2 * PAD, class: root.className };
  const drawing = svg("svg", { ...size, style: { "font-size": getComputedStyle(root).fontSize } }, frame);
  // Characters that XML does not allow would spoil the whole picture.
  const text = new XMLSerializer().serializeToString(drawing).replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "");
  const image = make("img", { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}` });
  await image.decode();
  return image;
};

// element -> PNG, with a line of provenance at its foot.
export const imageOf = async (element, provenance) => {
  const box = element.getBoundingClientRect();
  const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
  const image = await drawable(element, width, height);
  const canvas = make("canvas", { width: SCALE * (width + 2 * PAD), height: SCALE * (height + 2 * PAD + FOOT) });
  const context = canvas.getContext("2d");
  const tokens = getComputedStyle(document.body);
  context.scale(SCALE, SCALE);
  context.fillStyle = tokens.getPropertyValue("--paper") || "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, width + 2 * PAD, height + 2 * PAD);
  context.fillStyle = tokens.getPropertyValue("--muted") || "#666";
  context.font = `13px ${getComputedStyle(element).fontFamily}`;
  context.fillText(provenance, PAD, height + PAD + FOOT, width);
  const tooLarge = new Error("The picture is too large for this browser.");
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(tooLarge)), "image/png"));
};
