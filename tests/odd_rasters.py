"""Odd and sound TIFF, BMP and PPM files, and what every odd file is described by."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests import image_bytes as raw
from tests.image_bytes import BLUE, GREEN, RED, WHITE, encode, picture

Pixels = dict[tuple[int, int], tuple[int, int, int]]
GREY = (128, 128, 128)
#: what `tests.image_bytes.picture` looks like near its corners
PICTURE: Pixels = {(2, 2): GREEN, (2, 27): RED, (37, 2): BLUE, (37, 27): BLUE}
UNIFORM = {(0, 0): GREY, (8, 8): GREY, (15, 15): GREY}


@dataclass(frozen=True)
class Odd:
    """A file that must be answered.

    Attributes:
        what: What is odd about it.
        make: Its bytes.
        size: Width and height of the upright picture.
        pixels: Place -> colour that must come out.
        tolerance: Largest difference of a channel.
    """

    what: str
    make: Callable[[], bytes]
    size: tuple[int, int] = raw.SIZE
    pixels: Pixels | None = None
    tolerance: int = 2


def grey_tiff(values: np.ndarray, sample_format: int) -> bytes:
    more: list[raw.Field] = [(339, "short", [sample_format])]
    pixels = values.tobytes()
    height, width = values.shape
    bits = [8 * values.itemsize]
    return raw.tiff(pixels, raw.tiff_fields(width, height, len(pixels), bits=bits, more=more))


def one_grey(mode: str = "L", value: int = 128) -> Image.Image:
    return Image.new(mode, (16, 16), value)


def tiled() -> bytes:
    """48 x 32 pixels in six tiles of 16 x 16; the second is white, the rest grey."""
    tiles = [b"\x80" * 256, b"\xff" * 256, *[b"\x80" * 256] * 4]
    fields = [field for field in raw.tiff_fields(48, 32, 0) if field[0] not in (273, 278, 279)]
    fields += [(322, "short", [16]), (323, "short", [16])]
    fields += [(324, "long", [8 + 256 * i for i in range(6)]), (325, "long", [256] * 6)]
    return raw.tiff(b"".join(tiles), fields)


def pages(next_start: int | None = None) -> bytes:
    """A grey page whose directory names itself, or ``next_start``, as the next page."""
    pixels = b"\x80" * 256
    return raw.tiff(pixels, raw.tiff_fields(16, 16, 256), 8 + 256 if next_start is None else next_start)


def rle_bmp() -> bytes:
    palette = b"".join(bytes([i, i, i, 0]) for i in range(255)) + b"\x80\x80\x80\0"  # not plain grey: stays a palette
    return raw.bmp(16, 16, 8, 1, b"\x10\xff\0\0" * 16 + b"\0\1", palette)


_CMYK = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF")

#: name -> what it is and what must come of it
RASTERS: dict[str, Odd] = {
    "cmyk.tif": Odd("CMYK", lambda: _CMYK, (32, 32), {(9, 9): RED}, 3),
    "deep.tif": Odd("16-bit grey", lambda: grey_tiff(np.full((16, 16), 32896, "<u2"), 1), (16, 16), UNIFORM),
    "float.tif": Odd("float from 0 to 1", lambda: grey_tiff(np.full((16, 16), 128 / 255, "<f4"), 3), (16, 16), UNIFORM),
    "integer.tif": Odd(
        "32-bit integers of 16-bit values", lambda: grey_tiff(np.full((16, 16), 32896, "<i4"), 2), (16, 16), UNIFORM
    ),
    "big_endian.tif": Odd(
        "Motorola byte order",
        lambda: raw.tiff(b"\x80" * 256, raw.tiff_fields(16, 16, 256), order=">"),
        (16, 16),
        UNIFORM,
    ),
    "big.tif": Odd("BigTIFF", lambda: encode(picture(), "TIFF", big_tiff=True), pixels=PICTURE),
    "tiled.tif": Odd("tiles", tiled, (48, 32), {(8, 8): GREY, (24, 8): WHITE, (40, 24): GREY}),
    "cyclic.tif": Odd("a page that follows itself", pages, (16, 16), UNIFORM),
    "page_beyond.tif": Odd("a next page beyond the end", lambda: pages(2**31), (16, 16), UNIFORM),
    "tags.tif": Odd(
        "500 private tags",
        lambda: raw.tiff(
            b"\x80" * 256, [*raw.tiff_fields(16, 16, 256), *[(40_000 + i, "long", [i]) for i in range(500)]]
        ),
        (16, 16),
        UNIFORM,
    ),
    "strips.tif": Odd("30 strips", lambda: encode(picture(), "TIFF", tiffinfo={278: 1}), pixels=PICTURE),
    **{
        f"{name}.tif": Odd(
            f"compression {name}", lambda name=name: encode(picture(), "TIFF", compression=name), pixels=PICTURE
        )
        for name in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd")
    },
    "fax.tif": Odd(
        "compression group 4",
        lambda: encode(Image.new("1", (32, 32), 1), "TIFF", compression="group4"),
        (32, 32),
        {(9, 9): WHITE},
    ),
    "in_tiff.tif": Odd(
        "JPEG inside TIFF",
        lambda: encode(picture(), "TIFF", compression="jpeg", quality=100),
        pixels=PICTURE,
        tolerance=8,
    ),
    "rle.bmp": Odd("run lengths", rle_bmp, (16, 16), UNIFORM),
    "upside_down.bmp": Odd(
        "rows from the top",
        lambda: raw.bmp(16, -16, 24, 0, b"\0\0\xff" * 16 * 8 + b"\xff\0\0" * 16 * 8),
        (16, 16),
        {(3, 3): RED, (3, 12): BLUE},
    ),
    "plain.pbm": Odd(
        "digits, with a remark",
        lambda: b"P1 # nothing to see\n16 16\n" + b"0 1 " * 128,
        (16, 16),
        {(0, 3): WHITE, (1, 3): (0, 0, 0)},
    ),
    "odd_white.ppm": Odd(
        "white is 100", lambda: b"P6 16 16 100\n" + bytes([100, 0, 50]) * 256, (16, 16), {(8, 8): (255, 0, 128)}
    ),
    "deep.pgm": Odd("white is 65,535", lambda: b"P5 16 16 65535\n" + b"\x80\x80" * 256, (16, 16), UNIFORM),
    "float.pfm": Odd("floats", lambda: b"Pf\n16 16\n-1.0\n" + struct.pack("<f", 128 / 255) * 256, (16, 16), UNIFORM),
}
