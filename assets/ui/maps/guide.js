// The hand on a map: hover with a picture, drag to pan, wheel and pinch to zoom, Shift and drag or the lasso to select, arrow keys to
// walk, the space bar to select. Places are kept in the unit frame, so that a line drawn on a moving map stays where it was drawn.
import { passingNow } from "../core/filter.js";
import { ARROWS } from "../core/keys.js";
import { idsOf } from "../core/match.js";
import { set, state } from "../core/state.js";
import { makeTip } from "./tip.js";

const REACH = 16; // pixels within which the pointer catches a point
const STILL = 4; // pixels a press may move and still be a click
const STREAM = 300; // milliseconds without a wheel event that end one turn of the wheel
let lastWheel = { time: -Infinity, map: null };

export const guideMap = (map, { on, heard, carded, announce }) => {
  const { canvas, plot, view } = map;
  const { geometry } = view;
  const tip = makeTip(map);
  plot.append(tip.element);
  const touching = new Map(); // pointer id -> [x, y]
  let press = null; // {x, y, moved, lasso}: the drag under way

  const under = (x, y) => geometry.nearest(...map.toUnit(x, y), REACH * map.perPixel(), passingNow());

  const show = (id, spoken = false) => {
    map.current = id;
    set("hover", id);
    tip.show(id);
    canvas.style.cursor = id === null ? "" : "pointer";
    if (spoken && id !== null) announce(tip.words(id));
  };

  const open = (id) => set("selected", { id, opener: canvas, x: canvas.getBoundingClientRect().left + map.at(id)[0] });

  const select = (found) => {
    set("selection", found.size ? found : null);
    announce(found.size ? `${found.size} pictures selected` : "Nothing selected");
  };

  const endPress = (finished) => {
    if (press?.lasso && finished && press.moved) select(map.line.length > 2 ? geometry.inside(map.line, passingNow()) : new Set());
    press = map.line = null;
    plot.classList.remove("is-dragged");
    map.schedule();
  };

  on(canvas, "pointerdown", (event) => {
    if (event.button) return;
    touching.set(event.pointerId, [event.offsetX, event.offsetY]);
    canvas.setPointerCapture(event.pointerId);
    if (touching.size > 1) return endPress(false);
    press = { x: event.offsetX, y: event.offsetY, moved: false, lasso: state.lasso || event.shiftKey };
  });

  on(canvas, "pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    const former = touching.get(event.pointerId);
    if (former && touching.size === 2) pinch(event.pointerId, former, [x, y]);
    if (former) touching.set(event.pointerId, [x, y]);
    if (press) drag(x, y, former);
    else if (!touching.size && event.pointerType !== "touch") {
      const id = under(x, y);
      if (id !== map.current) show(id);
    }
  });

  const drag = (x, y, former) => {
    if (!press.moved && Math.hypot(x - press.x, y - press.y) < STILL) return;
    if (!press.moved) {
      press.moved = true;
      show(null);
      plot.classList.add("is-dragged");
      if (press.lasso) map.line = [map.toUnit(press.x, press.y)];
      else former = [press.x, press.y];
    }
    if (press.lasso) {
      map.line.push(map.toUnit(x, y));
      map.schedule();
    } else {
      const { camera } = map;
      const step = map.perPixel();
      camera.look(camera.x - (x - former[0]) * step, camera.y + (y - former[1]) * step, camera.zoom);
    }
  };

  // One of two fingers moved: the distance between them zooms, and the middle follows them.
  const pinch = (pointer, former, now) => {
    const [other] = [...touching].filter(([id]) => id !== pointer).map(([, place]) => place);
    const distance = (a) => Math.max(8, Math.hypot(a[0] - other[0], a[1] - other[1]));
    const middle = (a) => [(a[0] + other[0]) / 2, (a[1] + other[1]) / 2];
    const before = map.toUnit(...middle(former));
    map.camera.zoomAt(...before, distance(now) / distance(former));
    const after = map.toUnit(...middle(now));
    map.camera.look(map.camera.x + before[0] - after[0], map.camera.y + before[1] - after[1], map.camera.zoom);
  };

  let dragged = false; // whether the click that follows a release belongs to a drag
  const release = (event) => {
    if (!touching.delete(event.pointerId)) return;
    dragged = Boolean(press?.moved) || touching.size > 0;
    endPress(event.type === "pointerup");
  };
  on(canvas, "pointerup", release);
  on(canvas, "pointercancel", release);
  on(canvas, "pointerleave", () => map.current !== null && show(null));
  on(canvas, "blur", () => map.current !== null && show(null));

  on(canvas, "click", (event) => {
    if (dragged && event.detail) return void (dragged = false);
    const id = under(event.offsetX, event.offsetY);
    if (id !== null) open(id);
  });

  // A turn of the wheel that began elsewhere goes on scrolling the page; so does one that would shrink the whole map.
  const wheel = (event) => {
    const fresh = event.timeStamp - lastWheel.time > STREAM;
    const mine = fresh || event.ctrlKey || lastWheel.map === map;
    const idle = fresh && event.deltaY > 0 && map.camera.zoom === 1;
    lastWheel = { time: event.timeStamp, map: mine && !idle ? map : null };
    if (!lastWheel.map) return;
    event.preventDefault();
    map.camera.zoomAt(...map.toUnit(event.offsetX, event.offsetY), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
    show(under(event.offsetX, event.offsetY));
  };
  on(canvas, "wheel", wheel, { passive: false });
  const elsewhere = (event) => event.target.closest?.(".plot") || (lastWheel = { time: event.timeStamp, map: null });
  on(document, "wheel", elsewhere, { passive: true });

  const walk = ([down, right]) => {
    const next = map.current === null ? idsOf(map.space())[0] ?? 0 : geometry.neighbour(map.current, right, -down, passingNow());
    if (next === null) return;
    const [x, y] = map.at(next);
    if (x < 0 || y < 0 || x > map.width || y > map.height) {
      map.camera.look(geometry.points[2 * next], geometry.points[2 * next + 1], map.camera.zoom);
    }
    show(next, true);
  };

  on(canvas, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (ARROWS[key]) walk(ARROWS[key]);
    else if (key === "Enter") map.current !== null && open(map.current);
    else if (key === " ") map.current !== null && select((state.selection ?? new Set()).symmetricDifference(new Set([map.current])));
    else if (key === "+" || key === "=") map.camera.zoomBy(1.5);
    else if (key === "-") map.camera.zoomBy(1 / 1.5);
    else if (key === "0") map.camera.reset();
    else return;
    event.preventDefault();
    if (map.current !== null) tip.show(map.current);
  });

  heard("answer", () => show(null));
  carded(tip.element, () => show(map.current, document.activeElement === canvas));
};
