// A sheet of two by two pictures, as generators often give their answers: noticed by the two seams that cross in its middle.
const SIDE = 384; // pixels of the longer side, as looked at
const GUTTER = 0.02; // the seam may lie so far from the middle
const LEAD = 0.8; // its step is at least so much of the largest one elsewhere
const SHARE = 0.3; // of the lines, at least so many break at it

const middle = (values) => values.toSorted()[values.length >> 1];

// Whether lines of n grey values each, m of them, break at one place near the middle.
const hasSeam = (grey, n, m) => {
  const total = new Float64Array(n - 1);
  const usual = new Float64Array(m);
  const step = (i, j) => Math.abs(grey(i + 1, j) - grey(i, j));
  for (let j = 0; j < m; j++) {
    const steps = Float64Array.from(total, (_, i) => step(i, j));
    steps.forEach((one, i) => (total[i] += one));
    usual[j] = middle(steps);
  }
  const reach = Math.max(1, Math.round(n * GUTTER));
  const [from, to] = [(n >> 1) - 1 - reach, (n >> 1) + reach];
  const near = total.subarray(from, to);
  const at = from + near.indexOf(Math.max(...near));
  const elsewhere = Math.max(...total.subarray(0, from), ...total.subarray(to));
  const broken = usual.reduce((sum, one, j) => sum + (step(at, j) > 4 * one + 8), 0);
  return total[at] > LEAD * elsewhere && broken > SHARE * m;
};

const drawn = (image, [x, y, width, height], scale = 1) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
};

// The four pictures of a sheet as canvases, row by row; null when it is one picture.
export const tilesOf = async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const small = drawn(image, [0, 0, width, height], Math.min(1, SIDE / Math.max(width, height)));
  const { width: w, height: h } = small;
  if (Math.min(w, h) < SIDE / 4) return null;
  const { data } = small.getContext("2d").getImageData(0, 0, w, h);
  const grey = Float64Array.from({ length: w * h }, (_, i) => 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]);
  if (!hasSeam((i, j) => grey[j * w + i], w, h) || !hasSeam((i, j) => grey[i * w + j], h, w)) return null;
  const [halfWidth, halfHeight] = [width / 2, height / 2];
  return [0, 1, 2, 3].map((i) => drawn(image, [(i % 2) * halfWidth, (i >> 1) * halfHeight, halfWidth, halfHeight]));
};
