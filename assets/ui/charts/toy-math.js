// The toy's arithmetic, in second order and in closed form; tests/browser/test_why.py does it again in numpy.
//
// Pictures are points in the plane. A source has two traits: a quiet one along one direction, and one along a second direction that
// is loud and that rendering blurs. Views of a picture keep its traits and draw the rendering anew; real and synthetic pictures of a
// source share its traits and nothing else. The maths never sees which belong together: it uses
//   N  the covariance of views about their own picture's mean,    C  that of all views about their domain's mean.
// With one map W for both domains, the two terms of aad/method/losses.py are weighed against each other:
//   minimise  tr(W N W') - 2 weight log|det W|    subject to  tr(W C W') = 2.
// The constraint stands in for unit length: a contrastive loss compares directions, so it cannot win by shrinking everything.
// In the basis u of the generalised eigenvectors, N u = r C u with u' C u = 1, the least is at  W'W = sum_i p_i u_i u_i'  with powers
//   p_i = weight / (r_i + m),  m such that p_1 + p_2 = 2:   m^2 + (r_1 + r_2 - weight) m + r_1 r_2 - weight (r_1 + r_2) / 2 = 0.
// Weight 0 is alignment alone: all power goes to the steadiest direction, and two dimensions collapse into one. Where m = 0,
// W'W is a multiple of N^-1: both terms in balance, as in aad/method/losses.py. A large weight is Infomax alone, W'W = C^-1: white.
// Of all W with this W'W the symmetric root is taken, which turns nothing.

export const SOURCES = 16;
const VIEWS = 8; // of each picture; the first is the picture itself
const QUIET = { angle: 118, trait: 0.4, rendering: 0.04 }; // degrees and standard deviations
const LOUD = { angle: 28, trait: 1.8, rendering: 0.8 };
const OFFSET = [2.6, 1.1]; // what all synthetic points have in common
const LEAST = 0.0003; // the slider's scale: weight = LEAST (e^(GROWTH t) - 1), 0 at its left end and 2 at its right
const GROWTH = Math.log1p(2 / LEAST);

const normals = (seed) => {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0; // mulberry32
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
};
const axis = ({ angle }) => [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];

// {real, synthetic}: per source its views, [x, y] each.
export const drawPictures = (seed) => {
  const normal = normals(seed);
  const [quiet, loud] = [axis(QUIET), axis(LOUD)];
  const traits = Array.from({ length: SOURCES }, () => [QUIET.trait * normal(), LOUD.trait * normal()]);
  const views = (offset) =>
    traits.map(([first, second]) => Array.from({ length: VIEWS }, () => {
      const [a, b] = [first + QUIET.rendering * normal(), second + LOUD.rendering * normal()];
      return [a * quiet[0] + b * loud[0] + offset[0], a * quiet[1] + b * loud[1] + offset[1]];
    }),
    );
  return { real: views([-OFFSET[0] / 2, -OFFSET[1] / 2]), synthetic: views([OFFSET[0] / 2, OFFSET[1] / 2]) };
};

export const meanOf = (points) => [0, 1].map((i) => points.reduce((sum, point) => sum + point[i], 0) / points.length);
const less = (points, centre) => points.map(([x, y]) => [x - centre[0], y - centre[1]]);
const squares = (points, n) => points.reduce(([a, b, c], [x, y]) => [a + (x * x) / n, b + (x * y) / n, c + (y * y) / n], [0, 0, 0]);

// Symmetric 2 x 2 matrices are [a, b, c], for [[a, b], [b, c]].
export const momentsOf = (data) => {
  const domains = [data.real, data.synthetic];
  const within = domains.flatMap((images) => images.flatMap((views) => less(views, meanOf(views))));
  const all = domains.flatMap((images) => less(images.flat(), meanOf(images.flat())));
  return { nuisance: squares(within, (within.length * (VIEWS - 1)) / VIEWS), covariance: squares(all, all.length) };
};

export const eigenOf = ([a, b, c]) => {
  const [middle, reach] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
  const turn = Math.atan2(2 * b, a - c) / 2;
  const first = [Math.cos(turn), Math.sin(turn)];
  return { values: [middle - reach, middle + reach], vectors: [[-first[1], first[0]], first] };
};

// Generalised eigenvectors of N u = r C u, steadiest first, through the Cholesky factor of C.
const directions = ({ nuisance: [a, b, c], covariance: [p, q, s] }) => {
  const [l, k] = [Math.sqrt(p), q / Math.sqrt(p)];
  const h = Math.sqrt(s - k * k);
  const first = [a / (l * l), (b / l - (k * a) / (l * l)) / h];
  const inner = [first[0], first[1], (c - 2 * k * (b / l) + (k * k * a) / (l * l)) / (h * h)];
  const { values, vectors } = eigenOf(inner);
  return { ratios: values, basis: vectors.map(([x, y]) => [(x - (k * y) / h) / l, y / h]) };
};

export const solveMap = (found, weight) => {
  const { ratios, basis } = directions(found);
  const [sum, product] = [ratios[0] + ratios[1], ratios[0] * ratios[1]];
  const b = sum - weight;
  const m = (-b + Math.sqrt(b * b - 4 * (product - (weight * sum) / 2))) / 2; // the larger root keeps both powers positive
  const powers = weight === 0 ? [2, 0] : ratios.map((ratio) => weight / (ratio + m));
  const [a, bb, c] = powers.reduce(([x, y, z], power, i) => [x + power * basis[i][0] ** 2, y + power * basis[i][0] * basis[i][1], z + power * basis[i][1] ** 2], [0, 0, 0]);
  const root = Math.sqrt(Math.max(0, a * c - bb * bb));
  const scale = Math.sqrt(a + c + 2 * root);
  return { map: [(a + root) / scale, bb / scale, (c + root) / scale], powers, ratios };
};

const apply = ([a, b, c], points) => points.map(([x, y]) => [a * x + b * y, b * x + c * y]);
export const mapMatrix = ([a, b, c], [p, q, r]) => [a * a * p + 2 * a * b * q + b * b * r, a * b * p + (a * c + b * b) * q + b * c * r, b * b * p + 2 * b * c * q + c * c * r];

// For each synthetic point the nearest real one; points of one source have the same place in both lists.
const nearest = (real, synthetic) =>
  synthetic.map(([x, y]) => real.reduce((best, [u, v], i) => ((u - x) ** 2 + (v - y) ** 2 < best[1] ? [i, (u - x) ** 2 + (v - y) ** 2] : best), [-1, Infinity])[0]);

export const embedPictures = (data, map) => {
  const side = (images) => mapPoints(pictures(images), images, map);
  return matched(side(data.real), side(data.synthetic));
};
// Points of both domains, for each synthetic one the real one found, and how many of these are right.
const matched = (real, synthetic) => {
  const found = nearest(real, synthetic);
  return { real, synthetic, found, share: found.filter((i, j) => i === j).length / found.length };
};
const pictures = (images) => images.map(([picture]) => picture);

// The same as drawn, before any map.
export const rawPictures = ({ real, synthetic }) => matched(pictures(real), pictures(synthetic));

// Points of one domain as the map takes them, around the centre of all its views.
export const mapPoints = (points, images, map) => apply(map, less(points, meanOf(images.flat())));

// The slider's scale and back, and the weight where m = 0: the harmonic mean of the ratios.
export const weightAt = (t) => LEAST * Math.expm1(GROWTH * t);
export const placeOf = (weight) => Math.log1p(weight / LEAST) / GROWTH;
export const balanceOf = ([first, second]) => 2 / (1 / first + 1 / second);
