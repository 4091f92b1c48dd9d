"""Drawing: grounds for cut-outs, crops that mirror and turn, pasting into a scene, relighting. Pillow and numpy only.

Every function is deterministic: whatever chance decides is drawn beforehand and stands in the recipe.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Box = Sequence[float]  # left, top, right, bottom as fractions of the picture; may reach outside it
_MARGIN = 0.07  # of the longest side, around a cut-out
_MAX_UPSCALE = 2.4  # a stamp of 100 pixels does not fill the frame; beyond this it would only get blurred


def lay_on_ground(cutout: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    """Lay a cut-out on a plain, softly lit light ground.

    Args:
        cutout: RGBA.
        rng: Chooses the ground's colour and light.
        size: Longest side of the result, pixels.
    """
    free = size * (1 - 2 * _MARGIN)
    scale = min(free / max(cutout.size), _MAX_UPSCALE)
    drawn = cutout.resize((max(1, round(cutout.width * scale)), max(1, round(cutout.height * scale))), _LANCZOS)
    # Very long or tall things get a frame no slimmer than 5:8.
    width, height = size, size
    if drawn.width > drawn.height:
        height = round(min(size, max(size * 0.625, drawn.height + 2 * _MARGIN * size)))
    else:
        width = round(min(size, max(size * 0.625, drawn.width + 2 * _MARGIN * size)))
    base = rng.uniform(222, 246)
    colour = np.array([base + rng.uniform(-2, 6), base, base - rng.uniform(0, 12)])
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(6, 16)
    y, x = np.mgrid[0:height, 0:width]
    slope = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle)
    ground = _to_image(colour + depth * slope[..., None])
    corner = ((width - drawn.width) // 2, (height - drawn.height) // 2)
    ground.paste(drawn, corner, drawn.getchannel("A"))
    return ground


def fit(picture: Image.Image, size: int, aspect: float = 1.5) -> Image.Image:
    """Shrink to `size` on the longest side, first trimming both ends of a side longer than `aspect` times the other."""
    width, height = picture.size
    width_kept, height_kept = min(width, round(height * aspect)), min(height, round(width * aspect))
    left, top = (width - width_kept) // 2, (height - height_kept) // 2
    picture = picture.crop((left, top, left + width_kept, top + height_kept))
    scale = size / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), _LANCZOS)


def reframe(picture: Image.Image, box: Box, flip: bool, rotation: float, size: int) -> Image.Image:
    """Cut a box out of a picture, turned and mirrored; what lies outside is the picture's own reflection.

    Args:
        picture: RGB.
        box: What to cut, as fractions of the picture.
        flip: Mirror left and right.
        rotation: Degrees, anticlockwise, about the box's centre.
        size: Longest side of the result, pixels.
    """
    pad = max(picture.size) // 2
    values = np.pad(np.asarray(picture), ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    left, right = box[0] * picture.width, box[2] * picture.width
    top, bottom = box[1] * picture.height, box[3] * picture.height
    scale = max(right - left, bottom - top) / size  # source pixels per result pixel
    padded = Image.fromarray(values)
    if scale > 1.2:  # average first: an affine resampling alone would alias
        padded = padded.filter(ImageFilter.GaussianBlur(0.45 * scale))
    width, height = max(1, round((right - left) / scale)), max(1, round((bottom - top) / scale))
    turn = math.radians(rotation)
    cos, sin, mirror = scale * math.cos(turn), scale * math.sin(turn), -1 if flip else 1
    centre_x, centre_y = (left + right) / 2 + pad, (top + bottom) / 2 + pad
    # Result (u, v) about its centre -> source: mirror, turn, scale, move.
    a, b = mirror * cos, -sin
    d, e = mirror * sin, cos
    c = centre_x - a * width / 2 - b * height / 2
    f = centre_y - d * width / 2 - e * height / 2
    return padded.transform((width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)


def paste_in_scene(cutout: Image.Image, scene: Image.Image, placing: Mapping[str, Any]) -> Image.Image:
    """Paste a cut-out into a scene with a soft edge, a soft shadow, and part of the scene's light.

    Args:
        cutout: RGBA.
        scene: RGB, already at the result's size.
        placing: `scale` (longest side of the thing over the scene's shorter side), `rotation` (degrees), `flip`,
            `centre` (fractions of the scene), `shadow` (0..1), `light` (0..1: how much of the scene's light it takes).
    """
    thing = ImageOps.mirror(cutout) if placing["flip"] else cutout
    factor = placing["scale"] * min(scene.size) / max(thing.size)
    thing = thing.resize((max(2, round(thing.width * factor)), max(2, round(thing.height * factor))), _LANCZOS)
    thing = thing.rotate(placing["rotation"], Image.Resampling.BICUBIC, expand=True)
    alpha = thing.getchannel("A").filter(ImageFilter.GaussianBlur(0.7))
    left = round(placing["centre"][0] * scene.width - thing.width / 2)
    top = round(placing["centre"][1] * scene.height - thing.height / 2)
    mask = Image.new("L", scene.size, 0)
    mask.paste(alpha, (left, top))
    shadow = Image.new("L", scene.size, 0)
    drop = max(2, round(0.025 * min(scene.size)))
    shadow.paste(alpha, (left + drop, top + 2 * drop))
    shadow = shadow.filter(ImageFilter.GaussianBlur(2.0 * drop))

    back = np.asarray(scene, dtype=np.float32)
    back = back * (1 - placing["shadow"] * np.asarray(shadow, dtype=np.float32)[..., None] / 255)
    layer = Image.new("RGB", scene.size)
    layer.paste(thing.convert("RGB"), (left, top))
    front = np.asarray(layer, dtype=np.float32)
    cover = np.asarray(mask, dtype=np.float32)[..., None] / 255
    covered = cover[..., 0] > 0.5
    if covered.any():
        gain = (back[covered].mean(0) + 40) / (front[covered].mean(0) + 40)
        front = front * np.clip(gain, 0.6, 1.5) ** placing["light"]
    return _to_image(back * (1 - cover) + front * cover)


def rephotograph(picture: Image.Image, look: Mapping[str, Any], noise: np.random.Generator) -> Image.Image:
    """Take the same picture again: other light, other white balance, other sharpness, a little grain and compression.

    Args:
        picture: RGB.
        look: `gamma`, `light` (depth of a light gradient, 0..1) and `light_angle` (degrees), `white_balance` (gains of
            red, green, blue), `saturation`, `hue` (degrees), `sharpness` (1 leaves it), `grain` (grey levels),
            `jpeg` (quality), `keystone` (how far four corners move, fractions).
        noise: Makes the grain.
    """
    width, height = picture.size
    k = look["keystone"]
    corners = [(k[0] * width, k[1] * height), (k[2] * width, (1 - k[3]) * height)]
    corners += [((1 - k[4]) * width, (1 - k[5]) * height), ((1 - k[6]) * width, k[7] * height)]
    flat = [value for corner in corners for value in corner]
    picture = picture.transform(picture.size, Image.Transform.QUAD, flat, Image.Resampling.BICUBIC)
    if look["hue"]:
        h, s, v = picture.convert("HSV").split()
        h = h.point(lambda value: (value + round(look["hue"] * 255 / 360)) % 256)
        picture = Image.merge("HSV", (h, s, v)).convert("RGB")
    picture = ImageEnhance.Color(picture).enhance(look["saturation"])
    picture = ImageEnhance.Sharpness(picture).enhance(look["sharpness"])
    values = (np.asarray(picture, dtype=np.float32) / 255) ** look["gamma"]
    angle = math.radians(look["light_angle"])
    y, x = np.mgrid[0:height, 0:width]
    slope = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle)
    values = values * (1 + look["light"] * slope[..., None]) * np.asarray(look["white_balance"], dtype=np.float32)
    values = values * 255 + noise.normal(0, 1, (height, width, 1)) * look["grain"]
    stream = io.BytesIO()
    _to_image(values).save(stream, "JPEG", quality=look["jpeg"])
    return Image.open(stream).convert("RGB")


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(values, 0, 255) + 0.5).astype(np.uint8))


_LANCZOS = Image.Resampling.LANCZOS
