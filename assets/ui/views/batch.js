// Many files at once: one after the other is sent and answered; rows grow, each opens in Compare, and they become a CSV or one report.
import { goTo, showView } from "../core/address.js";
import { askFile, askQuery } from "../core/asking.js";
import { make, makeHead, makePicture } from "../core/dom.js";
import { csvText, download, refusalOf } from "../core/files.js";
import { filterText } from "../core/filter.js";
import { catalogue, learn, mountPart, referenceOf, state } from "../core/state.js";
import { askReport, REPORT_SAVED } from "./takeaway.js";

const FIGURES = ["best_id", "best_title", "similarity", "weight", "remainder"];
const K = 8; // pictures compared per space

export const mountBatch = (element, props, { server, upload }) => {
  const part = mountPart("batch", element);
  const { on } = part;
  const { max_files: most, accept, queries } = props.value;
  const input = make("input", { type: "file", multiple: true, accept, hidden: true, "aria-label": "Choose several pictures" });
  const choose = make("button.take", { onclick: () => input.click() }, "Choose files");
  const own = make("button.take", { hidden: !queries.length, onclick: () => run(queries) }, `All ${queries.length} of the folder`);
  const stop = make("button.take", { hidden: true, onclick: () => (isStopped = true) }, "Stop");
  const save = make("button.take", { hidden: true }, "Table (CSV)");
  const report = make("button.take", { hidden: true }, "One report (HTML)");
  const status = make("p.takeaway-status", { role: "status" });
  const progress = make("progress", { hidden: true, max: "1", value: "0", "aria-label": "Pictures compared" });
  const body = make("tbody");
  const addresses = []; // of the pictures shown, as the browser holds them
  const scroller = make("div.scroller", { tabindex: "0", role: "region", "aria-label": "Results of many pictures", hidden: true });
  let rows = []; // {name, given, asked, reply} or {name, error}; given is a file or a query of the folder
  let isStopped = false;
  let isRunning = false;

  const settings = () => ({ k: K, filter: JSON.parse(filterText()) });

  const fill = () => {
    const heads = catalogue.spaces.map(({ id, name }) => make("th", { scope: "col", "data-space": id }, name));
    scroller.replaceChildren(make("table.batch", makeHead("Picture", "Answer", heads), body));
    body.replaceChildren();
    addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
  };

  const cell = ({ best }, space) => {
    if (!best) return make("td", "nothing to compare with");
    const { title, picture } = referenceOf(best.id);
    return make("td", { "data-space": space }, make("span.batch-best", makePicture(picture, { loading: "lazy", title }), make("span.title", title)));
  };

  // A row opens in Compare; Back leads here again.
  const open = (given) => {
    showView("compare");
    if (given instanceof File) askFile(given);
    else askQuery(given.id);
  };

  const add = (row) => {
    rows.push(row);
    if (row.error) return body.append(make("tr", make("th", { scope: "row" }, row.name), make("td.batch-error", { colspan: "4" }, row.error)));
    const { verdict, spaces } = row.reply;
    const { given, name } = row;
    if (given instanceof File) addresses.push(URL.createObjectURL(given));
    const picture = make("button.batch-best", { onclick: () => open(given) }, makePicture(given.url ?? addresses.at(-1)), make("span.title", name));
    const standing = verdict?.standing ? make("b.judged", { "data-standing": verdict.standing }, verdict.standing) : null;
    const told = make("td", verdict ? [make("b", verdict.title), make("p.muted", standing, verdict.line)] : "nothing to compare with");
    return body.append(make("tr", make("th", { scope: "row" }, picture), told, catalogue.spaces.map(({ id }) => cell(spaces[id], id))));
  };

  const compare = async (given) => {
    const isFile = given instanceof File;
    const name = isFile ? given.name : given.label;
    const refused = isFile && refusalOf(given);
    if (refused) return { name, error: refused };
    try {
      const asked = isFile ? { kind: "upload", path: (await upload(given)).path } : { kind: "query", id: given.id };
      const reply = await server.takeaway_answer({ ...asked, ...settings() });
      learn(reply?.cards);
      return reply?.spaces ? { name, given, asked, reply } : { name, error: reply?.error ?? "The server did not answer." };
    } catch {
      return { name, error: "This file did not reach the server. Please try it once more." };
    }
  };

  const run = async (given) => {
    if (isRunning || !given.length) return;
    const files = given === queries ? queries : [...given].slice(0, most);
    [isRunning, isStopped, rows] = [true, false, []];
    fill();
    scroller.hidden = progress.hidden = stop.hidden = false;
    choose.disabled = own.disabled = save.hidden = report.hidden = true;
    progress.max = files.length;
    progress.value = 0;
    for (const [i, file] of files.entries()) {
      if (isStopped) break;
      status.textContent = `Comparing ${i + 1} of ${files.length}\u2026`;
      add(await compare(file));
      progress.value = i + 1;
    }
    isRunning = choose.disabled = own.disabled = false;
    stop.hidden = progress.hidden = true;
    const failed = rows.filter(({ error }) => error).length;
    save.hidden = !rows.length;
    report.hidden = rows.length === failed;
    const parts = [`${rows.length - failed} of ${given.length} pictures compared`];
    if (failed) parts.push(`${failed} could not be`);
    if (given.length > files.length) parts.push(`at most ${most} are taken at a time`);
    if (isStopped) parts.push("stopped");
    status.textContent = `${parts.join("; ")}.`;
  };

  const table = () => {
    const { spaces } = catalogue;
    const heads = spaces.flatMap(({ id }) => FIGURES.map((name) => `${id}_${name}`));
    const figures = ({ best, remainder }) => [best?.id, best ? referenceOf(best.id).title : null, best?.similarity, best?.weight, remainder];
    return csvText([
      ["file", "verdict", "probability", ...heads, "error"],
      ...rows.map(({ name, reply, error }) => [name, reply?.verdict?.title, reply?.verdict?.probability, ...(reply ? spaces.flatMap(({ id }) => figures(reply.spaces[id])) : heads.map(() => null)), error]),
    ]);
  };

  on(input, "change", (event) => {
    event.stopPropagation();
    const files = [...input.files];
    input.value = "";
    run(files);
  });
  on(save, "click", () => download("attributions.csv", table(), "text/csv"));
  on(report, "click", async () => {
    report.disabled = true;
    status.textContent = "Making the report\u2026";
    try {
      const cases = rows.filter(({ asked }) => asked).slice(0, most).map(({ name, asked }) => ({ ...asked, name }));
      const html = await askReport(server, { cases, refused: rows.filter(({ error }) => error).map(({ name, error }) => [name, error]), ...settings() });
      download("attributions.html", html, "text/html");
      status.textContent = REPORT_SAVED;
    } catch (error) {
      status.textContent = `The report could not be made: ${error.message}`;
    }
    report.disabled = false;
  });

  // Several files dropped anywhere come here; on the window, so before the part that takes a single one.
  const several = (event) => (event.dataTransfer?.files.length > 1 && !state.talk ? [...event.dataTransfer.files] : null);
  const take = (event) => {
    const files = several(event);
    if (!files) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    goTo("batch");
    run(files);
  };
  on(window, "drop", take, { capture: true });

  part.slot.replaceChildren(make("section.batch-view", { "aria-labelledby": "batch-title" }, [
    make("header.batch-head", [
      make("h2", { id: "batch-title" }, "Many pictures"),
      make("p", `Choose up to ${most} files, or drop several anywhere on the page. They are compared one by one on this server and deleted within a day.`),
    ]),
    make("div.takes", choose, own, stop, save, report, input),
    progress,
    status,
    scroller,
  ]));
};
