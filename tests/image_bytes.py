"""Picture formats written byte by byte, to say what no sane writer would: false sizes, endless comments, shared data."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Sequence

from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SIZE = (40, 30)

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def picture(width: int = SIZE[0], height: int = SIZE[1]) -> Image.Image:
    """Left half red, right half blue, green in the corner at the top left: no turn or mirror of it looks the same."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    image.paste(GREEN, (0, 0, width // 4, height // 4))
    return image


def encode(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def packed(pieces: Iterable[bytes], level: int = 1) -> bytes:
    """A zlib stream of pieces that are never all in memory: a gigabyte of zeros becomes a megabyte."""
    packer = zlib.compressobj(level)
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def png(
    width: int, height: int, depth: int, colour: int, rows: Iterable[bytes], before: bytes = b"", after: bytes = b""
) -> bytes:
    """``rows`` without their filter bytes; ``before`` and ``after`` are chunks on either side of the pixels."""
    data = packed(b"\0" + row for row in rows)
    return PNG_START + png_header(width, height, depth, colour) + before + png_chunk(b"IDAT", data) + after + PNG_END


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG file with more chunks directly after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


#: TIFF field types: name -> number, struct code
FIELD_TYPES = {"byte": (1, "B"), "ascii": (2, "B"), "short": (3, "H"), "long": (4, "I"), "undefined": (7, "B")}
Field = tuple[int, str, "Sequence[int] | bytes"]


def directory(fields: Iterable[Field], start: int, next_start: int = 0, order: str = "<") -> bytes:
    """One TIFF directory that stands at ``start``, values that do not fit in their field behind it, tags in any order."""
    fields = list(fields)
    entries, behind, place = b"", b"", start + 2 + 12 * len(fields) + 4
    for tag, kind, values in fields:
        number, code = FIELD_TYPES[kind]
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        entries += struct.pack(f"{order}HHI", tag, number, len(values))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", place + len(behind))
            behind += data + bytes(len(data) % 2)
    return struct.pack(f"{order}H", len(fields)) + entries + struct.pack(f"{order}I", next_start) + behind


def tiff(pixels: bytes, fields: Iterable[Field], next_start: int = 0, order: str = "<") -> bytes:
    """A TIFF file: header, pixels from byte 8 on, then one directory. ``fields`` say where the pixels are (8)."""
    start = 8 + len(pixels) + len(pixels) % 2
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}I", start)
    return (head + pixels).ljust(start, b"\0") + directory(fields, start, next_start, order)


def tiff_fields(
    width: int,
    height: int,
    n_bytes: int,
    *,
    bits: Sequence[int] = (8,),
    photometric: int = 1,
    compression: int = 1,
    more: Sequence[Field] = (),
) -> list[Field]:
    """The usual fields of a picture in one strip; ``more`` replaces those of the same tag."""
    usual: dict[int, Field] = {
        256: (256, "long", [width]),
        257: (257, "long", [height]),
        258: (258, "short", bits),
        259: (259, "short", [compression]),
        262: (262, "short", [photometric]),
        273: (273, "long", [8]),
        277: (277, "short", [len(bits)]),
        278: (278, "long", [height]),
        279: (279, "long", [n_bytes]),
    }
    usual |= {field[0]: field for field in more}
    return [usual[tag] for tag in sorted(usual)]


def shared_tags(n_tags: int, n_bytes: int, first_tag: int = 40_000) -> bytes:
    """A directory at byte 8 whose many tags all point at the same bytes: every tag read costs ``n_bytes`` anew."""
    entries = [struct.pack("<HHII", first_tag + i, 7, n_bytes, 8) for i in range(n_tags)]
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", n_tags) + b"".join(entries) + bytes(4)
    return head.ljust(8 + n_bytes, b"\0")


def jpeg_segment(marker: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def after_start(data: bytes, *segments: bytes) -> bytes:
    """A JPEG file with more segments directly after its first two bytes."""
    return data[:2] + b"".join(segments) + data[2:]


def gif_frame(width: int, height: int, left: int = 0, top: int = 0) -> bytes:
    """A frame of colour 0, written with a code that is cleared before it can grow: 9-bit codes need no table."""
    bits, n_codes = 0, 0
    clear, end = 256, 257
    codes: list[int] = []
    for i in range(width * height):
        if i % 200 == 0:
            codes.append(clear)
        codes.append(0)
    for code in [*codes, end]:
        bits |= code << (9 * n_codes)
        n_codes += 1
    data = bits.to_bytes((9 * n_codes + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x08" + blocks + b"\0"


def gif(width: int, height: int, body: bytes) -> bytes:
    """``body`` is frames and extensions; colour 0 is red, colour 1 green."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([*RED, *GREEN]) + body + b";"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks, each with its length before it and padded to an even one."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def webp_animation(width: int, height: int, frames: Iterable[Image.Image]) -> bytes:
    """An animation that declares any canvas, with small frames in its corner."""
    chunks = [vp8x(width, height, 0x02), (b"ANIM", bytes(4) + struct.pack("<H", 0))]
    for frame in frames:
        still = encode(frame, "WEBP", lossless=True)[12:]
        place = bytes(6) + (frame.width - 1).to_bytes(3, "little") + (frame.height - 1).to_bytes(3, "little")
        chunks.append((b"ANMF", place + (100).to_bytes(3, "little") + b"\0" + still))
    return riff(*chunks)


def boxes(*kinds: tuple[bytes, bytes]) -> bytes:
    """ISO base media boxes, as AVIF and HEIC are made of."""
    return b"".join(struct.pack(">I", 8 + len(data)) + kind + data for kind, data in kinds)


def bmp(width: int, height: int, bits: int, compression: int, pixels: bytes, palette: bytes = b"") -> bytes:
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    colours = len(palette) // 4
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, colours, 0)
    return head + palette + pixels
