// Talk mode: a guided story on bundled cases, for a room. Everything it needs is fetched when it is entered: after that a lecture
// goes on without network or server. Keys: arrows, 1 to 3 for a map, F, N, Esc.
import { showView } from "../core/address.js";
import { askQuery } from "../core/asking.js";
import { make } from "../core/dom.js";
import { catalogue, catalogueReady, learn, mountPart, set, state } from "../core/state.js";
import { addExtra } from "./takeaway.js";
import { makeTalkStage } from "./talk-stage.js";

// The step that shows a picture given during the talk.
const LIVE = {
  kind: "case",
  truth: true,
  title: "A picture from the room",
  line: "What is closest to it, in each space?",
  notes: "Any arrow key goes back to the story.",
};
const NEXT = ["ArrowRight", "ArrowDown", "PageDown", " "]; // a presenter's remote sends PageDown and PageUp
const BACK = ["ArrowLeft", "ArrowUp", "PageUp"];

export const mountTalk = (element, props, { server }) => {
  const part = mountPart("talk", element);
  const { slot, on, heard } = part;
  let story = null;
  let at = 0;
  let live = null; // an answer to a picture that was given during the talk
  let isFull = false; // of this talk: a late end of the last one's full screen is not the end of this one
  let isOurs = false; // whether the talk itself asked for the end of full screen

  const title = make("h2.talk-title", { tabindex: "-1" });
  const line = make("p.talk-line");
  const stage = make("div.talk-stage");
  const count = make("span.talk-count");
  const control = (words, label, action) => {
    const onclick = () => {
      action();
      title.focus({ preventScroll: true }); // so that the space bar goes on, and does not press this again
    };
    return make("button", { "aria-label": label, title: label, onclick }, words);
  };
  const open = control("Open in the page", "Open in the page", () => leave(caseOf()?.query.id));
  const dialog = make("dialog.talk", { "aria-label": "Talk mode" }, [
    make("header", { "aria-live": "polite" }, title, line),
    stage,
    make("footer", [
      control("\u2190", "Previous step (left arrow)", () => move(-1)),
      count,
      control("\u2192", "Next step (right arrow)", () => move(1)),
      make("span.talk-gap"),
      open,
      control("Notes", "Notes in a window of their own (N)", () => openNotes()),
      control("Full screen", "Full screen (F)", () => toggleFull()),
      control("Leave", "Leave (Esc)", () => leave()),
    ]),
  ]);
  const opener = make("button.extra.extra-talk", { "aria-keyshortcuts": "f", title: "Full screen, for a room (F)" }, "Present");
  slot.replaceChildren(dialog);
  addExtra(part, opener);
  const drawing = makeTalkStage(part, stage);

  const step = () => story?.steps[at];
  let speaker = null; // the speaker's own window, which is not projected
  const tellNotes = ({ title: heading, notes }) => {
    if (!speaker || speaker.closed) return;
    const next = live ? null : story.steps[at + 1]?.title;
    speaker.document.title = "Notes for the speaker";
    speaker.document.body.style.font = "24px/1.4 sans-serif";
    speaker.document.body.replaceChildren(make("h1", heading), make("p", notes), make("p", next ? `Next: ${next}` : ""));
  };
  const openNotes = () => {
    isOurs = Boolean(document.fullscreenElement); // a browser ends full screen for another window
    speaker = window.open("", "speaker", "popup,width=720,height=480");
    if (speaker) draw();
    else line.textContent = "The browser does not allow a second window: allow it for this page.";
  };
  const caseOf = () => live ?? (step()?.case ? story.cases[step().case] : null);

  const draw = () => {
    const now = live ? { ...LIVE, spaces: catalogue.spaces.map(({ id }) => id) } : step();
    [title.textContent, line.textContent] = [now.title, now.line];
    tellNotes(now);
    count.textContent = `${at + 1} / ${story.steps.length}`;
    open.hidden = !caseOf() || live;
    dialog.dataset.step = live ? "live" : String(at + 1);
    drawing.show({ ...now, answer: caseOf(), story });
  };

  // The maps move before the step does: each press goes on to the next space.
  const move = (by) => {
    if (!story) return;
    if (live) live = null;
    else if (drawing.advance(by)) return;
    else at = Math.max(0, Math.min(story.steps.length - 1, at + by));
    draw();
  };

  const endFull = () => {
    if (!document.fullscreenElement) return;
    isOurs = true;
    document.exitFullscreen().catch(() => {});
  };
  const toggleFull = () => {
    if (document.fullscreenElement) endFull();
    else document.documentElement.requestFullscreen?.().catch(() => {}); // refused: the window is filled all the same
  };

  const enter = async () => {
    if (dialog.open) return;
    set("selected", null);
    set("talk", true);
    isFull = isOurs = false;
    dialog.showModal();
    document.body.classList.add("is-talking");
    if (!document.fullscreenElement) toggleFull();
    if (!story) {
      const say = (first, second) => ([title.textContent, line.textContent] = [first, second]);
      say("Preparing the story\u2026", "");
      count.textContent = "";
      open.hidden = true;
      await catalogueReady;
      const sent = await server.talk_story({}).catch(() => null);
      if (!sent?.steps) return say("The story did not arrive", "The server did not answer. Leave with Esc, and try again.");
      for (const one of [sent, ...Object.values(sent.cases)]) learn(one.cards);
      story = sent;
    }
    if (!dialog.open) return;
    [at, live] = [0, null];
    draw();
    title.focus({ preventScroll: true });
    dialog.setAttribute("data-ready", "");
  };

  const clear = () => {
    if (dialog.open || !state.talk) return; // the event of closing comes late, when it may be open again
    drawing.rest();
    speaker?.close();
    set("talk", false);
    document.body.classList.remove("is-talking");
    dialog.removeAttribute("data-ready");
    endFull();
    opener.focus({ preventScroll: true });
  };
  on(dialog, "close", clear);

  // Leaves for where the page was, or for a bundled picture.
  const leave = (id) => {
    dialog.close();
    clear();
    if (id === undefined) return;
    showView("compare");
    askQuery(id);
  };

  // In full screen, Esc belongs to the browser: it ends that, and with it the talk.
  on(document, "fullscreenchange", () => {
    if (document.fullscreenElement) {
      isFull = dialog.open;
      return;
    }
    const isEscape = isFull && !isOurs && dialog.open;
    isFull = isOurs = false;
    if (isEscape) leave();
  });

  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation(); // these keys are not the page's now
    const { key } = event;
    if (event.target.closest?.("button") && (key === " " || key === "Enter")) return;
    const letter = key.toLowerCase();
    if (NEXT.includes(key)) move(1);
    else if (BACK.includes(key)) move(-1);
    else if (["1", "2", "3"].includes(key)) drawing.travel(Number(key) - 1);
    else if (letter === "f") toggleFull();
    else if (letter === "n") openNotes();
    else if (key === "Escape") leave();
    else return;
    event.preventDefault();
  };
  on(dialog, "keydown", pressed);
  on(document, "keydown", (event) => {
    if (event.key.toLowerCase() !== "f" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    enter();
  });
  on(opener, "click", enter);

  // A picture dropped or pasted while talking is answered by the page, and shown here.
  heard("busy", () => {
    if (dialog.open && state.busy) line.textContent = state.busy;
  });
  heard("answer", () => {
    const { answer } = state;
    if (!dialog.open || !story || !answer) return;
    if (answer.status === "answer") {
      live = answer;
      draw();
    } else if (answer.status === "error") line.textContent = answer.text;
  });
};
