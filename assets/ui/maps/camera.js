// What part of the shared frame the maps show: they have one camera, and move together.
import { clamp } from "../core/keys.js";

const MOST = 40; // times

export const makeCamera = () => {
  const heard = new Set();
  const camera = { x: 0.5, y: 0.5, zoom: 1 };

  // Centre in the unit frame, and how many times larger than the whole; kept so that the view never leaves the frame.
  camera.look = (x, y, zoom) => {
    const z = clamp(zoom, MOST, 1);
    const half = 0.5 / z;
    const [cx, cy] = [x, y].map((value) => clamp(value, 1 - half, half));
    if (cx === camera.x && cy === camera.y && z === camera.zoom) return;
    Object.assign(camera, { x: cx, y: cy, zoom: z });
    heard.forEach((listener) => listener());
  };

  // The place (x, y) stays where it is on the screen.
  camera.zoomAt = (x, y, factor) => {
    const zoom = clamp(camera.zoom * factor, MOST, 1);
    const ratio = camera.zoom / zoom;
    camera.look(x + (camera.x - x) * ratio, y + (camera.y - y) * ratio, zoom);
  };
  camera.zoomBy = (factor) => camera.zoomAt(camera.x, camera.y, factor);
  camera.reset = () => camera.look(0.5, 0.5, 1);
  camera.follow = (listener) => heard.add(listener);
  return camera;
};
