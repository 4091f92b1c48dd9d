"""Three families of edits: set into another picture, photographed again, and a near copy. The style stays the picture's own.

What every family draws first is here as well: a random crop, turned and mirrored, at the size that the family works at.
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from precompute.demo.drawing import draw_look, fit, reframe, rephotograph

MADE_SIZE = 256  # pixels on the longest side of a synthetic image, as in AbC-mini
_MAX_ASPECT = 3.0  # a strip is trimmed to this, so that there is room for a brush across it


def draw_frame(
    image: Image.Image, rng: np.random.Generator, low: float, high: float, rotation: float, size: int = MADE_SIZE
) -> Image.Image:
    """A random part of a picture, mirrored half of the time.

    Args:
        image: RGB, any size.
        rng: decides where.
        low: smallest side of the part, as a fraction of the picture's.
        high: largest.
        rotation: turned by up to this many degrees either way.
        size: longest side of the result, pixels.
    """
    side = rng.uniform(low, high)
    left, top = rng.uniform(0, 1 - side), rng.uniform(0, 1 - side)
    flip, turn = bool(rng.random() < 0.5), rng.uniform(-rotation, rotation)
    image = fit(image, max(image.size), _MAX_ASPECT)
    return reframe(image, (left, top, left + side, top + side), flip, turn, size)


def render_composite(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture at 55 to 85 % of another one's shorter side, inside a soft ellipse or rectangle, set into that other one."""
    backdrop = draw_frame(other, rng, 0.55, 0.95, rotation=4)
    inset = draw_frame(image, rng, 0.8, 1.0, rotation=12)
    scale = rng.uniform(0.55, 0.85) * min(backdrop.size) / max(inset.size)
    inset = inset.resize((int(inset.width * scale), int(inset.height * scale)), Image.Resampling.LANCZOS)
    edge = max(2, int(0.06 * min(inset.size)))
    mask = Image.new("L", inset.size, 0)
    pen = ImageDraw.Draw(mask)
    shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
    shape((edge, edge, inset.width - edge, inset.height - edge), fill=255)
    left, top = (int(rng.uniform(0, space)) for space in np.subtract(backdrop.size, inset.size))
    backdrop.paste(inset, (left, top), mask.filter(ImageFilter.GaussianBlur(0.6 * edge)))
    return backdrop


def render_photometric(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture taken again: other light, white balance, sharpness, corner and compression, as AbC-mini's `photo` queries."""
    look = draw_look(rng.uniform, rng)
    return rephotograph(draw_frame(image, rng, 0.78, 1.0, rotation=6), look, rng)


def render_near_copy(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture itself, cropped by at most 15 %, at half to a little over the usual size, with visible compression."""
    size = int(rng.integers(MADE_SIZE // 2, 300))
    copy = draw_frame(image, rng, 0.85, 1.0, rotation=0, size=size)
    stream = io.BytesIO()
    copy.save(stream, "JPEG", quality=int(rng.integers(25, 80)))
    return Image.open(stream).convert("RGB")
