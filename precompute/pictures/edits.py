"""Three families of edits: set into another picture, photographed again, and a near copy. The style stays the picture's own."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from precompute.demo.drawing import rephotograph

from .framing import MADE_SIZE, draw_frame


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
    look = {
        "gamma": rng.uniform(0.7, 1.4),
        "light": rng.uniform(0.2, 0.8),
        "light_angle": rng.uniform(0, 360),
        "white_balance": [rng.uniform(0.84, 1.14), rng.uniform(0.94, 1.04), rng.uniform(0.80, 1.16)],
        "saturation": rng.uniform(0.6, 1.4),
        "hue": rng.uniform(-9, 9),
        "sharpness": rng.uniform(0.2, 2.2),
        "grain": rng.uniform(0, 6),
        "jpeg": int(rng.integers(55, 90)),
        "keystone": rng.uniform(0, 0.07, 8),
    }
    return rephotograph(draw_frame(image, rng, 0.78, 1.0, rotation=6), look, rng)


def render_near_copy(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture itself, cropped by at most 15 %, at half to a little over the usual size, with visible compression."""
    size = int(rng.integers(MADE_SIZE // 2, 300))
    copy = draw_frame(image, rng, 0.85, 1.0, rotation=0, size=size)
    stream = io.BytesIO()
    copy.save(stream, "JPEG", quality=int(rng.integers(25, 80)))
    return Image.open(stream).convert("RGB")
