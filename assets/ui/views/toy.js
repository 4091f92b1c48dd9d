// The toy: two dimensions, two domains, one slider. What it computes is in toy-math.js, what it draws in toy-plot.js.
import { lineFrame, linePath, makeReadout } from "../charts/panels.js";
import { SOURCES, balanceOf, drawPictures, embedPictures, mapMatrix, mapPoints, meanOf, momentsOf, placeOf, rawPictures, solveMap, weightAt } from "../charts/toy-math.js";
import { makeToyPlot } from "../charts/toy-plot.js";
import { hint, make, percent, svg } from "../core/dom.js";
import { clamp, nextPlace } from "../core/keys.js";
import { glide } from "../core/motion.js";
import { state } from "../core/state.js";

export let toyNow;

const SEED = 8;
const OTHERS = 60; // draws that the grey curve is the mean of
const STEPS = 50; // of a curve
const TRAVEL = 900; // milliseconds from one end to the other
const SENTENCES = [
  "Each dot is a picture, filled if real and hollow if synthetic; a line joins the two of one source, green where the nearest real dot is the right one.",
  "Alignment shrinks what tells views of one picture apart (blue ring, the covariance N); alone it gives up one of the two dimensions.",
  "Infomax spreads all pictures evenly (orange ring, the covariance C, towards the dashed circle: white); alone it makes rendering as loud as what is shown.",
  "Black curve: share matched with these pictures; grey: the mean of 60 other draws; the dashed line: both terms in balance.",
];

const isAt = (t, place) => Math.abs(t - place) < 0.005;
const whereOf = (t, balance) => {
  if (t === 0) return "alignment alone";
  if (t === 1) return "as good as Infomax alone";
  if (isAt(t, balance)) return "in balance";
  return t < balance ? "alignment outweighs" : "Infomax outweighs";
};

