// What every view ends with: what the page does not prove, whose the pictures are, and what computed the answers.
import { make } from "../core/dom.js";
import { mountPart } from "../core/state.js";

export const mountImprint = (element, props) => {
  mountPart("imprint", element).slot.replaceChildren(make("footer", [
    make("p", "This page shows which pictures of this collection lie closest to yours. Closeness is evidence, not proof: it does not show that a generator was trained on a picture, nor that it copied it."),
    make("p", "Each picture keeps its own licence, shown when you choose it. Your picture is compared on this server, sent nowhere else, and deleted within a day."),
    make("details", make("summary", "What computed this"), make("p.stamp", ...props.value.flatMap(([name, value]) => [make("span", `${name} `, make("b", value)), " "]))),
  ]));
};
