"""The corpus of odd and hostile pictures: what a public page is given sooner or later, each with what must come of it.

A file is a row of a table below; those that are large are made when they are asked for.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from aad.images import KINDS, SUFFIXES
from tests import image_bytes as raw
from tests.image_bytes import BLUE, GREEN, RED, WHITE, encode, picture, with_chunks, with_segments

Make = Callable[[], bytes]
Pixels = dict[tuple[int, int], tuple[int, int, int]]
BLACK, GREY = (0, 0, 0), (128, 128, 128)
#: what `picture` looks like near its corners
PICTURE: Pixels = {(2, 2): GREEN, (2, 27): RED, (37, 2): BLUE, (37, 27): BLUE}
UNIFORM: Pixels = {(0, 0): GREY, (8, 8): GREY, (15, 15): GREY}
LEFT_HALF: Pixels = {(2, 27): RED, (37, 2): WHITE, (37, 27): WHITE}
SWAPPED: Pixels = {(2, 27): BLUE, (37, 27): RED}


def made(data: bytes | Make) -> bytes:
    return data if isinstance(data, bytes) else data()


# --- sound pictures: each has one right answer, and the pixels that prove it ------------------------------------------


class Odd(NamedTuple):
    """A file that must be answered: colours of the upright picture by place, within a tolerance, and its size."""

    data: bytes
    pixels: Pixels = PICTURE
    tolerance: int = 2
    size: tuple[int, int] = raw.SIZE


def small(data: bytes, pixels: Pixels = UNIFORM, tolerance: int = 2, side: int = 16) -> Odd:
    return Odd(data, pixels, tolerance, (side, side))


def turned(orientation: int, format_name: str = "JPEG") -> bytes:
    """The picture as a camera would store it that was held in this way: EXIF says how to bring it upright."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that makes the stored picture
    stored = picture().transpose(Image.Transpose(undo[orientation])) if orientation in undo else picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored, format_name, exif=exif)


