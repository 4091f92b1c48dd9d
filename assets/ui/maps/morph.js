// One map that moves: a slider carries every picture from its place in one space to its place in the next, and with it the query, its
// matches and the true source, so that a room sees what alignment and disentanglement do.
import { make } from "../core/dom.js";
import { clamp } from "../core/keys.js";
import { glide, isCalm } from "../core/motion.js";
import { catalogue } from "../core/state.js";
import { countText, percentText } from "../core/words.js";
import { makeGeometry } from "./geometry.js";
import { makeMap } from "./map.js";

const TRAVEL = 2600; // milliseconds from one space to the next
const REST = 900; // milliseconds at a space in between

// places: per space, Float32Array of coordinates. Where everything lies at time t, from 0 (first space) to the last one's number.
const blendPlaces = (places, t, out) => {
  const from = Math.min(Math.floor(t), places.length - 1);
  const [a, b, share] = [places[from], places[Math.min(from + 1, places.length - 1)], t - from];
  for (let i = 0; i < out.length; i++) out[i] = a[i] + share * (b[i] - a[i]);
};

// `more` of the map: its camera, or the stage it is on.
export const makeMorph = (part, more) => {
  const { heard, ended, signal } = part;
  const { spaces } = catalogue;
  const places = spaces.map((space) => space.places);
  const last = spaces.length - 1;
  const geometry = makeGeometry(Float32Array.from(places[0]));
  let t = 0;
  let stop = null; // what halts the journey under way

  const layers = () => {
    const from = Math.min(Math.floor(t), last);
    const next = { space: spaces[Math.min(from + 1, last)].id, strength: t - from };
    return [{ space: spaces[from].id, strength: 1 - next.strength }, ...(next.strength ? [next] : [])];
  };
  const place = () => {
    const [a, b] = layers();
    if (!b) return `${spaces[t].name} (${a.space})`;
    return `${percentText(b.strength)} of the way from ${a.space} to ${b.space}`;
  };
  const map = makeMap({ id: "morph", geometry, layers, label: () => `Map of ${geometry.n} pictures, ${place()}.`, ...more }, part);

  const oninput = () => {
    halt();
    go(Number(slider.value));
  };
  const range = { type: "range", min: "0", max: String(last), step: "any", value: "0", oninput };
  const slider = make("input", { ...range, "aria-label": "From one space to the next" });
  const play = make("button.tool.primary", { onclick: () => (stop === null ? start() : halt()) });
  const where = make("p.where");
  const stops = spaces.map((space, i) => {
    const rank = make("span.standing-at.number");
    return make("button.stop", { "data-space": space.id, onclick: () => travel([i]) }, space.name, make("span.term", space.id), rank);
  });

  const go = (to) => {
    t = clamp(to, last);
    if (Math.abs(t - Math.round(t)) < 1e-6) t = Math.round(t);
    blendPlaces(places, t, geometry.points);
    slider.value = String(t);
    slider.setAttribute("aria-valuetext", place());
    where.textContent = place();
    stops.forEach((stop, i) => stop.setAttribute("aria-current", String(i === t)));
    map.describe();
    map.repaint();
  };

  const halt = () => {
    stop?.();
    stop = null;
    play.textContent = "Play";
  };

  // Travels through the given stops. Where motion is not wanted it jumps to the first of them.
  const travel = ([to, ...later]) => {
    halt();
    play.textContent = "Pause";
    stop = glide(t, to, TRAVEL * Math.min(1, Math.abs(to - t) + 0.2), (place, isThere) => {
      if (signal.aborted) return halt();
      go(place);
      if (!isThere) return;
      if (!later.length || isCalm()) return queueMicrotask(halt);
      const rest = setTimeout(travel, REST, later);
      stop = () => clearTimeout(rest);
    });
  };

  const start = () => {
    if (t === last) go(0);
    travel(spaces.map((_, i) => i).filter((i) => i > t));
  };

  // Below each stop, where the space it stands for ranks the true source.
  const tellRanks = (answer) => spaces.forEach((space, i) => {
    const best = answer?.query?.ranks?.[space.id]?.[0];
    const words = best ? ["True source: ", make("span", `rank ${countText(best)}`)] : [];
    stops[i].lastChild.replaceChildren(...words);
  });
  heard("view", halt);
  ended(halt);
  halt();
  go(0);
  return { map, where, slider, stops: make("div.stops", ...stops), play, go, halt, travel, tellRanks, at: () => t };
};
