"""To sRGB, as a browser does it: through the profile that a picture brings, or one made of the numbers that it tells instead."""

import io
import struct
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
D50 = np.array([0.9642, 1.0, 0.8249])  # white of every profile
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Convert L, RGB or CMYK to sRGB; plainly where nothing is told of its colours, or nothing that fits.

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
            profile = _profile(PRIMARIES[primaries], GAMMAS[curve])
        elif not profile and "srgb" not in info and "gamma" in info:
            gamma, told = 1 / info["gamma"], info.get("chromaticity", SRGB)
            # else nearly sRGB's, which is meant
            if abs(gamma - 2.2) > 0.05 or np.abs(np.subtract(told, SRGB)).max() > 0.01:
                profile = _profile(told, gamma)
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
    return image.convert("RGB")


def _profile(chromaticities: Sequence[float], gamma: float) -> bytes | None:
    """An ICC profile of these primaries and this gamma; None where they are sRGB's."""
    if (tuple(chromaticities), gamma) == (SRGB, 0.0):
        return None
    x, y = np.reshape(chromaticities, (4, 2)).T
    if not (y > 0.001).all() or not 0 <= gamma < 10:
        raise ValueError("no colours")
    white, *primaries = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    rgb = np.stack(primaries, axis=1)
    rgb = rgb * np.linalg.solve(rgb, white)
    adapted = np.linalg.solve(BRADFORD, (BRADFORD @ D50 / (BRADFORD @ white))[:, None] * (BRADFORD @ rgb))
    steps = np.linspace(0, 1, 4096)
    curve = steps**gamma if gamma else np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    table = b"curv\0\0\0\0" + struct.pack(">I", len(steps)) + np.rint(curve * 65535).astype(">u2").tobytes()
    columns = [b"XYZ \0\0\0\0" + struct.pack(">3i", *_fixed(column)) for column in adapted.T]
    places, body, start = struct.pack(">I", 6), b"", 128 + 4 + 12 * 6
    for name, data in zip(
        (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"), (*columns, *[table] * 3), strict=True
    ):
        places += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *_fixed(D50))
    return head.ljust(128, b"\0") + places + body


def _fixed(values: np.ndarray) -> list[int]:
    return [round(value * 65536) for value in values.tolist()]
