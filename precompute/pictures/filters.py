"""One family of classical painterly filters: no network, only local averages, lines, cells and palettes.

Brushes and screens have widths in pixels, meant for pictures of about 256 on the longest side.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps


def kuwahara(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Oil paint: each pixel takes the mean of whichever of the four windows that meet in it varies least."""
    radius = int(rng.integers(4, 8))
    values = np.pad(np.asarray(picture, np.float32), ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    grey = values.mean(2)
    means, variances = _window_means(values, radius + 1), _window_means(grey**2, radius + 1)
    variances -= _window_means(grey, radius + 1) ** 2
    height, width = picture.height, picture.width
    painted, least = np.zeros((height, width, 3)), np.full((height, width), np.inf)
    for top in (0, radius):
        for left in (0, radius):
            window = np.s_[top : top + height, left : left + width]
            calmer = variances[window] < least
            painted[calmer], least[calmer] = means[window][calmer], variances[window][calmer]
    return _to_image(painted)


def strokes(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Short brush strokes along the edges, over a blurred ground."""
    n_strokes, length, width = int(rng.integers(1200, 3000)), rng.uniform(10, 22), rng.uniform(3, 7)
    paint = np.asarray(picture.filter(ImageFilter.GaussianBlur(2)), np.float32)
    soft = np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(4)), np.float32)
    slope_y, slope_x = np.gradient(soft, axis=0), np.gradient(soft, axis=1)
    y, x = rng.integers(picture.height, size=n_strokes), rng.integers(picture.width, size=n_strokes)
    angle = np.arctan2(slope_y[y, x], slope_x[y, x]) + np.pi / 2 + rng.normal(0, 0.3, n_strokes)
    reach = length * rng.uniform(0.5, 1.3, n_strokes) / 2
    across, down = np.cos(angle) * reach, np.sin(angle) * reach
    lines = np.stack([x - across, y - down, x + across, y + down], 1).tolist()
    colours = np.clip(paint[y, x] + rng.normal(0, 14, (n_strokes, 3)), 0, 255).astype(int).tolist()
    widths = np.maximum(1, width * rng.uniform(0.6, 1.4, n_strokes)).astype(int).tolist()
    canvas = picture.filter(ImageFilter.GaussianBlur(12))
    pen = ImageDraw.Draw(canvas)
    for line, colour, stroke_width in zip(lines, colours, widths, strict=True):
        pen.line(line, fill=tuple(colour), width=stroke_width)
    return canvas


def pencil(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Pencil on paper: grey divided by its own blur leaves the edges; then grain and two colours."""
    grey = ImageOps.grayscale(picture)
    blurred = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(rng.uniform(4, 10)))
    shade = np.asarray(grey, np.float32) / (256 - np.asarray(blurred, np.float32))  # 256: never zero
    shade = 255 * np.clip(shade, 0, 1) ** rng.uniform(1.5, 4) + rng.normal(0, 10, shade.shape)
    return ImageOps.colorize(_to_image(shade), _colour(rng, 0, 90), _colour(rng, 215, 256))


def mosaic(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cells around random points, each in its mean colour."""
    from scipy.spatial import cKDTree

    height, width = picture.height, picture.width
    n_cells = int(rng.integers(900, 2200))
    points = rng.uniform(0, 1, (n_cells, 2)) * (height, width)
    _, cells = cKDTree(points).query(np.indices((height, width)).reshape(2, -1).T)
    values = np.asarray(picture, np.float32).reshape(-1, 3)
    sums = np.stack([np.bincount(cells, values[:, channel], n_cells) for channel in range(3)], 1)
    means = sums / np.maximum(1, np.bincount(cells, minlength=n_cells))[:, None]  # a cell may hold no pixel
    return _to_image(means[cells].reshape(height, width, 3))


def halftone(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Printed dots or lines in two colours, at times over the picture's own; the screen has twice the resolution."""
    grey = ImageOps.grayscale(picture).resize((2 * picture.width, 2 * picture.height))
    y, x = np.indices((grey.height, grey.width))
    angle, frequency = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(8, 13)
    along = np.cos((x * np.cos(angle) + y * np.sin(angle)) * frequency)
    across = np.cos((y * np.cos(angle) - x * np.sin(angle)) * frequency)
    screen = (along + across + 2) / 4 if rng.random() < 0.5 else (along + 1) / 2
    dots = _to_image(255 * (np.asarray(grey, np.float32) / 255 > screen)).resize(picture.size, Image.Resampling.BICUBIC)
    printed = ImageOps.colorize(dots, _colour(rng, 0, 90), _colour(rng, 200, 256))
    return Image.blend(printed, ImageChops.multiply(printed, picture), rng.uniform(0, 0.6))


def cartoon(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """6 to 13 flat colours with black outlines."""
    flat = picture.filter(ImageFilter.MedianFilter(5)).quantize(int(rng.integers(6, 14)), dither=Image.Dither.NONE)
    edges = ImageOps.grayscale(picture.filter(ImageFilter.GaussianBlur(1.2))).filter(ImageFilter.FIND_EDGES)
    outlines = edges.point(lambda level: 0 if level > 22 else 255).convert("RGB").filter(ImageFilter.GaussianBlur(0.6))
    return ImageChops.multiply(ImageEnhance.Color(flat.convert("RGB")).enhance(rng.uniform(0.8, 1.8)), outlines)


def palette_swap(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Oil paint whose greys are read off a scale of five random colours, dark to light."""
    palette = rng.integers(0, 256, (5, 3)).astype(np.float32)
    palette = palette[palette.mean(1).argsort()]
    grey = np.asarray(ImageOps.grayscale(kuwahara(picture, rng)), np.float32) / 255 * 4
    return _to_image(np.stack([np.interp(grey, range(5), palette[:, channel]) for channel in range(3)], 2))


def broad_brush(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Flat touches: the commonest colour of a small neighbourhood, at half size."""
    return _at_half_size(picture, ImageFilter.ModeFilter(int(rng.choice([3, 5]))))


def poster(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Flat areas: medians, then 4 to 16 levels a channel."""
    flat = _at_half_size(picture, ImageFilter.MedianFilter(int(rng.choice([3, 5]))))
    return ImageOps.posterize(flat, int(rng.integers(2, 5)))


def engraving(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contours as dark lines on light paper, partly over the picture."""
    edges = ImageOps.grayscale(picture.filter(ImageFilter.CONTOUR)).filter(ImageFilter.SMOOTH)
    lines = ImageOps.colorize(ImageOps.invert(edges), _colour(rng, 180, 256), _colour(rng, 0, 90))
    return Image.blend(picture, lines, rng.uniform(0.3, 0.8))


def tint(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Three random colours for dark, middle and light, partly over the picture."""
    toned = ImageOps.colorize(
        ImageOps.grayscale(picture), _colour(rng, 0, 100), _colour(rng, 160, 256), mid=_colour(rng, 60, 200)
    )
    return Image.blend(picture, toned, rng.uniform(0.4, 0.9))


Filter = Callable[[Image.Image, np.random.Generator], Image.Image]
FILTERS: tuple[Filter, ...] = (
    kuwahara,
    strokes,
    pencil,
    mosaic,
    halftone,
    cartoon,
    palette_swap,
    broad_brush,
    poster,
    engraving,
    tint,
)


def draw_filter(rng: np.random.Generator) -> Filter:
    """One of them."""
    return FILTERS[int(rng.integers(len(FILTERS)))]


def _window_means(values: np.ndarray, size: int) -> np.ndarray:
    """Means of all size x size windows of an (h, w, ...) array, by a summed-area table: (h - size + 1, w - size + 1, ...)."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1, *values.shape[2:]))
    sums[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    table = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return table / size**2


def _at_half_size(picture: Image.Image, brush: ImageFilter.Filter) -> Image.Image:
    """The same brush for a quarter of the work."""
    half = (max(1, picture.width // 2), max(1, picture.height // 2))
    return picture.resize(half, Image.Resampling.BOX).filter(brush).resize(picture.size, Image.Resampling.BICUBIC)


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(low, high, 3))
    return red, green, blue


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
