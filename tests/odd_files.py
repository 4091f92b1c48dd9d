"""Pictures that look odd and are sound: each has one right answer, and the pixels that prove it."""

from __future__ import annotations

import struct
import zlib

from PIL import Image, ImageCms

from tests import image_bytes as raw
from tests.image_bytes import BLUE, GREEN, RED, WHITE, encode, picture
from tests.odd_rasters import GREY, PICTURE, RASTERS, UNIFORM, Odd, Pixels, one_grey


def turned(orientation: int, format_name: str = "JPEG") -> bytes:
    """The picture as a camera would store it that was held in this way: EXIF says how to bring it upright."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that makes the stored picture
    stored = picture().transpose(Image.Transpose(undo[orientation])) if orientation in undo else picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": "4:4:4"} if format_name in ("JPEG", "AVIF") else {}
    return encode(stored, format_name, exif=exif, **({"lossless": True} if format_name == "WEBP" else options))


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return encode(image or picture(), "JPEG", **{"quality": 100, "subsampling": "4:4:4", **options})


def exchanged_profile() -> bytes:
    """A sound profile in which red stands for blue."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)


def cmyk_profile(lab: tuple[int, int, int]) -> bytes:
    """The smallest CMYK profile: a 2 x 2 x 2 x 2 table in which bare paper is white and every ink gives one Lab."""
    straight = bytes(range(256))
    table = b"\xff\x80\x80" + bytes(lab) * 15
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + straight * 4 + table + straight * 3
    white_point = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    offset = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += b"A2B0" + struct.pack(">II", offset, len(lut))
    tags += b"wtpt" + struct.pack(">II", offset + len(lut), len(white_point))
    body = tags + lut + white_point
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


def interlaced() -> bytes:
    """16 x 16 in the seven passes of Adam7; all of one grey, since only the order of rows is in question."""
    passes = [(2, 2), (2, 2), (4, 2), (4, 4), (8, 4), (8, 8), (16, 8)]
    rows = b"".join((b"\0" + b"\x80" * width) * height for width, height in passes)
    return raw.PNG_START + raw.png_header(16, 16, 8, 0, 1) + raw.png_chunk(b"IDAT", zlib.compress(rows)) + raw.PNG_END


def animation(format_name: str) -> bytes:
    frames = [Image.new("RGB", raw.SIZE, colour) for colour in ("black", "white")]
    options = {"lossless": True} if format_name == "WEBP" else {}
    return encode(picture(), format_name, save_all=True, append_images=frames, duration=40, **options)


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


def deep_png(depth: int, colour: int, row: bytes) -> bytes:
    return raw.png(16, 16, depth, colour, [row] * 16)


