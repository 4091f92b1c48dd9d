// Explain a match: where in the two pictures a space finds what they share.
import { keepInAddress, remember, showView } from "../core/address.js";
import { make, makeChoice } from "../core/dom.js";
import { subjectOf, truthIds } from "../core/match.js";
import { isCalm } from "../core/motion.js";
import { catalogue, mountPart, referenceOf, set, state } from "../core/state.js";
import { heatLegend, makeHeatPane, placeOf, strongestRegions } from "./explain-heat.js";

export let explainMatch;

const LEAD = "What makes two pictures alike: each region is left out in turn, in both of them.";
const LOADING = "Explaining\u2026 The network is loading: the first time takes some seconds.";
const NO_SERVER = "Something went wrong on the server. Please try again.";
const SIDES = ["query", "reference"];
const bySide = (make) => Object.fromEntries(SIDES.map((side) => [side, make(side)]));

export const mountExplain = (element, props, { server }) => {
  const part = mountPart("explain", element);
  const { slot, on, heard, carded, ready, signal } = part;
  const reason = props.value?.reason ?? null;
  let subject = null; // the reference of the match shown
  let reply = null; // the server's answer about it,
  let fault = null; // or why there is none
  let ticket = 0; // of the request under way, 0 without one
  let tickets = 0;
  let asked = null; // the query that all this is about
  let space = null;
  let wanted = null; // what the address asks for, until its query is answered
  let loaded = false;

  const heading = make("h2", { tabindex: "-1" }, "Explain a match");
  const offer = make("div.explain-offer");
  const title = make("h3");
  const another = make("button.tool", "Another match");
  const tabs = make("div");
  const sentence = make("p.explain-sentence", { role: "status" });
  const invite = make("div.explain-invite");
  const panes = bySide((side) => makeHeatPane(part, side));
  const legend = make("div.heat-legend");
  const limits = make("p.limits");
  const body = make("div.explain-body", [
    make("header", title, another),
    tabs,
    sentence,
    invite,
    make("div.explain-pair", ...SIDES.map((side) => panes[side].element)),
    make("details.all-numbers", make("summary", "Details"), legend, limits),
  ]);
  const lead = make("p.lead", LEAD);
  slot.replaceChildren(make("section", { "aria-label": "Explain a match" }, heading, lead, offer, body));

  // What the server is asked about, for the answer shown now; null without one.
  const question = () => {
    const query = state.answer?.status === "answer" ? state.answer.query : null;
    return query && { ...subjectOf(query), path: query.url };
  };

  const choose = (id) => {
    if (id !== subject) [subject, reply, fault, ticket] = [id, null, null, 0];
    draw();
  };

  const ask = async () => {
    if (subject === null || reply || ticket || reason) return;
    const mine = (ticket = ++tickets);
    fault = null;
    draw();
    const answer = await server.explain_match({ ...question(), reference: subject }).catch(() => null);
    if (signal.aborted || mine !== ticket) return; // another match was chosen meanwhile
    ticket = 0;
    if (answer?.spaces) [reply, loaded] = [answer, true];
    else fault = answer?.error ?? NO_SERVER;
    draw();
    remember();
  };

  // Explains a reference as a match of the query shown; from anywhere on the page.
  explainMatch = (id, { scroll = true } = {}) => {
    if (!question()) return Promise.resolve();
    if (state.view !== "compare") showView("compare");
    set("selected", null);
    choose(id);
    heading.focus({ preventScroll: true });
    if (scroll) element.scrollIntoView({ block: "start", behavior: isCalm() ? "auto" : "smooth" });
    return ask();
  };
  const chooseSpace = (id) => {
    space = id;
    draw();
    remember();
  };

  // One space's heat of one picture as the panes take it.
  const heatOf = (id, side) => {
    const one = reply?.spaces[id];
    if (!one) return null;
    const most = Math.max(...SIDES.flatMap((which) => one[which].map(Math.abs)));
    return { values: one[side].map((value) => value * reply.unit), side: reply.side, scale: most * reply.unit, similarity: one.similarity };
  };

  const drawTabs = () => {
    const hadFocus = tabs.contains(document.activeElement);
    const { element: choice, mark } = makeChoice("div.segment", "Choose a space", catalogue.spaces.map(({ id, name }) => [id, name, { "data-space": id }]), chooseSpace);
    mark(space);
    tabs.replaceChildren(choice);
    if (hadFocus) choice.querySelector("[aria-pressed=true]").focus({ preventScroll: true });
  };

  // What the space found alike, in one sentence.
  const told = (heats, name) => {
    const [here, there] = SIDES.map((which) => {
      const [first] = strongestRegions(heats[which].values);
      return first === undefined ? "no region" : `the ${placeOf(first, heats[which].side).words.toLowerCase()}`;
    });
    return `In ${name}, most of the likeness lies in ${here} of the picture asked about and in ${there} of the match.`;
  };

  // Before a match is chosen: the picture that the answer names, or any other by its card.
  const invitation = () => {
    if (!question()) return [make("p.muted", "Once a picture is answered, any of its matches can be explained here.")];
    const about = state.answer.verdict?.about;
    const onclick = () => explainMatch(about, { scroll: false });
    const begin = about === undefined ? null : make("button.tool.primary", { "data-explain": about, onclick }, `Explain \u201c${referenceOf(about).title}\u201d`);
    return [begin, make("p.muted", "Or choose any picture above or on the maps, and \u201cExplain this match\u201d on its card.")].filter(Boolean);
  };

  const inviteOf = (phase) => {
    if (phase === "error") return [make("p", make("b", "No explanation this time. "), fault), make("button.tool.primary", { onclick: ask }, "Try again")];
    return phase === "absent" ? [make("p", make("b", "Not available here. "), reason)] : [];
  };

  const draw = () => {
    const open = question() !== null && subject !== null;
    body.hidden = !open;
    offer.hidden = open;
    if (!open) return offer.replaceChildren(...invitation());
    space ??= catalogue.spaces.at(-1).id;
    const reference = referenceOf(subject);
    const query = state.answer.query;
    const pictures = { query: query.url, reference: reference.picture };
    const names = {
      query: query.reference === undefined ? "The synthetic picture" : "The picture searched with",
      reference: truthIds().has(subject) ? "The match, its true source" : "The match",
    };
    const phase = reason ? "absent" : ticket ? "busy" : fault ? "error" : reply ? "shown" : "busy";
    body.dataset.state = phase;
    body.dataset.space = space;
    body.setAttribute("aria-busy", String(phase === "busy"));
    title.textContent = reference.title;
    invite.replaceChildren(...inviteOf(phase));
    drawTabs();
    const { name } = catalogue.spaces.find(({ id }) => id === space);
    const heats = bySide((side) => heatOf(space, side));
    for (const side of SIDES) {
      panes[side].show(pictures[side], side === "query" ? names.query : reference.title, names[side]);
      panes[side].heat(heats[side], `Regions of ${names[side].toLowerCase()} in ${name}`);
    }
    sentence.textContent = phase === "shown" ? told(heats, name) : phase !== "busy" ? "" : loaded || state.answer.ready ? "Explaining\u2026" : LOADING;
    if (!reply) return;
    const { side, scale } = heats.query;
    legend.replaceChildren(...heatLegend(scale, name));
    limits.textContent = `${side} \u00d7 ${side} regions; each sees more of the picture than its square. This explains the similarity, not the generator: a region that counts need not have been copied.`;
  };

  on(another, "click", () => {
    choose(null);
    heading.focus({ preventScroll: true });
    remember();
  });
  carded(body, () => subject === null || draw());
  heard("answer", () => {
    const now = JSON.stringify(question());
    if (now !== asked) [asked, subject, reply, fault, ticket] = [now, null, null, null, 0];
    draw();
    openWanted();
  });

  const openWanted = () => {
    if (wanted === null || state.opening || !question()) return;
    const id = wanted;
    wanted = null;
    if (id >= catalogue.n) return;
    const land = () => requestAnimationFrame(() => element.scrollIntoView()); // and once more when all has its height
    explainMatch(id, { scroll: false }).then(land);
    land();
  };

  ready(() => {
    asked = JSON.stringify(question());
    draw();
    keepInAddress(
      "explain",
      () => (reply ? `${subject}.${space}` : null),
      (text) => {
        if (text === null) return choose(null);
        const [id, name] = text.split(".");
        if (!/^\d{1,9}$/.test(id)) return;
        wanted = Number(id);
        if (catalogue.spaces.some((one) => one.id === name)) space = name;
        openWanted();
      },
    );
  });
};
