// The door of the page: what Python's side of it calls, by name. `mount` fills the slot of each part; Gradio's events call the others.
import { boxedPicture, boxFilled, cleared, sendAgain, sending } from "./core/asking.js";
import { fail } from "./core/state.js";
import { mountAnswer as answer } from "./views/answer.js";
import { mountBatch as batch } from "./views/batch.js";
import { mountDetails as details } from "./views/details.js";
import { mountExamples as examples } from "./views/examples.js";
import { mountExplain as explain } from "./views/explain.js";
import { mountImprint as imprint } from "./views/imprint.js";
import { mountInspect as inspect } from "./views/inspect.js";
import { mountMaps as maps } from "./views/maps.js";
import { mountNav as nav } from "./views/nav.js";
import { mountOptions as options } from "./views/options.js";
import { mountTakeaway as takeaway } from "./views/takeaway.js";
import { mountTalk as talk } from "./views/talk.js";
import { mountWhy as why } from "./views/why.js";

export { boxedPicture, boxFilled, cleared, fail, sendAgain, sending };
export const mount = { answer, batch, details, examples, explain, imprint, inspect, maps, nav, options, takeaway, talk, why };
