"""Picture formats written byte by byte, to say what no sane writer would: false sizes, endless comments, shared data."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, PngImagePlugin

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SIZE = (40, 30)
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
#: how Pillow is to write a picture so that its colours come back, nearly
FAITHFUL: dict[str, dict[str, object]] = {
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 100, "subsampling": "4:4:4"},
    "AVIF": {"quality": 100, "subsampling": "4:4:4", "speed": 10},
}


def picture() -> Image.Image:
    """Left half red, right half blue, green in the corner at the top left: no turn or mirror of it looks the same."""
    image = Image.new("RGB", SIZE, RED)
    image.paste(BLUE, (20, 0, 40, 30))
    image.paste(GREEN, (0, 0, 10, 7))
    return image


def encode(image: Image.Image | None = None, format_name: str = "PNG", **options: object) -> bytes:
    """A picture as Pillow writes it; by default the one above."""
    file = io.BytesIO()
    (image or picture()).save(file, format_name, **{**FAITHFUL.get(format_name, {}), **options})
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int = 40, height: int = 30, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def packed(pieces: Iterable[bytes]) -> bytes:
    """A zlib stream of pieces that are never all in memory: a gigabyte of zeros becomes a megabyte."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def png(width: int, height: int, depth: int, colour: int, rows: Iterable[bytes], before: bytes = b"") -> bytes:
    """``rows`` without their filter bytes; ``before`` are chunks between the header and the pixels."""
    data = png_chunk(b"IDAT", packed(b"\0" + row for row in rows))
    return PNG_START + png_header(width, height, depth, colour) + before + data + PNG_END


def with_chunks(*chunks: bytes) -> bytes:
    """The picture as PNG with more chunks directly after its header."""
    data = encode()
    return data[:33] + b"".join(chunks) + data[33:]


#: values of a TIFF field by its tag: how one is packed (B, H, I; or "U", bytes of no type) and the values
Fields = Mapping[int, tuple[str, "Sequence[int] | bytes"]]


def tiff(pixels: bytes, fields: Fields, next_start: int = 0, order: str = "<") -> bytes:
    """A TIFF file: header, pixels from byte 8 on, one directory, and what does not fit into its fields behind it."""
    start = 8 + len(pixels) + len(pixels) % 2
    entries, behind, place = b"", b"", start + 2 + 12 * len(fields) + 4
    for tag, (kind, values) in sorted(fields.items()):
        data = struct.pack(f"{order}{len(values)}{kind.replace('U', 'B')}", *values)
        entries += struct.pack(f"{order}HHI", tag, {"B": 1, "H": 3, "I": 4, "U": 7}[kind], len(values))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", place + len(behind))
            behind += data + bytes(len(data) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start) + pixels
    directory = struct.pack(f"{order}H", len(fields)) + entries + struct.pack(f"{order}I", next_start)
    return head.ljust(start, b"\0") + directory + behind


def tiff_fields(
    width: int, height: int, n_bytes: int, bits: Sequence[int] = (8,), photometric: int = 1, compression: int = 1
) -> dict[int, tuple[str, Sequence[int] | bytes]]:
    """The usual fields of a picture in one strip at byte 8."""
    sizes = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", bits), 259: ("H", [compression])}
    strips = {273: ("I", [8]), 277: ("H", [len(bits)]), 278: ("I", [height]), 279: ("I", [n_bytes])}
    return sizes | strips | {262: ("H", [photometric])}


def tiff_tiles(width: int, height: int, side: int, starts: Sequence[int], sizes: Sequence[int]) -> Fields:
    """The usual fields of a picture in square tiles."""
    fields = {tag: field for tag, field in tiff_fields(width, height, 0).items() if tag not in (273, 278, 279)}
    return fields | {322: ("I", [side]), 323: ("I", [side]), 324: ("I", starts), 325: ("I", sizes)}


def shared_tags(n_tags: int, n_bytes: int, first_tag: int = 1000) -> bytes:
    """A directory at byte 8 whose many tags all point at the same bytes: every tag read costs ``n_bytes`` anew."""
    entries = [struct.pack("<HHII", first_tag + i, 7, n_bytes, 8) for i in range(n_tags)]
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", n_tags) + b"".join(entries)).ljust(8 + n_bytes, b"\0")


def jpeg_segment(marker: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def oriented(turn: int) -> bytes:
    """EXIF of that alone."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, turn, 0, 0)


def text(name: str, words: str, **how: bool) -> PngImagePlugin.PngInfo:
    told = PngImagePlugin.PngInfo()
    told.add_text(name, words, **how)
    return told


def with_segments(*segments: bytes, data: bytes = b"") -> bytes:
    """The picture, or another, as JPEG with more segments directly after its first two bytes."""
    data = data or encode(None, "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def gif_frame(width: int, height: int) -> bytes:
    """A frame of colour 0."""
    return encode(Image.new("P", (width, height)), "GIF")[19:-1]


def gif(width: int, height: int, body: bytes) -> bytes:
    """``body`` is frames and extensions; colour 0 is red, colour 1 green."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([*RED, *GREEN]) + body + b";"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks, each with its length before it and padded to an even one."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def vp8x(width: int = 40, height: int = 30, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def webp_canvas(width: int, height: int, n_frames: int = 1) -> bytes:
    """An animation that declares any canvas, with the picture in its corner."""
    place = bytes(6) + vp8x()[1][4:] + bytes([100, 0, 0, 0])
    frames = [(b"ANMF", place + encode(None, "WEBP")[12:])] * n_frames
    return riff(vp8x(width, height, 0x02), (b"ANIM", bytes(6)), *frames)


def bmp(width: int, height: int, bits: int, compression: int, pixels: bytes, palette: bytes = b"") -> bytes:
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    colours = len(palette) // 4
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, colours, 0)
    return head + palette + pixels