_CUT: Pixels = {(2, 27): RED, (37, 2): WHITE, (37, 27): WHITE}
_SWAPPED: Pixels = {(2, 27): BLUE, (37, 27): RED}
ODD: dict[str, Odd] = {
    "plain.png": Odd("nothing odd", lambda: encode(picture()), pixels=PICTURE, tolerance=0),
    "really_a_png.jpg": Odd("PNG named as JPEG", lambda: encode(picture()), pixels=PICTURE, tolerance=0),
    "really_a_jpeg.svg": Odd("JPEG named as SVG", jpeg, pixels=PICTURE, tolerance=4),
    "no_extension": Odd("no extension", lambda: encode(picture()), pixels=PICTURE, tolerance=0),
    "shell.php.png": Odd(
        "PNG that holds PHP",
        lambda: raw.with_chunks(encode(picture()), raw.png_chunk(b"tEXt", b"a\0<?php system($_GET['c']); ?>")),
        pixels=PICTURE,
    ),
    "page.html.jpg": Odd(
        "JPEG that is a web page too",
        lambda: raw.after_start(jpeg(), raw.jpeg_segment(0xFE, b"<html><script>alert(1)</script>")),
        pixels=PICTURE,
        tolerance=4,
    ),
    "archive.zip.png": Odd(
        "PNG with a ZIP archive behind it",
        lambda: encode(picture()) + b"PK\3\4" + bytes(300) + b"PK\5\6" + bytes(18),
        pixels=PICTURE,
    ),
    "script.gif": Odd(
        "GIF that is JavaScript too",
        lambda: raw.gif(16, 16, raw.gif_frame(16, 16) + b"!\xfe\x0a*/=alert(1\0") + b"//",
        (16, 16),
        {(8, 8): RED},
    ),
    "smallest.png": Odd("16 x 16", lambda: encode(one_grey()), (16, 16), UNIFORM),
    "scroll.png": Odd(
        "400 x 16, as long as allowed", lambda: encode(Image.new("L", (400, 16), 128)), (400, 16), {(399, 15): GREY}
    ),
    "bits1.png": Odd("1-bit grey", lambda: deep_png(1, 0, b"\xff\x00"), (16, 16), {(3, 3): WHITE, (12, 3): (0, 0, 0)}),
    "bits2.png": Odd(
        "2-bit grey", lambda: deep_png(2, 0, b"\xff\0\0\0"), (16, 16), {(3, 3): WHITE, (12, 3): (0, 0, 0)}
    ),
    "deep_grey.png": Odd("16-bit grey", lambda: deep_png(16, 0, b"\x80\x80" * 16), (16, 16), UNIFORM),
    "deep.png": Odd(
        "16-bit colour", lambda: deep_png(16, 2, b"\x80\x80\xff\xff\0\0" * 16), (16, 16), {(8, 8): (128, 255, 0)}
    ),
    "deep_alpha.png": Odd("16-bit colour, invisible", lambda: deep_png(16, 6, bytes(128)), (16, 16), {(8, 8): WHITE}),
    "interlaced.png": Odd("Adam7", interlaced, (16, 16), UNIFORM, 0),
    "colour_key.png": Odd("one RGB colour invisible", lambda: encode(picture(), transparency=BLUE), pixels=_CUT),
    "palette_key.png": Odd("palette, one entry invisible", lambda: transparent_palette(1), pixels=_CUT),
    "palette_alpha.png": Odd("palette with alphas", lambda: transparent_palette(b"\xff\0"), pixels=_CUT),
    "alpha.png": Odd("right half invisible", lambda: encode(cut_out()), pixels=_CUT),
    "alpha.webp": Odd("right half invisible", lambda: encode(cut_out(), "WEBP", lossless=True), pixels=_CUT),
    "alpha.tif": Odd("right half invisible", lambda: encode(cut_out(), "TIFF"), pixels=_CUT),
    "alpha.avif": Odd("right half invisible", lambda: encode(cut_out(), "AVIF", quality=100), pixels=_CUT, tolerance=6),
    "moving.gif": Odd("three frames", lambda: animation("GIF"), pixels=PICTURE),
    "moving.webp": Odd("three frames", lambda: animation("WEBP"), pixels=PICTURE),
    "moving.png": Odd("three frames", lambda: animation("PNG"), pixels=PICTURE),
    "moving.avif": Odd("three frames", lambda: animation("AVIF"), pixels=PICTURE, tolerance=8),
    "long.gif": Odd("3,000 frames", lambda: raw.gif(16, 16, raw.gif_frame(16, 16) * 3000), (16, 16), {(8, 8): RED}),
    "wider_than_its_screen.gif": Odd(
        "a frame beyond the screen", lambda: raw.gif(10, 10, raw.gif_frame(40, 30)), pixels={(35, 25): RED}
    ),
    "cmyk.jpg": Odd(
        "CMYK, inverted as Adobe does",
        lambda: jpeg(Image.new("CMYK", (32, 32), (0, 255, 255, 0))),
        (32, 32),
        {(9, 9): RED},
        3,
    ),
    "progressive.jpg": Odd("progressive", lambda: jpeg(progressive=True), pixels=PICTURE, tolerance=4),
    "grey.jpg": Odd("grey", lambda: jpeg(one_grey()), (16, 16), UNIFORM),
    "profile.png": Odd(
        "a profile that exchanges red and blue",
        lambda: encode(picture(), icc_profile=exchanged_profile()),
        pixels=_SWAPPED,
    ),
    "profile.jpg": Odd("the same", lambda: jpeg(icc_profile=exchanged_profile()), pixels=_SWAPPED, tolerance=5),
    "broken_profile.png": Odd(
        "a profile of noise", lambda: encode(picture(), icc_profile=b"\xde\xad" * 999), pixels=PICTURE
    ),
    "cut_profile.png": Odd(
        "half a profile", lambda: encode(picture(), icc_profile=exchanged_profile()[:300]), pixels=PICTURE
    ),
    "huge_profile.tif": Odd(
        "a sound profile and 3 MB behind it",
        lambda: encode(picture(), "TIFF", icc_profile=exchanged_profile() + bytes(3_000_000)),
        pixels=_SWAPPED,
    ),
    "unzippable_profile.png": Odd(
        "a profile that does not unpack",
        lambda: raw.with_chunks(encode(picture()), raw.png_chunk(b"iCCP", b"a\0\0nonsense")),
        pixels=PICTURE,
    ),
    **{
        f"turned_{i}.jpg": Odd(f"EXIF orientation {i}", lambda i=i: turned(i), pixels=PICTURE, tolerance=5)
        for i in range(1, 9)
    },
    **{
        f"turned_6.{end}": Odd("EXIF orientation 6", lambda f=form: turned(6, f), pixels=PICTURE, tolerance=6)
        for end, form in {"png": "PNG", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF"}.items()
    },
    "turned_99.jpg": Odd("an EXIF orientation that does not exist", lambda: turned(99), pixels=PICTURE, tolerance=4),
    "damaged_exif.jpg": Odd(
        "EXIF that points nowhere", lambda: jpeg(exif=b"Exif\0\0MM\0*\0\0\0\xff\x01"), pixels=PICTURE, tolerance=4
    ),
    "damaged_exif.png": Odd(
        "EXIF of noise", lambda: encode(picture(), exif=b"Exif\0\0\xff\xfe\xfd" * 9), pixels=PICTURE
    ),
    "huge_exif.jpg": Odd(
        "60 kB of EXIF", lambda: jpeg(exif=b"Exif\0\0" + raw.shared_tags(1, 60_000)), pixels=PICTURE, tolerance=4
    ),
    "huge_exif.webp": Odd(
        "2 MB of EXIF",
        lambda: encode(picture(), "WEBP", lossless=True, exif=raw.shared_tags(1, 2_000_000)),
        pixels=PICTURE,
    ),
    "looping_exif.jpg": Odd(
        "EXIF whose second directory is its first",
        lambda: jpeg(exif=b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + raw.directory([(34665, "long", [8])], 8, 8)),
        pixels=PICTURE,
        tolerance=4,
    ),
} | RASTERS
