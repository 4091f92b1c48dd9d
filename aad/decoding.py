"""Pillow's decoders, kept within time and memory: what a hostile file could make them do over and over is refused here.

Pillow checks little before it works: it follows every tag of a directory although all point at the same bytes, joins a
comment of a hundred thousand pieces one by one, and lets a tile be larger than its picture. So the file is handed over
through a meter, the directory of a TIFF is looked at first, and EXIF is read here, for its one tag that matters.
"""

import io
import re
import struct
import time
import zlib
from contextlib import suppress

from PIL import Image, ImageFile

MAX_PLANES = 6  # samples of a pixel, each of which may have strips or tiles of its own; Pillow takes no more
ORIENTATION = 0x0112  # tag of EXIF
#: Pillow would parse these two by itself, on opening and without a limit: EXIF and the index of a stereo camera's file
_SELF_PARSED = re.compile(rb"(\xff[\xe1\xe2]..)(Exif\0\0|MPF\0)", re.DOTALL)
#: Chunks of a PNG that hold words or a profile, packed: Pillow would refuse the picture where they are large
_WORDS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
#: what a picture needs besides
_PLAIN = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
_TURNS = b"XML:com.adobe.xmp", b"Raw profile type exif"  # words that may say which way up it is
_LARGEST = 1 << 20  # bytes of one that is looked at, as Pillow has it
_AVIF_EXIF = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)

_COLOURS = re.compile(rb"\0\0\0\x04cICP(.)(.)|colrnclx\0(.)\0(.)", re.DOTALL)


class GreedyFileError(ValueError):
    """A file asks for more time or memory than a picture of its size has use for."""


class _MeteredFile(io.BytesIO):
    """A file in memory, read until a moment of `time.monotonic`, not over and over, and ``block`` bytes at once (0: any)."""

    def __init__(self, data: bytes, deadline: float, block: int = 0) -> None:
        super().__init__(data)
        self.deadline, self.block = deadline, block
        self.n_left = 4 * len(data) + 1_000_000  # a decoder reads a file once or twice; TIFF its directory four times

    def read(self, size: int | None = -1, /) -> bytes:
        if self.block and (size is None or not 0 <= size <= self.block):
            size = self.block
        data = super().read(size)
        self.n_left -= len(data)
        if self.n_left < 0:
            raise GreedyFileError("one that refers to the same data over and over")
        if time.monotonic() > self.deadline:
            raise GreedyFileError("one that takes longer")
        return data


