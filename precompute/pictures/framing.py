"""What every family draws first: a random crop, turned and mirrored, at the size that the family works at."""

import numpy as np
from PIL import Image

from precompute.demo.drawing import fit, reframe

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
