"""To sRGB, as a browser does it: through the profile that a picture brings, or by the numbers that it tells instead."""

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green, blue
#: by their numbers in H.273, as cICP of PNG and nclx of AVIF have them; others, PQ and HLG among them, are taken for sRGB
PRIMARIES = {
    1: SRGB,
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
GAMMAS = {1: 0.0, 4: 2.2, 5: 2.8, 6: 0.0, 8: 1.0, 13: 0.0, 14: 0.0, 15: 0.0}  # 0: the curve of sRGB
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # XYZ to cones
ROWS = 64  # of an image at a time: their light is held in float32


def to_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Convert L, RGB or CMYK to sRGB; plainly where nothing is told of its colours, or nothing that fits. RGB may be given back.

    Args:
        image: Without transparency.
        info: Pillow's, with ``cicp``, the two numbers, where the file has them. They go before an ICC profile, that before sRGB's
            mark, and this before gamma and chromaticities, as the standard of PNG says.
    """
    primaries, curve = info.get("cicp", (0, 0))
    profile = info.get("icc_profile")
    unfit = ImageCms.PyCMSError, OSError, ValueError, TypeError, ArithmeticError  # damaged, or not for these pixels
    with suppress(*unfit):
        if primaries in PRIMARIES and curve in GAMMAS:
            return _converted(image.convert("RGB"), PRIMARIES[primaries], GAMMAS[curve])
        if not profile and "srgb" not in info and "gamma" in info:
            gamma, told = 1 / info["gamma"], info.get("chromaticity", SRGB)
            # else nearly sRGB's, which is meant
            if abs(gamma - 2.2) > 0.05 or np.abs(np.subtract(told, SRGB)).max() > 0.01:
                return _converted(image.convert("RGB"), told, gamma)
        if isinstance(profile, bytes):
            converted = ImageCms.profileToProfile(
                image.convert("RGB") if image.mode == "L" and profile[16:20] == b"RGB " else image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,  # with black point compensation, as browsers do
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            assert converted is not None  # only in-place conversion returns None
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _converted(image: Image.Image, chromaticities: Sequence[float], gamma: float) -> Image.Image:
    """An RGB image of these primaries and this gamma in sRGB; relative to its white."""
    if (tuple(chromaticities), gamma) == (SRGB, 0.0):
        return image
    if not 0 <= gamma < 10:
        raise ValueError("no gamma")
    matrix = np.linalg.solve(_cones(SRGB), _cones(chromaticities)).T.astype(np.float32)
    level, light = np.linspace(0, 1, 256, dtype=np.float32), np.linspace(0, 1, 1 << 16)
    curve = level**gamma if gamma else np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    levels, pixels = np.rint(encoded * 255).astype(np.uint8), np.array(image)
    for part in (pixels[start : start + ROWS] for start in range(0, len(pixels), ROWS)):
        part[:] = levels[np.rint((curve[part] @ matrix).clip(0, 1) * 65535).astype(np.uint16)]
    return Image.fromarray(pixels)


def _cones(chromaticities: Sequence[float]) -> np.ndarray:
    """(3, 3) what red, green and blue give to each kind of cones, of what their white gives."""
    x, y = np.reshape(chromaticities, (4, 2)).T
    if not (y > 0.001).all():
        raise ValueError("no colours")
    white, *primaries = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1) @ BRADFORD.T
    rgb = np.stack(primaries, axis=1)
    return rgb * np.linalg.solve(rgb, white) / white[:, None]
