// The answer: what the query looks like, the three columns on one scale, and how their ranks differ.
import { makeSlopes } from "../charts/slopes.js";
import { askReference, isStale } from "../core/asking.js";
import { hint, make, resting } from "../core/dom.js";
import { passes } from "../core/filter.js";
import { idsOf, matchesOf, movesBetween } from "../core/match.js";
import { busy, catalogue, catalogueReady, mountPart, set, state } from "../core/state.js";
import { shareText } from "../core/words.js";
import { ESTIMATE_MEANING, departed, matchList, weightBar as bar } from "./columns.js";

const WEIGHT_MEANING =
  "Attribution weight: the calibrated share of this picture that the reference accounts for. All bars share one scale, from 0 to 100%.";
const SIMILARITY_MEANING = "Cosine similarity of the two embeddings, from \u22121 to 1; 1 means identical.";
const MOVE_MEANING =
  "Against the column before it: \u25b2 moved up, \u25bc moved down, = kept its rank, new was not among the first there.";

export const mountAnswer = (element, props, { watch }) => {
  const part = mountPart("answer");
  const { on, heard, signal } = part;
  const root = element.querySelector(".slot");
  const status = make("p.status", { role: "status" });
  const tabs = make("div.tabs", { role: "group", "aria-label": "Choose a space" });
  const columns = make("div.lanes");
  const notice = make("div.notice", { hidden: true });
  const slopes = makeSlopes(part);

  const first = props.value?.serial;

  const receive = () => {
    const answer = props.value;
    if (!answer || answer.serial === undefined) return;
    if (state.opening && answer.serial === first) return; // the link asks for something else: its answer is on the way
    state.opening = false;
    if (answer.status === "warming") return busy(answer.text);
    if (isStale(answer)) return;
    busy(null);
    set("selected", null);
    set("answer", answer);
  };

  const draw = () => {
    const answer = state.answer;
    const shown = answer?.status === "answer";
    root.dataset.status = answer?.status ?? "empty";
    notice.hidden = shown;
    legend.hidden = !shown;
    if (!shown) notice.replaceChildren(...noticeOf(answer));
    estimate.hidden = !shown || !Object.values(answer.spaces).some(({ estimated }) => estimated);
    columns.replaceChildren(...catalogue.spaces.map((space, i) => column(space, catalogue.spaces[i - 1], shown ? answer : null)));
    slopes.show(shown ? answer : null);
  };

  const noticeOf = (answer) =>
    answer?.status === "error"
      ? [
          make("h2", answer.title ?? "This picture could not be read"),
          make("p", answer.text),
          make("p.muted", "Choose another file, or one of the examples."),
        ]
      : [
          make("h2", "Which pictures is yours made of?"),
          make("p", "Drop or paste a synthetic picture, pick a file, or try one of the examples."),
          make("p.muted", "The three columns below will show the closest pictures of the collection."),
        ];

  const column = (space, before, answer) => {
    const found = answer?.spaces[space.id];
    const moves = found && before ? movesBetween(idsOf(before.id, answer), idsOf(space.id, answer)) : null;
    return make("section.lane", { "data-space": space.id, "aria-label": `${space.name}: the ${space.id} space` }, [
      make("header", [
        make("h2", space.name, " ", make("span.term", space.id)),
        make("p.line", space.line),
        make("p.truth", answer ? truthLine(answer, space.id) : ""),
        answer ? make("p.verdict", found.convincing ? null : verdict(found)) : null,
      ]),
      found ? matchList(found, moves, before) : make("ol.matches"),
      found ? rest(found, answer) : null,
      departed(moves, before),
    ]);
  };

  const verdict = (found) => {
    const together = found.matches.reduce((sum, { weight }) => sum + weight, 0);
    const all = found.matches.length === 1 ? "the picture shown" : `all ${found.matches.length} pictures shown together`;
    return hint(
      "No convincing source",
      `Said where the remainder, \u201cnone of these\u201d, outweighs everything shown: here ${shareText(found.remainder, found.estimated)} against ${shareText(together, found.estimated)} for ${all}.`,
    );
  };

  const truthLine = (answer, space) => {
    const known = answer.query.truth ?? [];
    if (!known.length) return "";
    const many = known.length > 1;
    if (answer.gallery && !known.some(passes)) return many ? "True sources: filtered out" : "True source: filtered out";
    const ranks = answer.query.ranks?.[space] ?? [];
    if (!ranks.length) {
      const found = matchesOf(space);
      const seen = known.filter((id) => found.has(id)).map((id) => found.get(id).rank);
      if (!seen.length) return `True source: not among the first ${answer.k}`;
      return `True source: rank ${seen.sort((a, b) => a - b).join(", ")}`;
    }
    return many ? `True sources (${known.length}): best at rank ${ranks[0]}` : `True source: rank ${ranks[0]}`;
  };

  const rest = (found, answer) => make("div.rest", [
    make("p", [
      answer.gallery
        ? hint("Not shown", "The share of all references beyond the ones shown, together: further down the list, or filtered out.")
        : hint("Further down the list", "The share of all references beyond the ones shown, together."),
      bar(found.elsewhere, "faint", null, found.estimated),
    ]),
    make("p", [
      hint("None of these", "The remainder: the share that no picture of this collection explains."),
      bar(found.remainder, "hatched", null, found.estimated),
    ]),
  ]);

  const estimate = make("span", { hidden: true }, "; ", hint("\u2248 marks an estimate", ESTIMATE_MEANING));
  const legend = make("p.legend", [
    "Each row: how its ",
    hint("rank moved", MOVE_MEANING),
    ", its ",
    hint("similarity", SIMILARITY_MEANING),
    " and, as a bar, its ",
    hint("attribution weight", WEIGHT_MEANING),
    estimate,
  ]);

  const showBusy = () => {
    const text = state.busy;
    root.toggleAttribute("data-busy", Boolean(text));
    root.setAttribute("aria-busy", String(Boolean(text)));
    status.textContent = text ?? "";
  };

  const markHover = () => {
    const id = state.hover;
    columns.querySelectorAll("[data-ref]").forEach((button) => {
      button.classList.toggle("is-linked", id !== null && Number(button.dataset.ref) === id);
    });
    slopes.mark();
  };

  const markTab = () => {
    const middle = columns.scrollLeft + columns.clientWidth / 2;
    const nearest = [...columns.children].findIndex((one) => one.offsetLeft - columns.offsetLeft + one.offsetWidth > middle);
    [...tabs.children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === Math.max(0, nearest))));
  };

  catalogueReady.then(() => {
    if (signal.aborted) return;
    tabs.replaceChildren(...catalogue.spaces.map((space, i) => {
      const go = () => columns.scrollTo({ left: columns.children[i].offsetLeft - columns.offsetLeft, behavior: "smooth" });
      return make("button", { "data-space": space.id, "aria-pressed": String(i === 0), onclick: go }, space.name);
    }));
    root.replaceChildren(status, notice, tabs, columns, legend, slopes.root);
    const refOf = (event) => {
      const button = event.target.closest?.("[data-ref]");
      return button ? { id: Number(button.dataset.ref), opener: button } : null;
    };
    on(columns, "click", (event) => {
      const again = event.target.closest?.("[data-again]");
      if (again) askReference(Number(again.dataset.again));
      else if (refOf(event)) set("selected", refOf(event));
    });
    for (const type of ["pointerover", "focusin"]) on(columns, type, (event) => set("hover", refOf(event)?.id ?? resting()));
    for (const type of ["pointerleave", "focusout"]) on(columns, type, () => set("hover", resting()));
    on(columns, "scroll", markTab, { passive: true });
    heard("answer", draw);
    heard("busy", showBusy);
    heard("hover", markHover);
    draw();
    receive();
    watch("value", receive);
  });
};
