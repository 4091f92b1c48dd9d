// What a room sees: one step of the story at a time, in type that reads from the back.
import { make } from "../core/dom.js";
import { catalogue, referenceOf } from "../core/state.js";
import { percentText, shareText } from "../core/words.js";
import { makeTalkMap } from "../maps/talk.js";

export const makeTalkStage = (part, stage) => {
  const map = makeTalkMap(part);
  let shown = null;
  let stops = [];

  // Pictures come with the story, as data; those of a live picture from where the page has them.
  const source = (key, address) => shown.story.pictures[key] ?? address;
  const queryPicture = (query) => (query.id === undefined ? query.url : source(`query-${query.id}`, query.url));
  const referencePicture = (id) => source(`reference-${id}`, referenceOf(id).picture);
  const picture = (url, alt) => make("span.talk-frame", make("img", { src: url, alt }));

  const words = () => make("div.talk-words", ...(shown.points ?? []).map((point) => make("p", point)));

  const opening = () =>
    make("div.talk-opening", shown.answer ? picture(queryPicture(shown.answer.query), "The synthetic picture") : words());

  const asked = () => {
    const { query } = shown.answer;
    const [truth] = query.truth ?? [];
    const found = truth === undefined || !shown.truth ? null : truth;
    return make("div.talk-asked", [
      make("figure", picture(queryPicture(query), "The synthetic picture"), make("figcaption", "The synthetic picture")),
      truth === undefined
        ? null
        : make("figure", { class: found === null ? null : "is-truth" }, [
            found === null ? make("span.talk-frame.talk-hidden", "?") : picture(referencePicture(found), referenceOf(found).title),
            make("figcaption", found === null ? "Its true source" : "True source"),
          ]),
    ]);
  };

  const wall = () => make("div.talk-side", [
    asked(),
    make("div.talk-wall", ...shown.story.wall.map((id) => picture(referencePicture(id), referenceOf(id).title))),
  ]);

  const isTruth = (id) => shown.truth && (shown.answer.query.truth ?? []).includes(id);

  const column = (space) => {
    const isOpen = shown.spaces.includes(space.id);
    const { matches, convincing, estimated } = shown.answer.spaces[space.id];
    const rank = shown.answer.query.ranks?.[space.id]?.[0];
    const standing = rank ? `True source: rank ${rank.toLocaleString("en-GB")}` : "";
    const head = make("header", make("h3", space.name), make("p.term", space.id));
    if (!isOpen || !matches.length) return make("section.talk-column.is-closed", { "data-space": space.id }, head);
    const [{ id, weight }, ...others] = matches;
    const more = others.slice(0, shown.only ? 7 : 3);
    return make("section.talk-column", { "data-space": space.id }, [
      head,
      make("p.talk-standing", standing || (convincing ? "" : "No convincing source")),
      make("div", { class: `talk-first${isTruth(id) ? " is-truth" : ""}` }, picture(referencePicture(id), referenceOf(id).title)),
      make("p.talk-named", [
        make("span.talk-name", referenceOf(id).title),
        make("span.number", shareText(weight, estimated)),
        make("span.bar", make("span", { style: { width: `${100 * weight}%` } })),
      ]),
      make("div.talk-more", [
        ...more.map(({ id: other }) => make("span", { class: isTruth(other) ? "is-truth" : null }, picture(referencePicture(other), referenceOf(other).title))),
      ]),
    ]);
  };

  const compared = () => {
    const spaces = catalogue.spaces.filter(({ id }) => !shown.only || shown.only === id);
    return make("div.talk-side", [
      asked(),
      make("div", { class: `talk-columns${shown.only ? " is-single" : ""}` }, ...spaces.map(column)),
    ]);
  };

  const maps = () => {
    const { spaces } = catalogue;
    const ranks = shown.answer?.query.ranks ?? {};
    stops = spaces.map((space) => make("li", { "data-space": space.id }, [
      make("b", space.name),
      make("span.term", space.id),
      ranks[space.id]?.length ? make("span.talk-standing", `True source: rank ${ranks[space.id][0].toLocaleString("en-GB")}`) : null,
    ]),
    );
    const legend = make("p.talk-legend", [
      "The synthetic picture is tied to its closest matches.",
      shown.answer?.query.truth?.length ? " In the green frame, its true source." : null,
    ]);
    return make("div.talk-maps", map.canvas, make("div", make("ol", ...stops), legend));
  };

  const figures = () => make("div.talk-figures", catalogue.spaces.map((space) => {
    const share = shown.story.figures.spaces[space.id];
    return make("div", { "data-space": space.id }, [
      make("span.talk-name", space.name, " ", make("span.term", space.id)),
      make("b.number", percentText(share)),
      make("span.bar", make("span", { style: { width: `${100 * share}%` } })),
    ]);
  }));

  const kinds = { opening, wall, case: compared, maps, figures, end: words };

  map.follow((t) => stops.forEach((stop, i) => stop.setAttribute("aria-current", String(Math.round(t) === i))));

  return {
    show: (what) => {
      const isSame = shown?.kind === "maps" && what.kind === "maps";
      shown = what;
      map.rest();
      stage.dataset.kind = what.kind;
      stage.replaceChildren(kinds[what.kind]());
      if (what.kind === "maps" && !isSame) map.start(what.answer, what.answer ? queryPicture(what.answer.query) : null, truthOf(what.answer));
    },
    // Whether the step itself had something left to do.
    advance: (by) => shown?.kind === "maps" && map.advance(by),
    travel: (to) => map.travel(to),
    rest: () => map.rest(),
  };

  function truthOf(answer) {
    const [id] = answer?.query.truth ?? [];
    return id === undefined ? null : { id, picture: referencePicture(id) };
  }
};
