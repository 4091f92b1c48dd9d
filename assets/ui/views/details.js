// The panel that opens for a chosen reference: its picture beside the query, its words, and where each space ranks it.
import { askReference } from "../core/asking.js";
import { make, makePicture } from "../core/dom.js";
import { catalogue, matchesOf, mountPart, referenceOf, set, state, truthIds } from "../core/state.js";
import { cosineText, shareText } from "../core/words.js";
import { explainMatch } from "./explain.js";


export const mountDetails = (element) => {
  const { on, heard } = mountPart("details");
  const slot = element.querySelector(".slot");
  const panel = make("aside", {
    class: "details",
    role: "dialog",
    "aria-label": "Details of the chosen picture",
    tabindex: "-1",
    hidden: true,
  });
  slot.replaceChildren(panel);
  let opener = null;

  const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];

  const link = (address) => {
    let url;
    try {
      url = new URL(address);
    } catch {
      return address;
    }
    if (url.protocol !== "https:" && url.protocol !== "http:") return address;
    return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, url.host + url.pathname);
  };

  const further = (id) => {
    const again = make("button", { type: "button", class: "search-again" }, "Search again with this picture");
    on(again, "click", () => askReference(id));
    const explain = make("button", { type: "button", class: "explain-again" }, "Explain this match");
    on(explain, "click", () => explainMatch(id));
    return make("p", { class: "further" }, again, explain);
  };

  const standing = (id) =>
    catalogue.spaces.map((space) => {
      const match = matchesOf(space.id).get(id);
      const cells = match
        ? [String(match.rank), cosineText(match.similarity), shareText(match.weight, match.estimated)].map((text) => make("td", {}, text))
        : [make("td", { colspan: "3", class: "muted" }, `not among the first ${state.answer?.k ?? ""}`.trim())];
      return make(
        "tr",
        { "data-space": space.id },
        make("th", { scope: "row" }, space.name, " ", make("span", { class: "term" }, space.id)),
        ...cells,
      );
    });

  const open = ({ id }) => {
    const reference = referenceOf(id);
    const query = state.answer?.query;
    const isTruth = truthIds().has(id);
    const close = make("button", { type: "button", class: "close", "aria-label": "Close details" }, "Close");
    on(close, "click", () => set("selected", null));
    const pictures = [
      query?.url
        ? make("figure", {}, make("span", { class: "frame" }, makePicture(query.url)), make("figcaption", {}, query.reference === undefined ? "The synthetic picture" : "The picture searched with"))
        : null,
      make(
        "figure",
        { class: isTruth ? "is-truth" : null },
        make("span", { class: "frame" }, makePicture(reference.picture, { alt: reference.title })),
        make("figcaption", {}, isTruth ? make("span", { class: "flag" }, "True source") : "In the collection"),
      ),
    ];
    panel.replaceChildren(
      close,
      make("div", { class: "pair" }, ...pictures.filter(Boolean)),
      make(
        "div",
        { class: "facts" },
        make("h2", {}, reference.title),
        make(
          "dl",
          {},
          reference.author ? fact("Author", reference.author) : [],
          fact("Source", reference.source || "not stated"),
          fact("Licence", reference.licence || "not stated"),
          reference.url ? fact("Link", link(reference.url)) : [],
          fact("Concept", [reference.concept, reference.group].filter(Boolean).join(" \u00b7 ") || "not stated"),
        ),
        query?.reference === id ? null : further(id),
        state.answer?.status === "answer"
          ? make(
              "table",
              { class: "standing" },
              make(
                "thead",
                {},
                make("tr", {}, ...["Space", "Rank", "Similarity", "Weight"].map((name) => make("th", { scope: "col" }, name))),
              ),
              make("tbody", {}, ...standing(id)),
            )
          : null,
      ),
    );
  };

  heard("selected", () => {
    const selected = state.selected;
    document.body.classList.toggle("details-open", Boolean(selected));
    if (selected) {
      opener = selected.opener;
      open(selected);
      panel.hidden = false;
      panel.scrollTop = 0;
      panel.focus({ preventScroll: true });
    } else {
      panel.hidden = true;
      if (opener?.isConnected) opener.focus({ preventScroll: true });
      opener = null;
    }
  });
};