def open_format(format_name: str, data: bytes, seconds: float) -> ImageFile.ImageFile:
    """Open as this format; `GreedyFileError` where the file asks for too much, else whatever Pillow raises."""
    if format_name == "TIFF":
        _check_tiff(data)
    elif format_name == "JPEG":
        data = _SELF_PARSED.sub(lambda found: found[1] + found[2].lower(), data)  # hidden, and `orientation` reads it
    elif format_name == "PNG":
        data = _without_words(data)
    elif format_name == "AVIF":
        data = _AVIF_EXIF.sub(rb"\1exif", data)  # how an AVIF is turned stands in boxes of its own
    factory, _ = Image.OPEN[format_name]
    block = 65_536 if format_name == "PPM" else 0  # its remarks are cut out one by one, by a copy of the block each
    image = factory(_MeteredFile(data, time.monotonic() + seconds, block), "")
    told = data if format_name == "AVIF" and "icc_profile" not in image.info else b""
    told = data.partition(b"IDAT")[0] if format_name == "PNG" else told
    if found := _COLOURS.search(told):  # in an AVIF a profile goes before the numbers
        image.info["cicp"] = tuple(number[0] for number in found.groups() if number)
    if format_name == "PNG" and (key := image.info.get("transparency")) is not None:  # the key is as deep as the file
        if data[24:26] == b"\x10\2":
            image.info["transparency"] = tuple(value >> 8 for value in key)
        elif data[24] in (2, 4) and data[25] == 0:
            image.info["transparency"] = key * (255 // (2 ** data[24] - 1))
    if format_name == "JPEG":
        image.decodermaxblock = 4096  # the clock is read between blocks, and one scan may take 70 bytes
    return image


def orientation(image: Image.Image) -> int:
    """EXIF orientation of a loaded picture that `open_format` opened, 1 where none is stored or Pillow has applied it."""
    if image.format == "TIFF":
        return 1  # turned as it loads
    exif = image.info.get("exif") or b""
    for name, segment in getattr(image, "applist", ()):
        if name == "APP1" and segment.startswith(b"exif\0\0"):
            exif = segment[6:]
            break
    if not exif and (lines := image.info.get("Raw profile type exif")):  # how ImageMagick kept it
        with suppress(ValueError):
            exif = bytes.fromhex("".join(lines.split("\n")[3:]))
    return turn_of(exif, image.info.get("xmp") or b"")


def turn_of(exif: bytes, xmp: bytes = b"") -> int:
    """Which way up, from 1 to 8, by EXIF or, where that does not say it, by XMP; 1 where neither does."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    with suppress(struct.error, KeyError):  # damaged, or not said
        turn = fields(exif)[ORIENTATION][2]
        return turn if 1 <= turn <= 8 else 1
    found = re.search(rb"""tiff:Orientation(?:\s*=\s*["']|>)\s*([1-8])\b""", xmp)
    return int(found[1]) if found else 1


def fields(data: bytes) -> dict[int, tuple[int, int, int]]:
    """First directory of a TIFF or of EXIF: tag -> number of values, bytes they take, the value where it is one integer."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (start,) = struct.unpack_from(f"{order}Q", data, 8) if big else struct.unpack_from(f"{order}I", data, 4)
    (n,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    place, found = start + (8 if big else 2), {}
    for i in range(min(n, 65_536)):
        tag, kind, count, value = entry.unpack_from(data, place + i * entry.size)
        width = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}.get(kind, 0)
        number = int.from_bytes(value[: min(width, len(value))], "little" if order == "<" else "big")
        found[tag] = (count, count * width, number)
    return found


def _without_words(data: bytes) -> bytes:
    """A PNG without what decides nothing, and with one, of a usual size, of each kind of words that may."""
    parts, place, seen = [data[:8]], 8, set()
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + length]
        place += len(chunk)
        if kind in _WORDS:
            name, _, body = chunk[8:-4].partition(b"\0")
            told = kind, b"" if kind == b"iCCP" else name
            kept = (kind == b"iCCP" or name in _TURNS) and told not in seen and _is_usual(kind, body)
            seen.add(told)
        else:
            kept = kind in _PLAIN or not kind[0] & 32  # a capital: it is needed
        if kept:
            parts.append(chunk)
    return b"".join([*parts, data[place:]])


def _is_usual(kind: bytes, body: bytes) -> bool:
    """Whether the body of a chunk, once it is unpacked, has a size as Pillow takes it."""
    if kind == b"tEXt" or (kind == b"iTXt" and body[:1] == b"\0"):
        return len(body) <= _LARGEST
    packed = body[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else body[1:]
    with suppress(zlib.error):
        return len(zlib.decompressobj().decompress(packed, _LARGEST + 1)) <= _LARGEST
    return False


def _check_tiff(data: bytes) -> None:
    try:
        found = fields(data)
    except (struct.error, KeyError):
        return  # damaged: what Pillow says of it is better
    if sum(n_bytes for _, n_bytes, _ in found.values()) > 2 * len(data):
        raise GreedyFileError("one whose tags share their data")
    width, height, wide, high = (found.get(tag, (0, 0, 0))[2] for tag in (256, 257, 322, 323))
    if not (width and height):
        return
    n_tiles = -(-width // wide) * -(-height // high) if wide and high else 0
    if found.get(273, (0,))[0] > MAX_PLANES * height or found.get(324, (0,))[0] > MAX_PLANES * n_tiles:
        raise GreedyFileError("one of more pieces than it has room for")
    if wide * high > 4 * (width + 1024) * (height + 1024):
        raise GreedyFileError("one whose tiles are larger than the picture")