export const makeToy = (part) => {
  const { heard, ended, signal } = part;
  const before = makeToyPlot(5.6);
  const after = makeToyPlot(3.4);
  const oninput = () => {
    halt();
    go(Number(slider.value));
  };
  const range = { type: "range", min: "0", max: "1", step: "any", value: "0", oninput };
  const slider = make("input", { ...range, "aria-label": "Infomax weight, beside an alignment weight of 1" });
  const [seen, matched, weightWords] = [make("b.number"), make("b.number"), make("p.toy-weight.number", { "aria-live": "polite" })];
  const toy = (toyNow = { seed: SEED, t: 0, weight: 0 });
  let halt = () => {};

  const count = (share) => `${Math.round(share * SOURCES)} of ${SOURCES} matched`;
  const go = (t) => {
    toy.t = clamp(t, 1);
    toy.weight = weightAt(toy.t);
    toy.solution = solveMap(toy.moments, toy.weight);
    toy.embedding = embedPictures(toy.data, toy.solution.map);
    const { nuisance, covariance } = toy.moments;
    after.show(toy.embedding, [
      { matrix: [1, 0, 1], name: "ring-white" },
      { matrix: mapMatrix(toy.solution.map, covariance), name: "ring-all" },
      { matrix: mapMatrix(toy.solution.map, nuisance), name: "ring-views" },
    ]);
    matched.textContent = count(toy.embedding.share);
    slider.value = String(toy.t);
    const balance = balanceNow();
    const where = whereOf(toy.t, balance);
    const weight = toy.weight === 0 ? "0" : toy.weight.toPrecision(2);
    weightWords.replaceChildren("Infomax weight ", make("b", weight), make("span.muted", `  ${where}`));
    slider.setAttribute("aria-valuetext", `${weight}, ${where}: ${count(toy.embedding.share)}`);
    curve.marker.style.left = percent(toy.t);
    curve.balance.style.left = percent(balance);
    stops.forEach((stop, i) => stop.setAttribute("aria-pressed", String(isAt(toy.t, [0, balance, 1][i]))));
    light(null);
  };

  const deal = (seed) => {
    toy.seed = seed;
    toy.data = drawPictures(seed);
    toy.moments = momentsOf(toy.data);
    const drawn = rawPictures(toy.data);
    toy.rawShare = drawn.share;
    const rings = (images) => {
      const centre = meanOf(images.flat());
      return [
        { centre, matrix: toy.moments.covariance, name: "ring-all" },
        { centre, matrix: toy.moments.nuisance, name: "ring-views" },
      ];
    };
    before.show(drawn, [...rings(toy.data.real), ...rings(toy.data.synthetic)]);
    seen.textContent = count(toy.rawShare);
    curve.own.setAttribute("d", pathOf(sharesOf(seed)));
  };

  // Share matched along the slider, for one draw.
  const sharesOf = (seed) => {
    const data = drawPictures(seed);
    const found = momentsOf(data);
    return Array.from({ length: STEPS + 1 }, (_, i) => embedPictures(data, solveMap(found, weightAt(i / STEPS)).map).share);
  };
  const pathOf = (shares) => linePath(shares, (i) => (100 * i) / STEPS, (share) => 100 - 100 * share);
  const curve = (() => {
    const [mean, own] = [svg("path.line-other"), svg("path.line-own")];
    const [marker, balance] = [make("span.guide"), make("span.toy-balance")];
    const frame = lineFrame([[0, "0"], [0.5, "50%"], [1, "100%"]], [mean, own], balance, marker);
    return { mean, own, marker, balance, element: make("div.lines.toy-curve", { "aria-hidden": "true" }, frame) };
  })();
  const drawMean = () => {
    if (state.view !== "why" || curve.mean.hasAttribute("d")) return;
    const all = Array.from({ length: OTHERS }, (_, i) => sharesOf(1001 + i));
    curve.mean.setAttribute("d", pathOf(all[0].map((_, i) => all.reduce((sum, shares) => sum + shares[i], 0) / OTHERS)));
  };

  // Travels to a place of the slider.
  const travel = (to) => {
    halt();
    halt = glide(toy.t, to, TRAVEL * Math.max(0.2, Math.abs(to - toy.t)), (place) => signal.aborted || go(place));
  };
  const balanceNow = () => placeOf(balanceOf(toy.solution.ratios));
  const button = (words, onclick) => make("button", { onclick }, words);
  const stops = [button("Alignment alone", () => travel(0)), button("In balance", () => travel(balanceNow())), button("Infomax alone", () => travel(1))];
  const reset = () => {
    halt();
    deal(SEED);
    go(0);
    go(balanceNow());
  };
  const again = button("New pictures", () => {
    halt();
    deal(toy.seed + 1);
    go(toy.t);
  });
  heard("view", () => (halt(), drawMean()));
  ended(() => halt());

  const light = (source) => {
    const domains = source === null ? [] : [toy.data.real, toy.data.synthetic];
    before.light(source, domains.flatMap((images) => images[source]));
    after.light(source, domains.flatMap((images) => mapPoints(images[source], images, toy.solution.map)));
  };
  const side = (title, result, plot) => make("div.toy-side", make("p.toy-title", make("span", title), result), plot.svg);
  const plots = make(
    "div.toy-plots",
    { tabindex: "0", role: "img", "aria-label": `Two pictures of ${SOURCES} sources in two dimensions: what the network sees, and after the map.` },
    side("First glance", seen, before),
    side("After the map", matched, after),
  );
  const readout = makeReadout(part, {
    area: plots,
    prompt: "Point at a dot, or use the arrow keys: its source, and the views that alignment sees of its two pictures.",
    at: (event) => {
      const plot = [before, after].find(({ svg }) => svg.contains(event.target));
      return plot ? plot.sourceAt(event) : null;
    },
    move: (place, key) => nextPlace(place, key, SOURCES),
    tell: (source) => {
      const found = toy.embedding.found[source];
      return `Source ${source + 1}: after the map its synthetic picture lies nearest to ${found === source ? "its own real one" : `the real one of source ${found + 1}, a wrong match`}.`;
    },
    mark: light,
  });
  const meaning =
    "The map W that minimises tr(W N W\u2019) \u2212 2 weight log|det W| where all pictures keep the power tr(W C W\u2019) = 2. Only the ratio of the two weights matters, so that of alignment stays 1. No pair enters; the lines are drawn for you.";
  const element = make("section.exhibit.toy", [
    make("div.exhibit-words", [
      make("h3", "In balance, most pictures find their source"),
      make("p.term", hint("alignment and Infomax, in closed form", meaning)),
      make("p.look-for", "Slide left, and everything falls on one line. Slide right, and how a picture was made becomes as loud as what it shows. In between most lines are green."),
      make("details", make("summary", "How to read it"), SENTENCES.map((sentence) => make("p", sentence))),
    ]),
    make("div.exhibit-chart", [
      plots,
      make("div.toy-control", [
        make("div.toy-head", weightWords, make("span.pick", again, button("Reset", reset))),
        curve.element,
        slider,
        make("div.pick.toy-stops", { role: "group", "aria-label": "Go to" }, ...stops),
      ]),
      readout,
    ]),
  ]);
  reset();
  drawMean();
  toy.go = go;
  return element;
};
