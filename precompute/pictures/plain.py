"""Plain views of one image, for contrastive self-supervision: same thing, other framing, surroundings and light.

A view keeps what was shown and changes how, by plain image operations; restyling is a family of its own and comes on top of
a plain view (see ``precompute.pictures``). No view needs to know what an image was made from, so the views carry no pairs.
"""

import hashlib

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

VIEW_SIZE = 256  # pixels; a little above the backbone's input, so that a view is never enlarged twice


def view_rng(seed: int, image_key: str, view: int) -> np.random.Generator:
    """A generator that depends on nothing but the seed, the image and the number of the view."""
    digest = hashlib.sha256(f"{seed}|{image_key}|{view}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def make_view(image: Image.Image, surroundings: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One random plain view: re-framed, in a third of cases set into another picture, relit, and sometimes soft or grainy.

    Args:
        image: RGB, any size.
        surroundings: another RGB image; in some views the first is shrunk and set into it.
        rng: from ``view_rng``.

    Returns:
        RGB, ``VIEW_SIZE`` square.
    """
    view = _reframe(image, rng)
    if rng.random() < 0.35:
        view = _set_into(view, _reframe(surroundings, rng), rng)
    return _soften(_relight(view, rng), rng)


def _reframe(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Crop 35 to 100 % of the area, turn by up to 20 degrees half of the time, mirror half of the time."""
    area, aspect = rng.uniform(0.35, 1.0), np.exp(rng.uniform(-0.25, 0.25))
    width = min(1.0, np.sqrt(area * aspect)) * image.width
    height = min(1.0, np.sqrt(area / aspect)) * image.height
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    view = image.resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.BICUBIC, (left, top, left + width, top + height))
    if rng.random() < 0.5:
        turned = view.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR)
        inset = VIEW_SIZE // 8  # cuts most of the empty corners away
        view = turned.crop((inset, inset, VIEW_SIZE - inset, VIEW_SIZE - inset)).resize((VIEW_SIZE, VIEW_SIZE))
    return ImageOps.mirror(view) if rng.random() < 0.5 else view


def _set_into(view: Image.Image, surroundings: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The view at 50 to 85 % of its size inside another picture, with a soft edge."""
    side = int(VIEW_SIZE * rng.uniform(0.5, 0.85))
    left, top = (int(rng.integers(0, VIEW_SIZE - side + 1)) for _ in range(2))
    mask = Image.new("L", (VIEW_SIZE, VIEW_SIZE), 0)
    mask.paste(255, (left, top, left + side, top + side))
    mask = mask.filter(ImageFilter.GaussianBlur(VIEW_SIZE * 0.03))
    inner = surroundings.copy()
    inner.paste(view.resize((side, side), Image.Resampling.BICUBIC), (left, top))
    return Image.composite(inner, surroundings, mask)


def _relight(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast, saturation, hue, white balance, a directional light; grey in 15 % of views."""
    if rng.random() < 0.15:
        view = ImageOps.grayscale(view).convert("RGB")
    else:
        view = ImageEnhance.Color(view).enhance(rng.uniform(0.3, 1.8))
        hue = np.asarray(view.convert("HSV")).copy()
        hue[..., 0] += np.uint8(rng.normal(0, 14) % 256)
        view = Image.fromarray(hue, "HSV").convert("RGB") if rng.random() < 0.6 else view
    view = ImageEnhance.Contrast(view).enhance(rng.uniform(0.6, 1.5))
    pixels = np.asarray(view, dtype=np.float32) / 255
    pixels = pixels ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.8, 1.2, 3)
    ramp = np.linspace(-1, 1, VIEW_SIZE)
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    light = 1 + depth * (np.cos(angle) * ramp[None, :, None] + np.sin(angle) * ramp[:, None, None])
    return Image.fromarray((np.clip(pixels * light, 0, 1) * 255).astype(np.uint8))


def _soften(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mild blur, mild grain, or neither, with equal odds."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return view.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))
    if kind == 1:
        noise = rng.normal(0, rng.uniform(4, 16), (VIEW_SIZE, VIEW_SIZE, 3))  # grey levels
        return Image.fromarray(np.clip(np.asarray(view) + noise, 0, 255).astype(np.uint8))
    return view
