// Before a match is chosen: what to begin with.
import { make, makePicture } from "../core/dom.js";
import { flagOf, matchesOf, truthIds } from "../core/match.js";
import { catalogue, referenceOf } from "../core/state.js";

const N_OFFERED = 4;

// The first of each space, the true source where it is listed, then further ones of the last space.
const candidates = () => {
  const lists = catalogue.spaces.map(({ id, name }) => ({ name, ids: [...matchesOf(id).keys()] }));
  const truth = [...truthIds()].find((id) => lists.some(({ ids }) => ids.includes(id)));
  const chosen = new Set(lists.flatMap(({ ids }) => ids.slice(0, 1)));
  if (truth !== undefined) chosen.add(truth);
  for (const id of lists.at(-1).ids) if (chosen.size < N_OFFERED) chosen.add(id);
  return [...chosen].map((id) => {
    const rank = Math.min(...lists.map(({ ids }) => ids.indexOf(id)).filter((i) => i >= 0));
    const names = lists.filter(({ ids }) => ids[rank] === id).map(({ name }) => name);
    return { id, standing: `Rank ${rank + 1} in ${names.length === lists.length ? "every space" : names.join(" and ")}` };
  });
};

const candidate = ({ id, standing }, choose) => {
  const reference = referenceOf(id);
  const flag = flagOf(id);
  return make("button", { class: `candidate${flag ? " is-truth" : ""}`, "data-explain": id, onclick: () => choose(id) }, [
    make("span.frame", makePicture(reference.picture, { loading: "lazy" })),
    make("span.words", make("span.title", reference.title), make("span.muted", standing), flag),
  ]);
};

// `choose` hears which reference is to be explained.
export const makeOffer = (choose) => {
  const element = make("div.explain-offer");
  return {
    element,
    show(answered) {
      if (!answered) return element.replaceChildren(make("p.muted", "Once a picture is answered, any of its matches can be explained here."));
      const words = "Choose one of these, or \u201cExplain this match\u201d on the card of any picture above or on the maps.";
      element.replaceChildren(make("p", words), make("div.candidates", candidates().map((one) => candidate(one, choose))));
    },
  };
};
