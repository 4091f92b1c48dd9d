"""Small files that ask for much: each is made so that a plain decoder spends minutes or gigabytes on it.

``n`` is about the size of the file in bytes where the cost grows with it. Answered or refused, it must be soon.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests import image_bytes as raw
from tests.image_bytes import encode, picture
from tests.odd_files import cmyk_profile, exchanged_profile, jpeg

SIDE = 7740  # squared just below 60 million pixels


def one_comment(n: int) -> bytes:
    """GIF: a comment in pieces, each joined to all before it by a copy."""
    return raw.gif(40, 30, b"!\xfe" + (b"\xff" + b"x" * 255) * (n // 256) + b"\0" + raw.gif_frame(40, 30))


def many_comments(n: int) -> bytes:
    return raw.gif(40, 30, b"!\xfe\x01x\0" * (n // 5) + raw.gif_frame(40, 30))


def remarks(n: int) -> bytes:
    """PPM of digits: every remark is cut out of its block by a copy."""
    return b"P3 40 30 255\n" + b"#\n" * (n // 2) + b"1 " * 3600


def digits(n: int) -> bytes:
    side = int((n / 6) ** 0.5)
    return f"P3 {side} {side} 255\n".encode() + b"1 " * (side * side * 3)


def odd_white(n: int) -> bytes:
    """PPM whose white is no usual number, so that every sample is scaled by itself."""
    side = int((n / 3) ** 0.5)
    return f"P6 {side} {side} 254\n".encode() + b"1" * (side * side * 3)


def blanks(n: int) -> bytes:
    return b"P6" + b" " * n + b"40 30 255\n" + b"1" * 3600


def ends_of_line(n: int) -> bytes:
    """BMP with one pixel a row, the rest filled up one by one: 6 kB can ask for 59 million steps."""
    n_rows = n // 4
    return raw.bmp(25 * n_rows, n_rows, 8, 1, b"\x01\x01\0\0" * n_rows + b"\0\1", b"\0\1\2\0" * 256)


def run_lengths(n: int) -> bytes:
    side = int((n / 2) ** 0.5)
    return raw.bmp(side, side, 8, 1, b"\x01\x01" * (side * side) + b"\0\1", b"\0\1\2\0" * 256)


def exif_pieces(n: int) -> bytes:
    return raw.after_start(jpeg(), *[raw.jpeg_segment(0xE1, b"Exif\0\0x")] * (n // 11))


def markers(n: int) -> bytes:
    return raw.after_start(jpeg(), *[raw.jpeg_segment(0xFE)] * (n // 4))


def shared_exif(form: str) -> Callable[[int], bytes]:
    """EXIF with 5,000 tags that all point at the same ``n`` bytes."""

    def make(n: int) -> bytes:
        """EXIF whose tags share their data."""
        exif = raw.shared_tags(5000, n, 1000)
        if form == "PNG":
            return raw.with_chunks(encode(picture()), raw.png_chunk(b"eXIf", exif))
        if form == "JPEG":
            pieces = [exif[i : i + 65_000] for i in range(0, len(exif), 65_000)]
            return raw.after_start(jpeg(), *[raw.jpeg_segment(0xE1, b"Exif\0\0" + piece) for piece in pieces])
        plain = raw.shared_tags(1, n, 1000)  # of the same length: the writer of AVIF follows every tag too
        return encode(picture(), form, exif=plain, **({"lossless": True} if form == "WEBP" else {})).replace(
            plain, exif
        )

    return make


def shared_index(n: int) -> bytes:
    """The same in the index of pictures that stereo cameras write."""
    index = raw.shared_tags(2700, n, 1000)
    return raw.after_start(jpeg(), raw.jpeg_segment(0xE2, b"MPF\0" + index))


def shared_tags(n: int) -> bytes:
    """TIFF: the same in the directory of the picture itself."""
    fields = raw.directory(raw.tiff_fields(40, 30, 1200), 0)
    tags = b"".join(struct.pack("<HHII", 40_000 + i, 7, n, 8) for i in range(5000))
    n_fields = struct.unpack_from("<H", fields)[0]
    head = b"II*\0" + struct.pack("<I", 8 + n) + b"\x80" * n
    return head + struct.pack("<H", n_fields + 5000) + fields[2 : 2 + 12 * n_fields] + tags + bytes(4)


def strips(n: int) -> bytes:
    """TIFF: the same two strips over and over, far more than the picture has rows."""
    more = [(273, "long", [8] * (n // 4)), (278, "long", [15])]
    return raw.tiff(b"\x80" * 1200, raw.tiff_fields(40, 30, 1200, more=more))


def tile(n: int) -> bytes:
    """TIFF of 40 x 30 in one tile of gigabytes, all zeros."""
    side = int((n * 220) ** 0.5)
    pixels = raw.packed(bytes(side) for _ in range(side))
    fields = [field for field in raw.tiff_fields(40, 30, 0, compression=8) if field[0] not in (273, 278, 279)]
    fields += [(322, "long", [side]), (323, "long", [side]), (324, "long", [8]), (325, "long", [len(pixels)])]
    return raw.tiff(pixels, fields)


def profiles(n: int) -> bytes:
    chunk = raw.png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6)))
    return raw.with_chunks(encode(picture()), *[chunk] * (n // len(chunk)))


def chunks(n: int) -> bytes:
    return raw.with_chunks(encode(picture()), *[raw.png_chunk(b"aaAa")] * (n // 12))


def pixels_one_by_one(n: int) -> bytes:
    """PNG whose packed pixels come in chunks of one byte."""
    side = int((n / 39) ** 0.5)
    rows = np.random.default_rng(0).integers(0, 256, (side, side * 3), np.uint8)
    data = raw.packed(b"\0" + row.tobytes() for row in rows)
    pieces = b"".join(raw.png_chunk(b"IDAT", data[i : i + 1]) for i in range(len(data)))
    return raw.PNG_START + raw.png_header(side, side) + pieces + raw.PNG_END


def scans(n: int) -> bytes:
    """JPEG of 60 million grey pixels, refined again and again by scans of 70 bytes that change nothing."""

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


#: name -> how it is made, and the bytes with which an unguarded decoder takes seconds or hundreds of megabytes
GREEDY: dict[str, tuple[Callable[[int], bytes], int]] = {
    "one_comment.gif": (one_comment, 6_000_000),
    "many_comments.gif": (many_comments, 1_000_000),
    "remarks.ppm": (remarks, 600_000),
    "digits.ppm": (digits, 10_000_000),
    "odd_white.ppm": (odd_white, 3_000_000),
    "blanks.ppm": (blanks, 8_000_000),
    "ends_of_line.bmp": (ends_of_line, 2600),
    "run_lengths.bmp": (run_lengths, 6_000_000),
    "exif_pieces.jpg": (exif_pieces, 3_000_000),
    "markers.jpg": (markers, 8_000_000),
    "shared_exif.jpg": (shared_exif("JPEG"), 300_000),
    "shared_exif.png": (shared_exif("PNG"), 300_000),
    "shared_exif.webp": (shared_exif("WEBP"), 300_000),
    "shared_exif.avif": (shared_exif("AVIF"), 300_000),
    "shared_index.jpg": (shared_index, 64_900),
    "shared_tags.tif": (shared_tags, 200_000),
    "strips.tif": (strips, 1_000_000),
    "tile.tif": (tile, 1_000_000),
    "profiles.png": (profiles, 800_000),
    "chunks.png": (chunks, 8_000_000),
    "pixels_one_by_one.png": (pixels_one_by_one, 11_000_000),
    "scans.jpg": (scans, 20_000),
}


# --- pictures within every limit that are the most work, and take the most memory -------------------------------------


NOISE = (
    np.random.default_rng(0).integers(0, 256, 4 * SIDE, np.uint8).tobytes()
)  # a row; no pixel is like the one before


def alpha_with_profile() -> bytes:
    profile = raw.png_chunk(b"iCCP", b"x\0\0" + zlib.compress(exchanged_profile()))
    return raw.png(SIDE, SIDE, 8, 6, (NOISE for _ in range(SIDE)), before=profile)


def deep_alpha() -> bytes:
    row = b"\1\2\3\4\5\6\7\x08" * SIDE
    return raw.png(SIDE, SIDE, 16, 6, (row for _ in range(SIDE)))


def wide_tiff(bits: list[int], photometric: int, sample_format: int, row: bytes, profile: bytes = b"") -> bytes:
    data = raw.packed(row for _ in range(SIDE))
    more: list[raw.Field] = [(339, "short", [sample_format] * len(bits))]
    more += [(34675, "undefined", profile)] if profile else []
    fields = raw.tiff_fields(SIDE, SIDE, len(data), bits=bits, photometric=photometric, compression=8, more=more)
    return raw.tiff(data, fields)


def noisy_jpeg(**options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return encode(Image.fromarray(values), "JPEG", subsampling=0, **options)


LARGEST: dict[str, Callable[[], bytes]] = {
    "alpha_with_profile.png": alpha_with_profile,
    "deep_alpha.png": deep_alpha,
    "float.tif": lambda: wide_tiff([32], 1, 3, struct.pack("<f", 0.3) * SIDE),
    "integer.tif": lambda: wide_tiff([32], 1, 2, NOISE),
    "cmyk.tif": lambda: wide_tiff([8] * 4, 5, 1, NOISE, cmyk_profile((135, 128, 128))),
    "canvas.webp": lambda: raw.webp_animation(SIDE, SIDE, [picture()]),
    "canvas.gif": lambda: raw.gif(SIDE, SIDE, raw.gif_frame(40, 30)),
    "noise.jpg": lambda: noisy_jpeg(quality=40),
    "noise_progressive.jpg": lambda: noisy_jpeg(quality=40, progressive=True),
}
