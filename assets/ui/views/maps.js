// The three maps side by side on one frame, or one map that moves through them; what is chosen for all of them; how far each can be trusted.
import { keepInAddress, remember } from "../core/address.js";
import { hint, make, makeChoice } from "../core/dom.js";
import { idsOf } from "../core/match.js";
import { catalogue, mountPart, referenceOf, set, state } from "../core/state.js";
import { countText, percentText } from "../core/words.js";
import { makeCamera } from "../maps/camera.js";
import { makeGeometry } from "../maps/geometry.js";
import { makeLegend } from "../maps/legend.js";
import { makeMap } from "../maps/map.js";
import { colourFields } from "../maps/marks.js";
import { makeMorph } from "../maps/morph.js";
import { makeSelection } from "../maps/selection.js";

export let everyMap, movingMap;

const FIDELITY_MEANING =
  "A flat map cannot keep every neighbourhood. This is the share of each picture's 10 most similar pictures that are also among its 10 nearest on this map, averaged over the collection. The columns above use the full space, not the map.";

export const mountMaps = (element) => {
  const part = mountPart("maps", element);
  const { slot, on, heard, ready } = part;
  const spoken = make("p.sr", { "aria-live": "polite" });
  part.announce = (text) => (spoken.textContent = text);

  const figure = (space, map) => make("figure.map", { "data-space": space.id }, [
    make("figcaption", make("h3", space.name, " ", make("span.term", space.id))),
    map.plot,
    space.preservation === null
      ? null
      : make("p.fidelity", hint(`Keeps ${percentText(space.preservation)} of each picture\u2019s 10 nearest neighbours`, FIDELITY_MEANING)),
  ]);

  const mapOf = (space, camera) => {
    const layers = [{ space: space.id, strength: 1 }];
    const label = () => {
      const [best] = idsOf(space.id);
      const place = best === undefined ? "" : ` Your picture lies closest to ${referenceOf(best).title}.`;
      return `Map of ${countText(catalogue.n)} pictures in the ${space.id} space.${place}`;
    };
    return makeMap({ id: space.id, geometry: makeGeometry(space.places), camera, layers: () => layers, label }, part);
  };

  // What is kept in the state under a name, as buttons that follow it.
  const choice = (title, options, name) => {
    const choose = (value) => {
      set(name, value);
      remember();
    };
    const { element, mark } = makeChoice("div.choice", title, options, choose, "button.tool");
    element.prepend(make("span.muted", title));
    heard(name, () => mark(state[name]));
    mark(state[name]);
    return element;
  };

  const tool = (words, label, onclick) => make("button.tool", { "aria-label": label, onclick }, words);

  const build = () => {
    const { spaces, n } = catalogue;
    state.colours ??= "group";
    state.mapsShown ??= "trio";
    const camera = makeCamera();
    const maps = spaces.map((space) => mapOf(space, camera));
    const trio = make("div.trio", ...spaces.map((space, i) => figure(space, maps[i])));
    const morph = (movingMap = makeMorph(part, { camera }));
    const tellRanks = () => morph.tellRanks(state.answer);
    heard("answer", tellRanks);
    tellRanks();
    const beside = make("div.morph-words", morph.where, make("div.travel", morph.slider, morph.stops), morph.play);
    const moving = make("div.morph", morph.map.plot, beside);
    everyMap = { all: [...maps, morph.map], show: (way) => set("mapsShown", way) };

    const showWay = () => {
      const isMorph = state.mapsShown === "morph";
      trio.hidden = isMorph;
      moving.hidden = !isMorph;
      if (!isMorph) morph.halt();
      if (isMorph) beside.append(legend);
      else trio.after(legend);
    };
    heard("mapsShown", showWay);

    const legend = makeLegend(part);
    const lasso = tool("Lasso", "Lasso: draw around pictures to select them", () => set("lasso", !state.lasso));
    lasso.title = "Draw around pictures to select them (or hold Shift and drag)";
    const markLasso = () => {
      lasso.setAttribute("aria-pressed", String(Boolean(state.lasso)));
      slot.classList.toggle("is-lasso", Boolean(state.lasso));
    };
    heard("lasso", markLasso);
    const zooms = [
      tool("\u2212", "Zoom out", () => camera.zoomBy(1 / 1.5)),
      tool("+", "Zoom in", () => camera.zoomBy(1.5)),
      tool("Reset", "Show the whole map", camera.reset),
    ];
    const bar = make("div.toolbar", [
      choice("Show", [["trio", "Side by side"], ["morph", "Morph"]], "mapsShown"),
      colourFields().length > 1 ? choice("Colour by", colourFields(), "colours") : null,
      make("div.choice.tools", { role: "group", "aria-label": "Move and select" }, lasso, ...zooms),
    ]);

    slot.replaceChildren(
      make("h2", "The same collection, mapped three times"),
      make("p.lead", [
        `Each mark is one of ${countText(n)} pictures; marks that lie close look alike to that space. Lines tie your picture to its matches, thicker for more weight; a green ring is the true source. `,
        matchMedia("(pointer: coarse)").matches ? "Pinch to zoom; choose the lasso to draw around pictures." : "Drag to move, turn the wheel to zoom, hold Shift and drag to select.",
      ]),
      bar,
      trio,
      moving,
      legend,
      makeSelection(part),
      spoken,
    );
    markLasso();
    showWay();
    keepInAddress("map", () => (state.mapsShown === "morph" ? "morph" : null), (way) => everyMap.show(way ?? "trio"));
    keepInAddress("colour", () => (state.colours === "group" ? null : state.colours), (field) => {
      if (colourFields().some(([one]) => one === (field ?? "group"))) set("colours", field ?? "group");
    });
  };

  // Escape takes the selection back, unless it closes something else first.
  const escape = (event) => {
    if (event.key !== "Escape" || state.selected || state.talk || !state.selection) return;
    set("selection", null);
    part.announce("Nothing selected");
  };
  on(document, "keydown", escape, { capture: true });

  ready(build);
};
