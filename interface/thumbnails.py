"""Pictures small enough to travel inside a page: as data addresses, and a map of points drawn once."""

import base64
import io
import os

import numpy as np
from PIL import Image, ImageDraw

from interface.decoder import decoded

MAP_SIDE = 480  # pixels of a drawn map, twice of what a page shows
MAP_PAD = 24


def data_uri(picture: Image.Image | str | os.PathLike[str], side: int) -> str:
    """A picture as a WebP data address, scaled down where it is larger.

    Args:
        picture: PIL image or path.
        side: Longest side allowed, in pixels.

    Raises:
        ImageError: The picture cannot be read.

    >>> data_uri(Image.new("RGB", (40, 20)), 16)[:23]
    'data:image/webp;base64,'
    """
    image = decoded(picture).copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _encode(image, "webp", quality=82, method=4)


def map_uri(coordinates: np.ndarray, colour: tuple[int, int, int]) -> str:
    """(n, 2) coordinates in the unit square, y upwards, as dots on a transparent PNG of `MAP_SIDE` pixels."""
    image = Image.new("RGBA", (MAP_SIDE, MAP_SIDE))
    draw = ImageDraw.Draw(image)
    radius = float(np.clip(70 / np.sqrt(max(1, len(coordinates))), 1.0, 4.0))
    for x, y in map_places(coordinates).tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 150))
    return _encode(image, "png", optimize=True)


def map_places(coordinates: np.ndarray) -> np.ndarray:
    """(..., 2) coordinates in the unit square as pixels of a drawn map, y downwards."""
    unit = np.clip(np.asarray(coordinates, dtype=np.float64), 0.0, 1.0)
    span = MAP_SIDE - 2 * MAP_PAD
    return np.stack([MAP_PAD + unit[..., 0] * span, MAP_SIDE - MAP_PAD - unit[..., 1] * span], axis=-1)


def _encode(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
