// What part of the shared frame a map shows. Maps that hold one camera move together.

const MOST = 40; // times

export const makeCamera = () => {
  const heard = new Set();
  const camera = { x: 0.5, y: 0.5, zoom: 1 };

  // Centre in the unit frame, and how many times larger than the whole; kept so that the view never leaves the frame.
  camera.look = (x, y, zoom) => {
    const z = Math.max(1, Math.min(MOST, zoom));
    const half = 0.5 / z;
    const within = (value) => Math.max(half, Math.min(1 - half, value));
    const [cx, cy] = [within(x), within(y)];
    if (cx === camera.x && cy === camera.y && z === camera.zoom) return;
    Object.assign(camera, { x: cx, y: cy, zoom: z });
    heard.forEach((listener) => listener());
  };

  // The place (x, y) stays where it is on the screen.
  camera.zoomAt = (x, y, factor) => {
    const zoom = Math.max(1, Math.min(MOST, camera.zoom * factor));
    const ratio = camera.zoom / zoom;
    camera.look(x + (camera.x - x) * ratio, y + (camera.y - y) * ratio, zoom);
  };
  camera.zoomBy = (factor) => camera.zoomAt(camera.x, camera.y, factor);
  camera.reset = () => camera.look(0.5, 0.5, 1);
  camera.follow = (listener) => heard.add(listener);
  camera.leave = (listener) => heard.delete(listener);
  return camera;
};