def exchanged_profile() -> bytes:
    """A sound profile in which red stands for blue."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)


def profile(space: bytes, kind: bytes, connection: bytes, tag: bytes, data: bytes) -> bytes:
    """The smallest colour profile: a white point, and one tag that says how to come from a space to that of connection."""
    white_point = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    places = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white_point), tag, 156 + len(white_point), len(data))
    header = struct.pack(">I4sI4s4s4s", 156 + len(white_point + data), b"lcms", 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + places + white_point + data


def cmyk_profile(lab: tuple[int, int, int]) -> bytes:
    """A 2 x 2 x 2 x 2 table in which bare paper is white and every ink gives one Lab."""
    straight, table = bytes(range(256)), b"\xff\x80\x80" + bytes(lab) * 15
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + straight * 4 + table + straight * 3
    return profile(b"CMYK", b"prtr", b"Lab ", b"A2B0", lut)


def deep_png(depth: int, colour: int, row: bytes) -> bytes:
    return raw.png(16, 16, depth, colour, [row] * 16)


def animation(format_name: str) -> bytes:
    frames = [Image.new("RGB", raw.SIZE, colour) for colour in ("black", "white")]
    return encode(None, format_name, save_all=True, append_images=frames, duration=40)


def cut_out() -> Image.Image:
    """The picture with its right half invisible, and green under it: who forgets the alpha sees green."""
    image = picture().convert("RGBA")
    image.paste((*GREEN, 0), (20, 0, 40, 30))
    return image


def transparent_palette(transparency: int | bytes) -> bytes:
    image = Image.new("P", raw.SIZE, 0)
    image.putpalette([*RED, *GREEN])
    image.paste(1, (20, 0, 40, 30))
    return encode(image, transparency=transparency)


def grey_tiff(value: object, kind: str, sample_format: int = 1, order: str = "<", next_start: int = 0) -> bytes:
    """A page of 16 x 16 equal values; ``next_start`` says where the next page is."""
    pixels = np.full((16, 16), value, kind).tobytes()
    fields = raw.tiff_fields(16, 16, len(pixels), [len(pixels) // 32])
    return raw.tiff(pixels, fields | {339: ("H", [sample_format])}, next_start, order)


def unpacks_to_100_mb(kind: bytes) -> bytes:
    return with_chunks(raw.png_chunk(kind, b"a\0\0" + raw.packed(bytes(10**6) for _ in range(100))))


def patched(data: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """A sound file with other bytes some way behind a mark."""
    place = data.index(mark) + offset
    return data[:place] + new + data[place + len(new) :]


def keyed(depth: int, colour: int, row: bytes, key: bytes) -> Odd:
    """A PNG of one grey that is invisible, so white."""
    return small(raw.png(16, 16, depth, colour, [row] * 16, raw.png_chunk(b"tRNS", key)), {(8, 8): WHITE}, 0)


def by_numbers(pixel: tuple[int, ...], *chunks: tuple[bytes, bytes]) -> Odd:
    """64, 160, 96 whose colours are told by numbers; what they are in sRGB was computed by the matrices of CSS Color 4."""
    data = raw.png(16, 16, 8, 2, [bytes([64, 160, 96]) * 16] * 16, b"".join(raw.png_chunk(*chunk) for chunk in chunks))
    return small(data, {(8, 8): (pixel[0], pixel[1], pixel[2])}, 1)


def chromaticities(*xy: int) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *xy)


def on_its_side(format_name: str, xmp: str = "", **how: object) -> bytes:
    """The picture as it lies before a turn to the right; ``xmp`` goes where the format has it."""
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{xmp}</x:xmpmeta>'.encode() if xmp else b""
    lying = picture().transpose(Image.Transpose.ROTATE_90)
    if format_name == "PNG":
        data = encode(lying, **how)
        return data[:33] + raw.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text) + data[33:] if xmp else data
    return encode(lying, format_name, **({"xmp": text} if xmp else {}), **how)


LINEAR_GREY = profile(b"GRAY", b"mntr", b"XYZ ", b"kTRC", b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2))
SRGB, P3 = (
    (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
)
LINEAR, ORIENTED = struct.pack(">I", 100_000), '<rdf:Description tiff:Orientation="6"/>'
GREY_SQUARE = Image.new("L", (16, 16), 128)
JPEG, PROFILE = encode(None, "JPEG"), exchanged_profile()
INK = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
RLE_PALETTE = b"".join(bytes([i, i, i, 0]) for i in range(255)) + b"\x80\x80\x80\0"  # not plain grey: stays a palette
#: 48 x 32 in six tiles, the second white
TILES = raw.tiff(
    b"\x80" * 256 + b"\xff" * 256 + b"\x80" * 1024,
    raw.tiff_tiles(48, 32, 16, [8 + 256 * i for i in range(6)], [256] * 6),
)

ODD: dict[str, Odd] = {
    "plain.png": Odd(encode(), PICTURE, 0),
    "really_a_png.jpg": Odd(encode(), PICTURE, 0),
    "no_extension": Odd(encode(), PICTURE, 0),
    "script.gif": small(raw.gif(16, 16, raw.gif_frame(16, 16) + b"!\xfe\x0a*/=alert(1\0") + b"//", {(8, 8): RED}),
    "smallest.png": small(encode(GREY_SQUARE)),
    "scroll.png": Odd(encode(Image.new("L", (400, 16), 128)), {(399, 15): GREY}, 2, (400, 16)),  # as long as allowed
    "deep.png": small(deep_png(16, 2, b"\x80\x80\xff\xff\0\0" * 16), {(8, 8): (128, 255, 0)}),
    "deep_invisible.png": small(deep_png(16, 6, bytes(128)), {(8, 8): WHITE}),
    "colour_key.png": Odd(encode(transparency=BLUE), LEFT_HALF),
    "palette_key.png": Odd(transparent_palette(1), LEFT_HALF),
    "palette_alpha.png": Odd(transparent_palette(b"\xff\0"), LEFT_HALF),
    "alpha.png": Odd(encode(cut_out()), LEFT_HALF),
    "alpha.avif": Odd(encode(cut_out(), "AVIF"), LEFT_HALF, 6),
    "moving.gif": Odd(animation("GIF")),
    "moving.avif": Odd(animation("AVIF"), PICTURE, 8),
    "of_3000_frames.gif": small(raw.gif(16, 16, raw.gif_frame(16, 16) * 3000), {(8, 8): RED}),
    "cmyk.jpg": small(encode(INK, "JPEG"), {(9, 9): RED}, 3, 32),  # inverted, as Adobe does
    "profile.png": Odd(encode(icc_profile=PROFILE), SWAPPED),
    "profile.jpg": Odd(encode(None, "JPEG", icc_profile=PROFILE), SWAPPED, 5),
    "half_a_profile.png": Odd(encode(icc_profile=PROFILE[:300])),
    "huge_profile.tif": Odd(encode(None, "TIFF", icc_profile=PROFILE + bytes(3_000_000)), SWAPPED),
    "unzippable_profile.png": Odd(with_chunks(raw.png_chunk(b"iCCP", b"a\0\0nonsense"))),
    "profile_of_cmyk.png": Odd(encode(icc_profile=cmyk_profile((135, 128, 128))), PICTURE, 0),
    **{f"turned_{i}.jpg": Odd(turned(i), PICTURE, 5) for i in (*range(1, 9), 99)},
    **{f"turned_6.{form.lower()}": Odd(turned(6, form), PICTURE, 6) for form in ("PNG", "WEBP", "TIFF", "AVIF")},
    "damaged_exif.jpg": Odd(encode(None, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\x01"), PICTURE, 4),
    "huge_exif.jpg": Odd(encode(None, "JPEG", exif=b"Exif\0\0" + raw.shared_tags(1, 60_000)), PICTURE, 4),
    "looping_exif.jpg": Odd(  # its second directory is its first
        encode(None, "JPEG", exif=b"Exif\0\0" + raw.tiff(b"", {34665: ("I", [8])}, 8)), PICTURE, 4
    ),
    "cmyk.tif": small(encode(INK, "TIFF"), {(9, 9): RED}, 3, 32),
    "deep.tif": small(grey_tiff(32896, "<u2")),
    "big_endian.tif": small(grey_tiff(128, "u1", order=">")),
    "big.tif": Odd(encode(None, "TIFF", big_tiff=True)),
    "tiled.tif": Odd(TILES, {(8, 8): GREY, (24, 8): WHITE, (40, 24): GREY}, 2, (48, 32)),
    "page_after_itself.tif": small(grey_tiff(128, "u1", next_start=8 + 256)),
    "run_lengths.bmp": small(raw.bmp(16, 16, 8, 1, b"\x10\xff\0\0" * 16 + b"\0\1", RLE_PALETTE)),
    # ancillary data decides nothing
    "text_bomb.png": Odd(unpacks_to_100_mb(b"zTXt"), PICTURE, 0),
    "profile_bomb.png": Odd(unpacks_to_100_mb(b"iCCP"), PICTURE, 0),
    "long_text.png": Odd(with_chunks(raw.png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))), PICTURE, 0),
    "long_xmp.png": Odd(
        with_chunks(raw.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(3_000_000)))),
        PICTURE,
        0,
    ),
    "no_text.png": Odd(with_chunks(raw.png_chunk(b"iTXt", b"a\0\7"), raw.png_chunk(b"zTXt", b"")), PICTURE, 0),
    "huge_xmp.webp": Odd(encode(None, "WEBP", xmp=b" " * 3_000_000), PICTURE, 0),
    # which way up: by EXIF, else by XMP
    **{f"side_xmp.{form.lower()}": Odd(on_its_side(form, ORIENTED), PICTURE, 6) for form in ("PNG", "JPEG", "WEBP")},
    "side_xmp_element.jpg": Odd(on_its_side("JPEG", "<tiff:Orientation> 6 </tiff:Orientation>"), PICTURE, 6),
    "side_xmp_spaced.png": Odd(on_its_side("PNG", "<rdf:Description tiff:Orientation = '6'/>")),
    "side_xmp_and_exif.jpg": Odd(
        on_its_side("JPEG", "tiff:Orientation='3'", exif=b"Exif\0\0" + raw.oriented(6)), PICTURE, 6
    ),
    "side_raw_profile.png": Odd(
        on_its_side(
            "PNG",
            pnginfo=raw.text("Raw profile type exif", f"\nexif\n26\n{(b'Exif' + bytes(2) + raw.oriented(6)).hex()}\n"),
        )
    ),
    "side_raw_profile_packed.png": Odd(
        on_its_side(
            "PNG", pnginfo=raw.text("Raw profile type exif", f"\nexif\n26\n{raw.oriented(6).hex()}\n", zip=True)
        )
    ),
    "side_two_exifs.jpg": Odd(
        raw.with_segments(
            *[raw.jpeg_segment(0xE1, b"Exif\0\0" + raw.oriented(turn)) for turn in (6, 3)], data=on_its_side("JPEG")
        ),
        PICTURE,
        6,
    ),
    "upright_xmp.gif": Odd(encode(None, "GIF", comment=ORIENTED.encode())),
    "upright_nonsense_xmp.png": Odd(
        with_chunks(raw.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation='9'"))
    ),
    # one colour that is invisible, at every depth
    **{
        f"key_{depth}.png": keyed(depth, 0, row, b"\0\1")
        for depth, row in ((1, b"\xff\xff"), (2, b"\x55" * 4), (4, b"\x11" * 8), (8, b"\1" * 16))
    },
    "key_16.png": keyed(16, 0, b"\x12\x34" * 16, b"\x12\x34"),
    "key_48.png": keyed(16, 2, b"\x12\x34" * 48, b"\x12\x34" * 3),
    # colours as a browser shows them
    **{
        f"linear_{name}.png": small(
            encode(GREY_SQUARE.convert(mode), icc_profile=LINEAR_GREY, **how), {(8, 8): (188, 188, 188)}
        )
        for name, mode, how in (("grey", "L", {}), ("grey_alpha", "LA", {}), ("grey_key", "L", {"transparency": 3}))
    },
    "linear_grey.jpg": small(encode(GREY_SQUARE, "JPEG", icc_profile=LINEAR_GREY), {(8, 8): (188, 188, 188)}),
    "linear_grey_of_colours.png": small(encode(GREY_SQUARE.convert("RGB"), icc_profile=LINEAR_GREY)),
    "colour_profile_of_grey.png": small(encode(GREY_SQUARE, icc_profile=PROFILE)),
    "cicp_p3.png": by_numbers((0, 163, 89), (b"cICP", bytes([12, 13, 0, 1]))),
    "cicp_2020.png": by_numbers((0, 168, 87), (b"cICP", bytes([9, 13, 0, 1]))),
    "cicp_linear.png": by_numbers((137, 208, 165), (b"cICP", bytes([1, 8, 0, 1]))),
    "cicp_srgb.png": by_numbers((64, 160, 96), (b"cICP", bytes([1, 13, 0, 1]))),
    "cicp_pq.png": by_numbers((64, 160, 96), (b"cICP", bytes([9, 16, 0, 1]))),
    "cicp_before_profile.png": by_numbers(
        (0, 163, 89), (b"cICP", bytes([12, 13, 0, 1])), (b"iCCP", b"a\0\0" + zlib.compress(PROFILE))
    ),
    "profile_before_gamma.png": by_numbers(
        (96, 160, 64), (b"iCCP", b"a\0\0" + zlib.compress(PROFILE)), (b"gAMA", LINEAR), chromaticities(*SRGB)
    ),
    "gamma_linear.png": by_numbers((137, 208, 165), (b"gAMA", LINEAR), chromaticities(*SRGB)),
    "gamma_1.8.png": by_numbers((81, 176, 115), (b"gAMA", struct.pack(">I", 55_556)), chromaticities(*SRGB)),
    "gamma_p3.png": by_numbers((113, 210, 162), (b"gAMA", LINEAR), chromaticities(*P3)),
    "gamma_and_srgb.png": by_numbers((64, 160, 96), (b"sRGB", b"\0"), (b"gAMA", LINEAR), chromaticities(*P3)),
    "gamma_alone.png": by_numbers((137, 208, 165), (b"gAMA", LINEAR)),
    "gamma_0.png": by_numbers((64, 160, 96), (b"gAMA", bytes(4)), chromaticities(*SRGB)),
    "gamma_of_no_colours.png": by_numbers((64, 160, 96), (b"gAMA", LINEAR), chromaticities(*bytes(8))),
    "gamma_of_one_colour.png": by_numbers((64, 160, 96), (b"gAMA", LINEAR), chromaticities(*[31270, 32900] * 4)),
    "profile.avif": Odd(encode(None, "AVIF", icc_profile=PROFILE), SWAPPED, 6),
    "nclx_p3.avif": small(
        patched(encode(Image.new("RGB", (16, 16), (64, 160, 96)), "AVIF"), b"colrnclx", 8, b"\0\x0c\0\x0d"),
        {(8, 8): (0, 163, 89)},
        4,
    ),
    "deep.pgm": small(b"P5 16 16 65535\n" + b"\x80\x80" * 256),
    "float.pfm": small(b"Pf\n16 16\n-1.0\n" + struct.pack("<f", 128 / 255) * 256),
}


# --- no usable pictures: each is refused, in words that say what came and what to do ----------------------------------

NONE = r"got none of these .*convert it to PNG or JPEG"
DECODES_NOT = r"complete and undamaged, got a {} that does not decode .*get the file again or save it anew"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><image href="file:///etc/passwd"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n(%pipe%touch started-by-ghostscript) (w) file\n%%EOF\n"
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
FORMAT_OF = {suffix: Image.EXTENSION[suffix] for suffix in SUFFIXES}


def broken_png(**changes: bytes) -> bytes:
    """A PNG file of whole chunks, some of them replaced."""
    chunks = {"IHDR": raw.png_header(), "IDAT": raw.png_chunk(b"IDAT", zlib.compress(bytes(30 * 121)))}
    return raw.PNG_START + b"".join((chunks | changes).values()) + raw.PNG_END


def broken_tiff(more: raw.Fields, **usual: object) -> bytes:
    fields = raw.tiff_fields(40, 30, 1200, **usual) | more
    return raw.tiff(bytes(1200), {tag: field for tag, field in fields.items() if field})


@cache
def black_png() -> bytes:
    """30,000 x 30,000 pixels that are all there: 112 MB of zeros become 110 kB."""
    return raw.png(30_000, 30_000, 1, 0, (bytes(3750) for _ in range(30_000)))


FOREIGN: dict[str, bytes] = {
    "one_byte.png": b"\x89",
    "letter.png": b"Dear museum, this is a letter.\n" * 40,
    "film.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + b"\0\0\0\x6bmdat" + bytes(99),
    "scan.jp2": encode(None, "JPEG2000"),
    "figure.eps": EPS,
    "figure.png": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS,  # with a DOS header
    "weights.pkl": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}
TOO_LARGE: dict[str, bytes | Make] = {
    "bomb.png": black_png,
    "bomb.gif": raw.gif(65_535, 65_535, raw.gif_frame(1, 1)),
    "bomb.webp": raw.webp_canvas(40_000, 40_000),
    "bomb.tif": raw.tiff(bytes(1200), raw.tiff_fields(60_000, 60_000, 1200)),
    "bomb.jpg": patched(JPEG, b"\xff\xc0", 5, b"\xff\xff\xff\xff"),
}
DAMAGED: dict[str, bytes | Make] = {
    "bomb_frame.gif": raw.gif(40, 30, b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x08\0"),
    **{
        f"cut_{share}.{kind.lower()}": data[: len(data) * share // 100]
        for kind in KINDS
        for data in [encode(NOISE, kind)]
        for share in (3, 50)
    },
    "declared.avif": patched(encode(None, "AVIF"), b"ispe", 8, struct.pack(">II", 60_000, 60_000)),
    "bad_sum.png": broken_png(IHDR=raw.png_header()[:-1] + b"?"),
    "endless_chunk.png": broken_png(IDAT=b"\x7f\xff\xff\xffIDAT" + zlib.compress(bytes(999))),
    "few_pixels.png": broken_png(IDAT=raw.png_chunk(b"IDAT", zlib.compress(bytes(999)))),
    "no_scan.jpg": b"\xff\xd8" + raw.jpeg_segment(0xFE, b"that is all") + b"\xff\xd9",
    "no_tables.jpg": JPEG.replace(b"\xff\xdb", b"\xff\xec"),
    "no_frame.gif": raw.gif(40, 30, b""),
    "no_frame.webp": raw.webp_canvas(40, 30, n_frames=0),
    "no_size.tif": broken_tiff({256: (), 257: ()}),
    "strip_beyond.tif": broken_tiff({273: ("I", [2**31])}),
    "negative.ppm": b"P3 40 30 255\n" + b"-1 " * 3600,
}
#: name -> its bytes, or what makes them, and the words of the refusal
BAD: dict[str, tuple[bytes | Make, str]] = {
    "empty.png": (b"", r"must have content, got 0 bytes .*get the file again"),
    "drawing.svg": (SVG, NONE),
    "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\n1 0 obj", NONE),
    **{
        name: (b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(100), r"got HEIC .*convert it to PNG or JPEG")
        for name, brand in (("phone.heic", b"mif1"), ("phone.jpg", b"heic"))
    },
    "one_pixel.png": (
        encode(Image.new("L", (1, 1))),
        r"at least 16 pixels wide and high, got 1 x 1 .*use a larger picture",
    ),
    "thread.gif": (raw.gif(1, 60_000, raw.gif_frame(1, 1)), r"at least 16 pixels"),
    "strip.png": (encode(Image.new("L", (401, 16))), r"at most 25 times as long as wide, got 401 x 16 .*crop it first"),
    "not_a_number.tif": (grey_tiff(np.nan, "<f4", 3), r"must be finite, got infinity or not-a-number; save"),
    **{name: (data, NONE) for name, data in FOREIGN.items()},
    **{name: (data, r"at most 60 million pixels, got .*scale it down first") for name, data in TOO_LARGE.items()},
    **{name: (data, DECODES_NOT.format(FORMAT_OF[Path(name).suffix])) for name, data in DAMAGED.items()},
}


# --- small files on which a plain decoder spends minutes or gigabytes: answered or refused, it must be soon -----------

SIDE = 7740  # squared just below 60 million pixels
PPM_WHITE = b"1 " * 3600


def exif_of_shared_tags(form: str, n: int) -> bytes:
    """5,000 tags that all point at the same bytes."""
    exif = raw.shared_tags(5000, n)
    if form == "PNG":
        return with_chunks(raw.png_chunk(b"eXIf", exif))
    if form == "JPEG":
        pieces = [exif[i : i + 65_000] for i in range(0, len(exif), 65_000)]
        return with_segments(*[raw.jpeg_segment(0xE1, b"Exif\0\0" + piece) for piece in pieces])
    plain = raw.shared_tags(1, n)  # of the same length: the writer of AVIF follows every tag too
    return encode(None, form, exif=plain).replace(plain, exif)


def shared_tags(n: int) -> bytes:
    """The same in the directory of the picture itself."""
    data = raw.tiff(b"\x80" * n, raw.tiff_fields(40, 30, 1200))[:-4]
    place = struct.unpack_from("<I", data, 4)[0]
    tags = b"".join(struct.pack("<HHII", 40_000 + i, 7, n, 8) for i in range(5000))
    n_tags = struct.pack("<H", struct.unpack_from("<H", data, place)[0] + 5000)
    return data[:place] + n_tags + data[place + 2 :] + tags + bytes(4)


def tile(n: int) -> bytes:
    """40 x 30 in one tile of gigabytes, all zeros."""
    side = int((n * 220) ** 0.5)
    pixels = raw.packed(bytes(side) for _ in range(side))
    return raw.tiff(pixels, {**raw.tiff_tiles(40, 30, side, [8], [len(pixels)]), 259: ("H", [8])})


def scans(n: int) -> bytes:
    """60 million grey pixels, refined again and again by scans of 70 bytes that change nothing."""

    def bits(text: str) -> bytes:
        text += "1" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    n_blocks = (-(-SIDE // 8)) ** 2
    frame = raw.jpeg_segment(0xDB, b"\0" + b"\1" * 64)
    frame += raw.jpeg_segment(0xC2, struct.pack(">BHHB", 8, SIDE, SIDE, 1) + bytes([1, 0x11, 0]))
    code = bytes([1] + [0] * 15)  # one code, of one bit
    frame += raw.jpeg_segment(0xC4, b"\0" + code + b"\0" + b"\x10" + code + b"\xe0")  # no change; 32,767 blocks skipped
    grey = raw.jpeg_segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bits("0" * n_blocks)
    again = raw.jpeg_segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bits(("0" + "1" * 14) * (n_blocks // 32_767 + 1))
    return b"\xff\xd8" + frame + grey + again * (n // len(again)) + b"\xff\xd9"


def ends_of_line(n: int) -> bytes:
    """One pixel a row, the rest filled up one by one: 6 kB can ask for 59 million steps."""
    return raw.bmp(25 * (n // 4), n // 4, 8, 1, b"\1\1\0\0" * (n // 4) + b"\0\1", b"\0\1\2\0" * 256)


def digits(n: int) -> bytes:
    side = int((n / 6) ** 0.5)
    return f"P3 {side} {side} 255\n".encode() + b"1 " * (3 * side * side)


def repeated(n: int, piece: bytes) -> list[bytes]:
    return [piece] * (n // len(piece))


FRAME, MEGABYTE = raw.gif_frame(40, 30), zlib.compress(bytes(10**6))
#: name -> how it is made of about n bytes, and the n with which an unguarded decoder takes seconds or hundreds of megabytes
GREEDY: dict[str, tuple[Callable[[int], bytes], int]] = {
    # a comment in pieces, each joined to all before it by a copy
    "one_comment.gif": (
        lambda n: raw.gif(40, 30, b"!\xfe" + (b"\xff" + b"x" * 255) * (n // 256) + b"\0" + FRAME),
        6_000_000,
    ),
    # every remark is cut out of its block by a copy
    "remarks.ppm": (lambda n: b"P3 40 30 255\n" + b"#\n" * (n // 2) + PPM_WHITE, 600_000),
    "digits.ppm": (digits, 10_000_000),
    "ends_of_line.bmp": (ends_of_line, 2600),
    "exif_pieces.jpg": (lambda n: with_segments(*repeated(n, raw.jpeg_segment(0xE1, b"Exif\0\0x"))), 3_000_000),
    "shared_exif.jpg": (partial(exif_of_shared_tags, "JPEG"), 300_000),
    "shared_exif.png": (partial(exif_of_shared_tags, "PNG"), 300_000),
    "shared_exif.avif": (partial(exif_of_shared_tags, "AVIF"), 300_000),
    # the same in the index of pictures that stereo cameras write
    "shared_index.jpg": (lambda n: with_segments(raw.jpeg_segment(0xE2, b"MPF\0" + raw.shared_tags(2700, n))), 64_900),
    "shared_tags.tif": (shared_tags, 200_000),
    # the same two strips over and over, far more than the picture has rows
    "shared_strips.tif": (lambda n: broken_tiff({273: ("I", [8] * (n // 4)), 278: ("I", [15])}), 1_000_000),
    "tile.tif": (tile, 1_000_000),
    "profiles.png": (lambda n: with_chunks(*repeated(n, raw.png_chunk(b"iCCP", b"x\0\0" + MEGABYTE))), 800_000),
    "texts.png": (
        lambda n: with_chunks(*repeated(n, raw.png_chunk(b"zTXt", b"Raw profile type exif\0\0" + MEGABYTE))),
        800_000,
    ),
    "chunks.png": (lambda n: with_chunks(*repeated(n, raw.png_chunk(b"aaAa"))), 8_000_000),
    "scans.jpg": (scans, 20_000),
}


# --- pictures within every limit that are the most work, and take the most memory -------------------------------------

ROW = np.random.default_rng(0).integers(0, 256, 4 * SIDE, np.uint8).tobytes()  # no pixel is like the one before


def large_tiff() -> bytes:
    data = raw.packed(ROW for _ in range(SIDE))
    fields = raw.tiff_fields(SIDE, SIDE, len(data), [8] * 4, 5, compression=8)
    return raw.tiff(data, fields | {34675: ("U", cmyk_profile((135, 128, 128)))})


def large_jpeg() -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return encode(Image.fromarray(values), "JPEG", quality=40, progressive=True)


def large_png() -> bytes:
    before = raw.png_chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE))
    return raw.png(SIDE, SIDE, 8, 6, (ROW for _ in range(SIDE)), before)


LARGEST: dict[str, Make] = {
    "alpha_with_profile.png": large_png,
    "cmyk.tif": large_tiff,
    "noise_progressive.jpg": large_jpeg,
}


# --- names and places that are none -----------------------------------------------------------------------------------

#: names under which a sound picture may come, as the bytes a file system keeps
NAMES: dict[str, bytes] = {
    "not UTF-8": b"caf\xe9 \xff\xfe.png",
    "control codes": b"line\nend \x1b[31mred\x07.png",
    "a script": b"<img src=x onerror=alert(1)>.png",
    "a path, encoded": b"..%2f..%2f..%2fetc%2fpasswd",
    "very long": b"a" * 251 + b".png",
}


#: what stands where a file should -> the words of the refusal
PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder.png": (lambda path: path.mkdir(), r"must be a readable file, .*a folder, a device or a pipe"),
    "pipe.png": (os.mkfifo, r"a folder, a device or a pipe"),  # opening it would wait for ever
    "zero.png": (lambda path: path.symlink_to("/dev/zero"), r"a folder, a device or a pipe"),  # never ends
    "nothing.png": (lambda path: path.symlink_to("no such file"), r"must be a readable file, .*check the path"),
    "endless.png": (lambda path: path.symlink_to("/proc/self/pagemap"), r"an image (file )?must "),
}


def corpus() -> dict[str, tuple[bytes | Make, str]]:
    """Name -> its bytes or what makes them, and what is expected."""
    files: dict[str, tuple[bytes | Make, str]] = {}
    for name, odd in ODD.items():
        files[name] = odd.data, f"answered: {odd.size[0]} x {odd.size[1]}, pixels known"
    files |= {name: (data, f"refused: {words}") for name, (data, words) in BAD.items()}
    files |= {name: (partial(work, n), "either, soon") for name, (work, n) in GREEDY.items()}
    within = "answered, within the memory ceiling"
    return files | {f"largest_{name}": (make, within) for name, make in LARGEST.items()}
