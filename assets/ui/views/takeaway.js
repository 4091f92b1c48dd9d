// Export: a quiet button opens a panel with files of what is shown, and its link.
import { linkHere } from "../core/address.js";
import { noLink } from "../core/asking.js";
import { make } from "../core/dom.js";
import { download } from "../core/files.js";
import { subjectOf } from "../core/match.js";
import { catalogue, mountPart, set, state } from "../core/state.js";
import { answerCsv, answerJson, answerName, slug } from "./takeaway-files.js";
import { pictureOf } from "./takeaway-picture.js";

export const REPORT_SAVED = "The report is saved: one file, with its pictures in it.";
const REPORT_MEANING = "The report is one file with all pictures, sources, licences and what computed it. It opens without a network and prints.";

export const askReport = async (server, request) => {
  const reply = await server.takeaway_report(request);
  if (!reply?.html) throw new Error(reply?.error ?? "the server did not answer");
  return reply.html;
};

// A small button beside the views, once those are there, for as long as its part is.
export const addExtra = (part, button) => {
  const place = document.querySelector("#nav .nav-extras");
  if (!place) return part.signal.aborted || requestAnimationFrame(() => addExtra(part, button));
  place.append(button);
  part.ended(() => button.remove());
};

export const mountTakeaway = (element, props, { server }) => {
  const part = mountPart("takeaway", element);
  const { slot, on } = part;
  const { stamp } = props.value;
  const status = make("p.takeaway-status", { role: "status" });
  const shown = make("div.takeaway-shown");
  const close = make("button.close", { onclick: () => dialog.close() }, "Close");
  const dialog = make("dialog.takeaway", { "aria-labelledby": "takeaway-title" }, [
    make("header", make("h2", { id: "takeaway-title" }, "Export"), close),
    shown,
    status,
  ]);
  const opener = make("button.extra", { "aria-haspopup": "dialog", onclick: () => openTakeaway() }, "Export");
  slot.replaceChildren(dialog);
  addExtra(part, opener);

  const say = (text) => (status.textContent = text);
  const action = (words, work, attributes = {}) => {
    const onclick = async () => {
      dialog.setAttribute("aria-busy", "true");
      try {
        say(await work());
      } catch (error) {
        say(`This could not be made: ${error.message || "the server did not answer"}. Please try again.`);
      }
      dialog.removeAttribute("aria-busy");
    };
    return make("button.take", { ...attributes, onclick }, words);
  };

  const nameOf = (answer) => `${slug(stamp.name ?? "attribution")}-${answerName(answer.query)}`;
  const caseOf = ({ query }) => ({ ...subjectOf(query), path: query.url, name: document.querySelector("#query-picture img")?.alt || "" });

  const takeReport = (answer) => async () => {
    say("Making the report\u2026");
    const html = await askReport(server, { cases: [caseOf(answer)], k: answer.k, filter: answer.gallery?.filter ?? {} });
    download(`${nameOf(answer)}.html`, html, "text/html");
    return REPORT_SAVED;
  };
  const takeJson = (answer) => () => {
    download(`${nameOf(answer)}.json`, JSON.stringify(answerJson(answer, stamp), null, 1), "application/json");
    return "The answer is saved as JSON.";
  };
  const takeCsv = (answer) => () => {
    download(`${nameOf(answer)}.csv`, answerCsv(answer), "text/csv");
    return "The answer is saved as a table.";
  };
  const takePicture = (answer) => async () => {
    const day = new Date().toISOString().slice(0, 10);
    const provenance = `${stamp.name} \u00b7 bundle ${stamp.bundle} \u00b7 ${day}. Closeness is evidence, not proof.`;
    download(`${nameOf(answer)}.png`, await pictureOf(answer, catalogue.spaces, provenance));
    return "The answer is saved as a picture.";
  };

  const linkLine = () => {
    const without = state.view === "compare" ? noLink?.() : null;
    if (without) return make("p.muted", without);
    const field = make("input", { type: "text", readonly: true, value: linkHere(), "aria-label": "Link to what is shown" });
    const copy = action("Copy link", async () => {
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
        return "The link is copied.";
      } catch {
        field.focus(); // no clipboard without a secure address: the visitor copies what is selected
        return "The link is selected: copy it with Ctrl+C.";
      }
    });
    return make("div.takeaway-link", field, copy);
  };

  const fillShown = () => {
    const { answer, view } = state;
    const isAnswer = view === "compare" && answer?.status === "answer";
    const nothing = view === "compare" ? "Nothing is shown yet: give a picture first." : "An answer is exported from the first view, Compare.";
    shown.replaceChildren(make("h3", "What is shown"), make("p.muted", isAnswer ? REPORT_MEANING : nothing));
    if (isAnswer) {
      const report = action("Report (HTML)", takeReport(answer), { class: "take primary" });
      shown.append(make("div.takes", report, action("Picture (PNG)", takePicture(answer)), action("JSON", takeJson(answer)), action("CSV", takeCsv(answer))));
    }
    shown.append(linkLine());
  };

  const openTakeaway = () => {
    if (dialog.open) return;
    set("selected", null);
    say("");
    fillShown();
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  on(dialog, "click", (event) => event.target === dialog && dialog.close()); // beside the panel
  on(dialog, "keydown", (event) => event.stopPropagation()); // its keys are not the page's
  on(dialog, "close", () => opener.focus({ preventScroll: true }));
};
