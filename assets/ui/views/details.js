// The card of a chosen reference, at the side of the window that the choice leaves free, so that nothing moves: its picture beside the
// query, its words, and where each space ranks it.
import { askReference } from "../core/asking.js";
import { make, makeHead, makePicture } from "../core/dom.js";
import { FIGURES, flagOf, matchesOf, truthIds, truthRank } from "../core/match.js";
import { catalogue, mountPart, referenceOf, set, state } from "../core/state.js";
import { explainMatch } from "./explain.js";

export const mountDetails = (element) => {
  const { slot, heard, carded } = mountPart("details", element);
  const panel = make("div.details", { role: "dialog", "aria-label": "Details of the chosen picture", tabindex: "-1", hidden: true });
  slot.replaceChildren(panel);
  let opener = null;

  const fact = (name, ...value) => [make("dt", name), make("dd", ...value)];

  const link = (address) => {
    const url = URL.canParse(address) ? new URL(address) : null;
    if (url?.protocol !== "https:" && url?.protocol !== "http:") return address;
    return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, url.host + url.pathname);
  };

  const further = (id) => {
    const again = make("button.search-again", { onclick: () => askReference(id) }, "Search again with this picture");
    const explain = make("button.explain-again", { onclick: () => explainMatch(id) }, "Explain this match");
    return make("p.further", again, explain);
  };

  const standing = (id) => catalogue.spaces.map((space) => {
    const match = matchesOf(space.id).get(id);
    const cells = match
      ? FIGURES.map(({ text }) => make("td", text(match)))
      : [make("td.muted", { colspan: FIGURES.length }, flagOf(id) && truthIds().size === 1 ? truthRank(space.id) : `not among the first ${state.answer?.k ?? ""}`.trim())];
    return make("tr", { "data-space": space.id }, make("th", { scope: "row" }, space.name, " ", make("span.term", space.id)), cells);
  });

  const open = ({ id }) => {
    const reference = referenceOf(id);
    const query = state.answer?.query;
    const flag = flagOf(id);
    const close = make("button.close", { "aria-label": "Close details", onclick: () => set("selected", null) }, "Close");
    const pictures = [
      query?.url
        ? make("figure", make("span.frame", makePicture(query.url)), make("figcaption", query.reference === undefined ? "The synthetic picture" : "The picture searched with"))
        : null,
      make("figure", { class: flag ? "is-truth" : null }, [
        make("span.frame", makePicture(reference.picture, { alt: reference.title })),
        make("figcaption", flag ?? "In the collection"),
      ]),
    ];
    panel.replaceChildren(
      close,
      make("div.pair", ...pictures.filter(Boolean)),
      make("div.facts", [
        make("h2", reference.title),
        make("dl", [
          reference.author ? fact("Author", reference.author) : [],
          fact("Source", reference.source || "not stated"),
          fact("Licence", reference.licence || "not stated"),
          reference.url ? fact("Link", link(reference.url)) : [],
          fact("Concept", [reference.concept, reference.group].filter(Boolean).join(" \u00b7 ") || "not stated"),
        ]),
        query?.reference === id ? null : further(id),
        state.answer?.status === "answer"
          ? make("table.standing", [
              makeHead("Space", FIGURES.map(({ name }) => name)),
              make("tbody", standing(id)),
            ])
          : null,
      ]),
    );
  };

  carded(panel, () => state.selected && open(state.selected));
  heard("selected", () => {
    const selected = state.selected;
    document.body.classList.toggle("details-open", Boolean(selected));
    panel.hidden = !selected;
    if (selected) {
      const box = selected.opener?.getBoundingClientRect();
      panel.dataset.side = (selected.x ?? (box ? (box.left + box.right) / 2 : 0)) > window.innerWidth / 2 ? "left" : "right";
      open(selected);
      panel.scrollTop = 0;
      panel.focus({ preventScroll: true });
    } else if (opener?.isConnected) opener.focus({ preventScroll: true });
    opener = selected?.opener ?? null;
  });
};
