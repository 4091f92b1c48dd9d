// Files that come and go: why one is not taken, tables as text, and saving.
import { make } from "./dom.js";
import { catalogue } from "./state.js";

// What is wrong with a file before it is sent, called by its name or "this"; null for a picture that may be sent.
export const refusalOf = ({ type, size }, called = "this") => {
  const most = catalogue.max_bytes;
  if (!type.startsWith("image/")) return `A picture file is needed, such as PNG, JPEG or WebP; ${called} is none by its name.`;
  if (size <= most) return null;
  return `A picture file may have at most ${most / 1e6} MB; ${called} has ${(size / 1e6).toFixed(1)} MB. Scale it down or save it as JPEG.`;
};

// A spreadsheet takes a text that starts with one of these for a formula.
const cell = (value) => {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
export const csvText = (rows) => "\ufeff" + rows.map((row) => row.map(cell).join(",") + "\r\n").join("");

export const download = (name, content, type) => {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
};
