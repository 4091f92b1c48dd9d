// The answer: what the spaces amount to, then their three columns, the numbers folded, and how their ranks differ.
import { makeSlopes } from "../charts/slopes.js";
import { isStale } from "../core/asking.js";
import { hint, make, makePicture } from "../core/dom.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { idsOf, movesBetween } from "../core/match.js";
import { busy, catalogue, learn, mountPart, referenceOf, set, state } from "../core/state.js";
import { ESTIMATE_MEANING, firstPictures, matchList, weightBar } from "./columns.js";

const WEIGHT_MEANING =
  "Attribution weight: the calibrated share of this picture that the reference accounts for. All bars share one scale, from 0 to 100%.";
const SIMILARITY_MEANING = "Cosine similarity of the two embeddings, from \u22121 to 1; 1 means identical. Those of one space do not compare with another\u2019s.";
const MOVE_MEANING =
  "Against the column before it: \u25b2 moved up, \u25bc moved down, = kept its rank, new was not among the first there.";
const BORROWED_MEANING =
  "The chances and weights come with the collection that the app ships; they were measured on its pictures and on those of real generators, not on yours.";

export const mountAnswer = (element, props, { watch }) => {
  const part = mountPart("answer", element);
  const { slot: root, on, heard, ready } = part;
  const status = make("p.status", { role: "status" });
  const asked = make("div.asked"); // on a phone, the query in a strip that stays
  const verdict = make("section.verdict", { "aria-label": "The answer", "aria-live": "polite" });
  const columns = make("div.lanes");
  const notice = make("div.notice", { hidden: true });
  const slopes = makeSlopes(part);
  const first = props.value?.serial;
  let isDetailed = false; // whether the numbers are unfolded, in all columns

  const receive = () => {
    const answer = props.value;
    if (!answer || answer.serial === undefined) return;
    if (state.opening && answer.serial === first) return; // the link asks for something else: its answer is on the way
    state.opening = false;
    if (isStale(answer)) return;
    busy(null);
    learn(answer.cards);
    set("selected", null);
    set("answer", answer);
    const isBelow = window.matchMedia("(max-width: 760px)").matches && state.view === "compare" && !state.talk;
    if (isBelow && answer.serial !== first) requestAnimationFrame(() => root.scrollIntoView());
  };

  const draw = () => {
    const answer = state.answer;
    const shown = answer?.status === "answer";
    const isError = answer?.status === "error";
    const title = isError ? answer.title ?? "This picture could not be read" : "Which pictures is yours made of?";
    const text = isError ? answer.text : "Drop or paste a synthetic picture, pick a file, or try one of the examples.";
    const next = isError ? "Choose another file, or one of the examples." : "The three columns below will show the closest pictures of the collection.";
    root.dataset.status = answer?.status ?? "empty";
    notice.hidden = shown;
    if (!shown) notice.replaceChildren(make("h2", title), make("p", text), make("p.muted", next));
    asked.replaceChildren(...(shown ? [makePicture(answer.query.url), make("span", answer.query.label ?? "Your picture")] : []));
    verdict.hidden = !shown || !answer.verdict;
    if (!verdict.hidden) fillVerdict(answer.verdict);
    columns.replaceChildren(...catalogue.spaces.map((space, i) => column(space, catalogue.spaces[i - 1], shown ? answer : null)));
    legend.hidden = !shown || !isDetailed;
    estimate.hidden = !shown || !Object.values(answer.spaces).some(({ estimated }) => estimated);
    slopes.show(shown ? answer : null);
  };

  const fillVerdict = ({ level, about, title, line, standing }) => {
    verdict.dataset.level = level ?? "";
    verdict.replaceChildren(
      make("button.named", { "data-ref": about, "aria-label": `${referenceOf(about).title}: open` }, make("span.frame", makePicture(referenceOf(about).picture))),
      make("div", [
        make("h2", `${title}.`),
        make("p", standing ? make("b.judged", { "data-standing": standing }, standing) : null, line),
        catalogue.is_borrowed ? make("p.muted", hint("How sure it is was measured on another collection.", BORROWED_MEANING)) : null,
      ]),
    );
  };

  const column = (space, before, answer) => {
    const found = answer?.spaces[space.id];
    const moves = found && before ? movesBetween(idsOf(before.id, answer), idsOf(space.id, answer)) : null;
    return make("section.lane", { "data-space": space.id, "aria-label": `${space.name}: the ${space.id} space` }, [
      make("header", make("h2", space.name, " ", make("span.term", space.id)), make("p.line", space.line)),
      found ? [firstPictures(found), numbers(found, answer, moves, before)] : make("ol.hits"),
    ]);
  };

  // Unfolded in one column, they are in all: rows of a kind stay beside each other.
  const numbers = (found, answer, moves, before) => {
    const ontoggle = (event) => {
      isDetailed = event.target.open;
      columns.querySelectorAll(".numbers").forEach((one) => (one.open = isDetailed));
      legend.hidden = !isDetailed;
    };
    return make("details.numbers", { open: isDetailed, ontoggle }, [
      make("summary", "Details"),
      matchList(found, moves, before),
      rest(found, answer),
    ]);
  };

  const rest = (found, answer) => make("div.rest", [
    make("p", [
      hint(
        answer.gallery ? "Not shown" : "Further down the list",
        `The share of all references beyond the ones shown, together${answer.gallery ? ": further down the list, or filtered out" : ""}.`,
      ),
      weightBar(found.elsewhere, "faint", null, found.estimated),
    ]),
    make("p", [
      hint("None of these", "The remainder: the share that, by this space alone, no picture of this collection explains."),
      weightBar(found.remainder, "hatched", null, found.estimated),
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
    " by this space alone; the answer above weighs all three",
    estimate,
  ]);

  const showBusy = () => {
    const text = state.busy;
    root.toggleAttribute("data-busy", Boolean(text));
    root.setAttribute("aria-busy", String(Boolean(text)));
    status.textContent = text ?? "";
  };

  const markHover = () => {
    markHovered(root);
    slopes.mark();
  };

  ready(() => {
    root.replaceChildren(status, notice, asked, verdict, columns, legend, slopes.root);
    for (const place of [verdict, columns]) {
      on(place, "click", (event) => referenceAt(event) && set("selected", referenceAt(event)));
      followHover(part, place);
    }
    heard("answer", draw);
    heard("busy", showBusy);
    heard("hover", markHover);
    draw();
    receive();
    watch("value", receive);
  });
};
