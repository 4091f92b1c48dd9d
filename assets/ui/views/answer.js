// The answer: what the query looks like, the three columns on one scale, and how their ranks differ.
import { makeSlopes } from "../charts/slopes.js";
import { askReference, isStale } from "../core/asking.js";
import { hint, make, makeChoice } from "../core/dom.js";
import { passingNow } from "../core/filter.js";
import { followHover, markHovered, referenceAt } from "../core/hover.js";
import { idsOf, matchesOf, movesBetween } from "../core/match.js";
import { busy, catalogue, mountPart, set, state } from "../core/state.js";
import { shareText } from "../core/words.js";
import { ESTIMATE_MEANING, departed, matchList, weightBar } from "./columns.js";

const WEIGHT_MEANING =
  "Attribution weight: the calibrated share of this picture that the reference accounts for. All bars share one scale, from 0 to 100%.";
const SIMILARITY_MEANING = "Cosine similarity of the two embeddings, from \u22121 to 1; 1 means identical.";
const MOVE_MEANING =
  "Against the column before it: \u25b2 moved up, \u25bc moved down, = kept its rank, new was not among the first there.";

export const mountAnswer = (element, props, { watch }) => {
  const part = mountPart("answer", element);
  const { slot: root, on, heard, ready } = part;
  const status = make("p.status", { role: "status" });
  let tabs = null; // of a narrow window, where one column is seen at a time
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
    const isError = answer?.status === "error";
    const title = isError ? answer.title ?? "This picture could not be read" : "Which pictures is yours made of?";
    const text = isError ? answer.text : "Drop or paste a synthetic picture, pick a file, or try one of the examples.";
    const next = isError ? "Choose another file, or one of the examples." : "The three columns below will show the closest pictures of the collection.";
    root.dataset.status = answer?.status ?? "empty";
    notice.hidden = shown;
    legend.hidden = !shown;
    if (!shown) notice.replaceChildren(make("h2", title), make("p", text), make("p.muted", next));
    estimate.hidden = !shown || !Object.values(answer.spaces).some(({ estimated }) => estimated);
    columns.replaceChildren(...catalogue.spaces.map((space, i) => column(space, catalogue.spaces[i - 1], shown ? answer : null)));
    slopes.show(shown ? answer : null);
  };

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
    if (answer.gallery && !known.some((id) => passingNow()?.[id] ?? true)) return many ? "True sources: filtered out" : "True source: filtered out";
    const ranks = answer.query.ranks?.[space] ?? [];
    if (!ranks.length) {
      const found = matchesOf(space);
      const seen = known.flatMap((id) => found.get(id)?.rank ?? []).sort((a, b) => a - b);
      return seen.length ? `True source: rank ${seen.join(", ")}` : `True source: not among the first ${answer.k}`;
    }
    return many ? `True sources (${known.length}): best at rank ${ranks[0]}` : `True source: rank ${ranks[0]}`;
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
      hint("None of these", "The remainder: the share that no picture of this collection explains."),
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
    estimate,
  ]);

  const showBusy = () => {
    const text = state.busy;
    root.toggleAttribute("data-busy", Boolean(text));
    root.setAttribute("aria-busy", String(Boolean(text)));
    status.textContent = text ?? "";
  };

  const markHover = () => {
    markHovered(columns);
    slopes.mark();
  };

  const markTab = () => {
    const middle = columns.scrollLeft + columns.clientWidth / 2;
    const nearest = [...columns.children].findIndex((one) => one.offsetLeft - columns.offsetLeft + one.offsetWidth > middle);
    tabs.mark(Math.max(0, nearest));
  };

  ready(() => {
    const go = (i) => columns.scrollTo({ left: columns.children[i].offsetLeft - columns.offsetLeft, behavior: "smooth" });
    tabs = makeChoice("div.tabs", "Choose a space", catalogue.spaces.map(({ id, name }, i) => [i, name, { "data-space": id }]), go);
    tabs.mark(0);
    root.replaceChildren(status, notice, tabs.element, columns, legend, slopes.root);
    on(columns, "click", (event) => {
      const again = event.target.closest?.("[data-again]");
      if (again) askReference(Number(again.dataset.again));
      else if (referenceAt(event)) set("selected", referenceAt(event));
    });
    followHover(part, columns);
    on(columns, "scroll", markTab, { passive: true });
    heard("answer", draw);
    heard("busy", showBusy);
    heard("hover", markHover);
    draw();
    receive();
    watch("value", receive);
  });
};
