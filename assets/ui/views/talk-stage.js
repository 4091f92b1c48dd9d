// What a room sees: one step of the story at a time, in type that reads from the back.
import { make, makeBar } from "../core/dom.js";
import { catalogue, referenceOf } from "../core/state.js";
import { countText, percentText, shareText } from "../core/words.js";
import { makeCamera } from "../maps/camera.js";
import { makeMorph } from "../maps/morph.js";

export const makeTalkStage = (part, stage) => {
  let shown = null;
  let morph = null; // the map that travels from space to space: made when it is first shown
  let onStage = null; // the answer that it shows
  let goal = 0; // the space it is at, or on its way to

  // Pictures come with the story, as data; those of a live picture from where the page has them.
  const queryPicture = ({ id, url }) => shown.story.pictures[`query-${id}`] ?? url;
  const referencePicture = (id) => shown.story.pictures[`reference-${id}`] ?? referenceOf(id).picture;
  const picture = (url, alt) => make("span.talk-frame", make("img", { src: url, alt }));

  const words = () => make("div.talk-words", shown.points?.map((point) => make("p", point)));

  // The last slide is for the room: what it may try now, and what to keep in mind.
  const invite = () => make("div.talk-words", [
    make("button.tool.primary", { onclick: () => document.querySelector("#query-picture input[type=file]")?.click() }, "Choose a picture"),
    shown.points.map((point) => make("p", point)),
  ]);

  const opening = () =>
    make("div.talk-opening", shown.answer ? picture(queryPicture(shown.answer.query), "The synthetic picture") : words());

  const source = (id) => picture(referencePicture(id), referenceOf(id).title);

  const asked = () => {
    const { query } = shown.answer;
    const [truth] = query.truth ?? [];
    const hidden = () => make("figure", make("span.talk-frame.talk-hidden", "?"), make("figcaption", "Its true source"));
    const told = () => make("figure.is-truth", source(truth), make("figcaption", "True source"));
    return make("div.talk-asked", [
      make("figure", picture(queryPicture(query), "The synthetic picture"), make("figcaption", "The synthetic picture")),
      truth === undefined ? null : shown.truth ? told() : hidden(),
    ]);
  };

  const wall = () => make("div.talk-side", asked(), make("div.talk-wall", shown.story.wall.map(source)));

  const isTruth = (id) => shown.truth && (shown.answer.query.truth ?? []).includes(id);
  const standingIn = (space) => {
    const [rank] = shown.answer?.query.ranks?.[space] ?? [];
    return rank ? `True source: rank ${countText(rank)}` : "";
  };

  const column = (space) => {
    const isOpen = shown.spaces.includes(space.id);
    const { matches, estimated } = shown.answer.spaces[space.id];
    const head = make("header", make("h3", space.name), make("p.term", space.id));
    if (!isOpen || !matches.length) return make("section.talk-column.is-closed", { "data-space": space.id }, head);
    const [{ id, weight }, ...others] = matches;
    return make("section.talk-column", { "data-space": space.id }, [
      head,
      make("p.talk-standing", standingIn(space.id)),
      make("div", { class: `talk-first${isTruth(id) ? " is-truth" : ""}` }, source(id)),
      make("p.talk-named", make("span.talk-name", referenceOf(id).title), make("span.number", shareText(weight, estimated)), makeBar(weight)),
      make("div.talk-more", others.slice(0, 3).map(({ id: other }) => make("span", { class: isTruth(other) ? "is-truth" : null }, source(other)))),
    ]);
  };

  const compared = () => make("div.talk-side", asked(), make("div.talk-columns", catalogue.spaces.map(column)));

  const maps = () => {
    const { answer } = shown;
    onStage = answer && { ...answer, query: { ...answer.query, url: queryPicture(answer.query) } };
    morph ??= makeMorph(part, { camera: makeCamera(), stage: { answer: () => onStage, picture: referencePicture, pin: 0.13 } });
    morph.map.setAnswer();
    morph.tellRanks(answer);
    morph.go((goal = 0));
    const framed = answer?.query.truth?.length ? " In the green frame, its true source." : "";
    const legend = make("p.talk-legend", `The synthetic picture is tied to its closest matches.${framed}`);
    return make("div.talk-maps", morph.map.plot, make("div", morph.stops, legend));
  };

  const figures = () => make("div.talk-figures", catalogue.spaces.map((space) => {
    const share = shown.story.figures.spaces[space.id];
    return make("div", { "data-space": space.id }, [
      make("span.talk-name", space.name, " ", make("span.term", space.id)),
      make("b.number", percentText(share)),
      makeBar(share),
    ]);
  }));

  const kinds = { opening, wall, case: compared, maps, figures, end: invite };

  const travel = (to) => {
    if (shown?.kind !== "maps" || !catalogue.spaces[to]) return false;
    goal = to;
    morph.travel([to]);
    return true;
  };

  return {
    show: (what) => {
      const isSame = shown?.kind === "maps" && what.kind === "maps";
      shown = what;
      if (isSame) return; // the map stays where it is
      morph?.halt();
      stage.dataset.kind = what.kind;
      stage.replaceChildren(kinds[what.kind]());
    },
    // Whether the step itself had something left to do.
    advance: (by) => travel(goal + by),
    travel,
    rest: () => morph?.halt(),
  };
};
