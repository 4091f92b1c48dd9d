// Movement in time. Where motion is not wanted, everything is at once where it would arrive.

export const isCalm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

// From one number to another in so many milliseconds, slow at both ends. `step` hears the number, and at last true; returns what halts.
export const glide = (from, to, time, step) => {
  if (isCalm() || from === to) {
    step(to, true);
    return () => {};
  }
  const began = performance.now();
  let frame = null;
  const go = (now) => {
    const share = Math.max(0, Math.min(1, (now - began) / time));
    if (share < 1) frame = requestAnimationFrame(go);
    step(share === 1 ? to : from + (to - from) * (share < 0.5 ? 2 * share * share : 1 - 2 * (1 - share) ** 2), share === 1);
  };
  frame = requestAnimationFrame(go);
  return () => cancelAnimationFrame(frame);
};
