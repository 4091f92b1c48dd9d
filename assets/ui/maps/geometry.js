// Places of points in the unit square (y upwards) and questions about them, answered from a grid of cells.

// points: Float32Array of x0, y0, x1, y1 ...; whoever moves them calls `moved`, and the next question sorts them into cells anew.
export const makeGeometry = (points) => {
  const n = points.length / 2;
  const side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(n / 2))));
  const starts = new Uint32Array(side * side + 1);
  const ids = new Uint32Array(n);
  const fill = new Uint32Array(side * side);
  let sorted = false;

  const clamp = (value) => Math.max(0, Math.min(side - 1, Math.floor(value * side)));
  const cellOf = (id) => clamp(points[2 * id + 1]) * side + clamp(points[2 * id]);

  const sort = () => {
    starts.fill(0);
    for (let id = 0; id < n; id++) starts[cellOf(id) + 1]++;
    for (let cell = 0; cell < side * side; cell++) starts[cell + 1] += starts[cell];
    fill.set(starts.subarray(0, side * side));
    for (let id = 0; id < n; id++) ids[fill[cellOf(id)]++] = id;
    sorted = true;
  };

  // Calls `visit(id, x, y)` for every point in the cells that a box touches.
  const around = (left, right, low, high, visit) => {
    if (!sorted) sort();
    const [first, last] = [clamp(left), clamp(right)];
    for (let row = clamp(low); row <= clamp(high); row++) {
      const end = starts[row * side + last + 1];
      for (let i = starts[row * side + first]; i < end; i++) visit(ids[i], points[2 * ids[i]], points[2 * ids[i] + 1]);
    }
  };

  // The point closest to a place, within `reach`; only those with a 1 in `passing`, when it is given.
  const nearest = (x, y, reach, passing = null) => {
    let best = null;
    let least = reach * reach;
    around(x - reach, x + reach, y - reach, y + reach, (id, px, py) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least && (!passing || passing[id])) [best, least] = [id, distance];
    });
    return best;
  };

  // The closest point that lies within 45 degrees of a direction.
  const neighbour = (id, dx, dy, passing = null) => {
    const [x, y] = [points[2 * id], points[2 * id + 1]];
    let best = null;
    let least = Infinity;
    for (let other = 0; other < n; other++) {
      const [ox, oy] = [points[2 * other] - x, points[2 * other + 1] - y];
      const along = ox * dx + oy * dy;
      const across = Math.abs(ox * dy) + Math.abs(oy * dx);
      if (along <= 1e-5 || across > along || (passing && !passing[other])) continue;
      const distance = along + 2 * across;
      if (distance < least) [best, least] = [other, distance];
    }
    return best;
  };

  // Set of the points inside a closed line [[x, y], ...]; where it crosses itself, odd windings count as inside.
  const inside = (line, passing = null) => {
    const [xs, ys] = [line.map(([x]) => x), line.map(([, y]) => y)];
    const found = new Set();
    around(Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys), (id, x, y) => {
      let odd = false;
      for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
        if (ys[i] > y === ys[j] > y) continue;
        if (x < xs[i] + ((y - ys[i]) / (ys[j] - ys[i])) * (xs[j] - xs[i])) odd = !odd;
      }
      if (odd && (!passing || passing[id])) found.add(id);
    });
    return found;
  };

  return { points, n, nearest, neighbour, inside, moved: () => (sorted = false) };
};
