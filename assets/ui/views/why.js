// Why it works: the two steps in words, a toy to try them on, and the theory as it was measured on this collection.
import { make } from "../core/dom.js";
import { mountPart } from "../core/state.js";
import { countText } from "../core/words.js";
import { makeToy } from "./toy.js";
import { whyFamilies, whyTheory } from "./why-measured.js";

export const mountWhy = (element, props) => {
  const part = mountPart("why", element);
  const { how, theory, families, commands } = props.value;

  const missing = (title, words, command) =>
    make("div.unmeasured", make("h3", title), make("p", words), make("code", { tabindex: "0" }, command));

  part.slot.replaceChildren(
    make("header.why-head", [
      make("h2", "Why it works"),
      make("p", "Two steps turn the first glance into an answer, and neither is shown which picture was made from which. Try them on dots, then see whether it holds here."),
    ]),
    makeToy(part),
    make("div.trio.steps", [
      ...how.map((space) => make("section", { "data-space": space.id }, make("h3", space.name, " ", make("span.term", space.id)), make("p", space.how))),
    ]),
    make("h2.why-part", "Does the theory hold on this collection?"),
    ...(theory
      ? [
          make("p.why-lead", [
            `On ${countText(theory.n_pairs.test)} synthetic pictures of ${countText(theory.n_sources.test)} sources whose concepts no training saw. `,
            "Pairs are used here for looking, never for learning; the oracle alone, \u201cShown the pairs\u201d, learnt from pairs of training concepts.",
          ]),
          ...whyTheory(part, theory),
        ]
      : [
          missing(
            "The theory has not been measured for this collection",
            "It needs synthetic pictures whose true sources are known, of more than 64 sources in each split. Where a collection has them, this command measures it in seconds:",
            commands.theory,
          ),
        ]),
    families
      ? whyFamilies(part, families)
      : missing(
          "Unseen generators have not been tested for this collection",
          "Each family of synthetic pictures would be left out of training in turn. Where views and families have been made, this command does it in minutes:",
          commands.families,
        ),
  );
};
