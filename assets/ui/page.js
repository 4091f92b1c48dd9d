// The door of the page: what Python's side of it calls, by name. `mount` fills the slot of each part; Gradio's events call the others.
import { boxedPicture, chooseK, cleared, sendAgain, sending } from "./core/asking.js";
import { fail } from "./core/state.js";
import { mountAbout } from "./views/about.js";
import { mountAnswer } from "./views/answer.js";
import { mountDetails } from "./views/details.js";
import { mountExamples } from "./views/examples.js";
import { mountExplain } from "./views/explain.js";
import { mountFilters } from "./views/filters.js";
import { mountImprint } from "./views/imprint.js";
import { mountInspect } from "./views/inspect.js";
import { mountMaps } from "./views/maps.js";
import { mountNav } from "./views/nav.js";
import { mountTakeaway } from "./views/takeaway.js";
import { mountTalk } from "./views/talk.js";
import { mountWhy } from "./views/why.js";

export { boxedPicture, chooseK, cleared, fail, sendAgain, sending };
export const mount = {
  about: mountAbout,
  answer: mountAnswer,
  details: mountDetails,
  examples: mountExamples,
  explain: mountExplain,
  filters: mountFilters,
  imprint: mountImprint,
  inspect: mountInspect,
  maps: mountMaps,
  nav: mountNav,
  takeaway: mountTakeaway,
  talk: mountTalk,
  why: mountWhy,
};
