"""Files that are no usable picture: each is refused, in words that say what came and what to do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from aad.images import KINDS
from tests import image_bytes as raw
from tests.image_bytes import encode, picture
from tests.odd_files import jpeg
from tests.odd_rasters import grey_tiff

NONE = r"got none of these .*convert it to PNG or JPEG"
DAMAGED = r"complete and undamaged, got a {} that does not decode .*get the file again or save it anew"
TOO_LARGE = r"at most 60 million pixels, got .*scale it down first"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><image href="file:///etc/passwd"/></svg>'
ENTITIES = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + SVG
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n(%pipe%touch started-by-ghostscript) (w) file\n%%EOF\n"

Bad = tuple[str, Callable[[], bytes], str]  # what it is, its bytes, the words of the refusal


def noise(format_name: str, **options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return encode(Image.fromarray(values), format_name, **options)


def heic(brand: bytes = b"mif1") -> bytes:
    return raw.boxes((b"ftyp", brand + bytes(4) + b"mif1heic"), (b"meta", bytes(100)))


def psd() -> bytes:
    return b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30, 40, 8, 3) + bytes(14) + bytes(3600)


def declared_png(width: int, height: int) -> bytes:
    """The header of a huge picture and the pixels of none."""
    data = raw.png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return raw.PNG_START + raw.png_header(width, height, 1, 0) + data + raw.PNG_END


def black_png() -> bytes:
    """30,000 x 30,000 pixels that are all there: 112 MB of zeros become 110 kB."""
    return raw.png(30_000, 30_000, 1, 0, (bytes(3750) for _ in range(30_000)))


def declared_jpeg() -> bytes:
    data = jpeg()
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]


def declared_avif() -> bytes:
    """An AVIF picture whose box of sizes says 60,000 x 60,000."""
    data = encode(picture(), "AVIF")
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", 60_000, 60_000) + data[place + 8 :]


def declared_tiff(side: int) -> bytes:
    return raw.tiff(bytes(1200), raw.tiff_fields(side, side, 1200))


def broken_png(**changes: bytes) -> bytes:
    """A PNG file of whole chunks, some of them replaced."""
    chunks = {"IHDR": raw.png_header(40, 30), "IDAT": raw.png_chunk(b"IDAT", zlib.compress(bytes(30 * 121)))}
    return raw.PNG_START + b"".join((chunks | changes).values()) + raw.PNG_END


def not_finite(value: float) -> bytes:
    values = np.linspace(0, 1, 400, dtype="<f4").reshape(20, 20)
    values[3, 4] = value
    return grey_tiff(values, 3)


def damaged(what: str, make: Callable[[], bytes], kind: str) -> Bad:
    return what, make, DAMAGED.format(kind)


def large(what: str, make: Callable[[], bytes]) -> Bad:
    return what, make, TOO_LARGE


BAD: dict[str, Bad] = {
    "empty.png": ("zero bytes", lambda: b"", r"must have content, got 0 bytes .*get the file again"),
    "one_byte.png": ("one byte", lambda: b"\x89", NONE),
    "letter.png": ("text", lambda: b"Dear museum, this is a letter.\n" * 40, NONE),
    "random.jpg": ("noise", lambda: np.random.default_rng(0).bytes(5000), NONE),
    "page.html": ("HTML", lambda: b"<!doctype html><script>alert(1)</script>", NONE),
    "drawing.svg": ("SVG that names a file", lambda: SVG, r"got SVG .*convert it to PNG or JPEG"),
    "drawing.png": ("SVG with entities", lambda: b"\xef\xbb\xbf\n" + ENTITIES, r"got SVG"),
    "paper.pdf": ("PDF", lambda: b"%PDF-1.7\n%\xe2\xe3\n1 0 obj", r"got PDF .*convert it to PNG or JPEG"),
    "paper.png": (
        "a PNG that is a PDF too",
        lambda: raw.with_chunks(encode(picture()), raw.png_chunk(b"tEXt", b"a\0%PDF-1.7 1 0 obj")),
        r"got PDF",
    ),
    "phone.heic": ("HEIC", heic, r"got HEIC .*convert it to PNG or JPEG"),
    "phone.jpg": ("HEIC named as JPEG", lambda: heic(b"heic"), r"got HEIC"),
    "film.mp4": ("MP4", lambda: raw.boxes((b"ftyp", b"isom" + bytes(4) + b"isomavc1"), (b"mdat", bytes(99))), NONE),
    "site.ico": ("ICO", lambda: encode(picture(), "ICO"), NONE),
    "scan.jp2": ("JPEG 2000", lambda: encode(picture(), "JPEG2000"), NONE),
    "layers.psd": ("PSD", psd, NONE),
    "figure.eps": ("EPS that would start a program", lambda: EPS, NONE),
    "figure.png": (
        "EPS named as PNG, with a DOS header",
        lambda: b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS,
        NONE,
    ),
    "old.tga": ("TGA", lambda: encode(picture(), "TGA"), NONE),
    "old.pcx": ("PCX", lambda: encode(picture(), "PCX"), NONE),
    "new.jxl": ("JPEG XL", lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), NONE),
    "weights.pkl": ("a pickle", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.", NONE),
    "archive.zip": ("ZIP", lambda: b"PK\3\4" + bytes(99), NONE),
    "heavy.png": (
        "50 MB and a byte",
        lambda: encode(picture()).ljust(50_000_001, b"\0"),
        r"at most 50 MB, got 50.0 MB .*scale it down or save it as JPEG",
    ),
    **{
        f"cut_{share}.{name.lower()}": damaged(
            f"{share} % of a {name}",
            lambda name=name, share=share: (data := noise(name))[: len(data) * share // 100],
            name,
        )
        for name, *_ in KINDS
        for share in (3, 50)
    },
    "one_pixel.png": (
        "1 x 1",
        lambda: encode(Image.new("L", (1, 1))),
        r"at least 16 pixels wide and high, got 1 x 1 .*use a larger picture",
    ),
    "thread.png": (
        "1 x 100,000",
        lambda: encode(Image.new("L", (1, 100_000))),
        r"at least 16 pixels .*got 1 x 100,000",
    ),
    "thread.bmp": (
        "100,000 x 1",
        lambda: encode(Image.new("L", (100_000, 1)), "BMP"),
        r"at least 16 pixels .*got 100,000 x 1",
    ),
    "thread.gif": ("1 x 60,000", lambda: raw.gif(1, 60_000, raw.gif_frame(1, 1)), r"at least 16 pixels"),
    "strip.png": (
        "401 x 16",
        lambda: encode(Image.new("L", (401, 16))),
        r"may be at most 25 times as long as wide, got 401 x 16 .*crop it first",
    ),
    "bomb.png": large("900 million pixels in 110 kB", black_png),
    "largest.png": large("PNG of 2,147,483,647 squared", lambda: declared_png(2**31 - 1, 2**31 - 1)),
    "bomb.gif": large("GIF of 65,535 squared", lambda: raw.gif(65_535, 65_535, raw.gif_frame(1, 1))),
    "bomb_frame.gif": large(
        "a GIF frame of 65,535 squared",
        lambda: raw.gif(40, 30, b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x08\0"),
    ),
    "bomb.webp": large("a WebP canvas of 40,000 squared", lambda: raw.webp_animation(40_000, 40_000, [picture()])),
    "largest.webp": large("a WebP canvas of 65,535 squared", lambda: raw.webp_animation(65_535, 65_535, [picture()])),
    "bomb.tif": large("TIFF of 60,000 squared", lambda: declared_tiff(60_000)),
    "largest.tif": large("TIFF of 4,294,967,295 squared", lambda: declared_tiff(2**32 - 1)),
    "bomb.bmp": large("BMP of 60,000 squared", lambda: raw.bmp(60_000, 60_000, 24, 0, bytes(99))),
    "bomb.jpg": large("JPEG of 65,535 squared", declared_jpeg),
    "bomb.ppm": large("PPM of 99,999 squared", lambda: b"P6 99999 99999 255\n" + bytes(99)),
    "bomb.avif": damaged("AVIF that says 60,000 squared and is not", declared_avif, "AVIF"),
    "text_bomb.png": damaged(
        "a text of 100 MB in 100 kB",
        lambda: raw.with_chunks(
            encode(picture()), raw.png_chunk(b"zTXt", b"a\0\0" + raw.packed(bytes(10**6) for _ in range(100)))
        ),
        "PNG",
    ),
    "profile_bomb.png": damaged(
        "a profile of 100 MB in 100 kB",
        lambda: raw.with_chunks(
            encode(picture()), raw.png_chunk(b"iCCP", b"a\0\0" + raw.packed(bytes(10**6) for _ in range(100)))
        ),
        "PNG",
    ),
    "bad_sum.png": damaged(
        "a header with a wrong checksum", lambda: broken_png(IHDR=raw.png_header(40, 30)[:-1] + b"?"), "PNG"
    ),
    "no_header.png": damaged("no header", lambda: broken_png(IHDR=b""), "PNG"),
    "no_pixels.png": damaged("no pixels", lambda: broken_png(IDAT=b""), "PNG"),
    "zero_wide.png": damaged("0 x 30", lambda: broken_png(IHDR=raw.png_header(0, 30)), "PNG"),
    "no_such_depth.png": damaged("3-bit colour", lambda: broken_png(IHDR=raw.png_header(40, 30, 3)), "PNG"),
    "endless_chunk.png": damaged(
        "a chunk longer than the file",
        lambda: broken_png(IDAT=b"\x7f\xff\xff\xffIDAT" + zlib.compress(bytes(999))),
        "PNG",
    ),
    "unzippable.png": damaged(
        "pixels that do not unpack", lambda: broken_png(IDAT=raw.png_chunk(b"IDAT", b"nonsense" * 9)), "PNG"
    ),
    "few_pixels.png": damaged(
        "too few pixels", lambda: broken_png(IDAT=raw.png_chunk(b"IDAT", zlib.compress(bytes(999)))), "PNG"
    ),
    "no_scan.jpg": damaged(
        "no scan", lambda: b"\xff\xd8" + raw.jpeg_segment(0xFE, b"that is all") + b"\xff\xd9", "JPEG"
    ),
    "no_tables.jpg": damaged("no quantisation tables", lambda: jpeg().replace(b"\xff\xdb", b"\xff\xec"), "JPEG"),
    "deep.jpg": damaged(
        "12-bit", lambda: (data := jpeg())[: (at := data.index(b"\xff\xc0") + 4)] + b"\x0c" + data[at + 1 :], "JPEG"
    ),
    "no_frame.gif": damaged("no frame", lambda: raw.gif(40, 30, b""), "GIF"),
    "no_pixels.gif": damaged(
        "a frame without pixels",
        lambda: raw.gif(40, 30, b"," + struct.pack("<HHHHB", 0, 0, 40, 30, 0) + b"\x08\0"),
        "GIF",
    ),
    "wrong_length.webp": damaged("a length beyond the end", lambda: raw.riff((b"VP8L", bytes(9)))[:-4], "WEBP"),
    "no_frame.webp": damaged("an animation of no frames", lambda: raw.webp_animation(40, 30, []), "WEBP"),
    "no_size.tif": damaged("no size", lambda: raw.tiff(bytes(1200), raw.tiff_fields(40, 30, 1200)[2:]), "TIFF"),
    "no_such_mode.tif": damaged(
        "7-bit samples", lambda: raw.tiff(bytes(1200), raw.tiff_fields(40, 30, 1200, bits=[7])), "TIFF"
    ),
    "no_such_packing.tif": damaged(
        "compression 60,000", lambda: raw.tiff(bytes(1200), raw.tiff_fields(40, 30, 1200, compression=60_000)), "TIFF"
    ),
    "strip_beyond.tif": damaged(
        "a strip beyond the end",
        lambda: raw.tiff(bytes(1200), raw.tiff_fields(40, 30, 1200, more=[(273, "long", [2**31])])),
        "TIFF",
    ),
    "not_a_number.tif": (
        "float with NaN",
        lambda: not_finite(np.nan),
        r"pixel values must be finite, got infinity or not-a-number; save",
    ),
    "infinite.tif": ("float with infinity", lambda: not_finite(np.inf), r"pixel values must be finite"),
    "no_such_depth.bmp": damaged("13 bits a pixel", lambda: raw.bmp(40, 30, 13, 0, bytes(3600)), "BMP"),
    "few_pixels.bmp": damaged("too few run lengths", lambda: raw.bmp(40, 30, 8, 1, b"\x05\1\0\1", bytes(1024)), "BMP"),
    "no_white.ppm": damaged("white is 0", lambda: b"P6 40 30 0\n" + bytes(3600), "PPM"),
    "negative.ppm": damaged("-1", lambda: b"P3 40 30 255\n" + b"-1 " * 3600, "PPM"),
}
