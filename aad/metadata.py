"""Take out of an uploaded file what tells of its maker: where, when and with what it was made, comments, and what trails it.

The pixels are not decoded and stay as they are, with their colour profile and the way up. Formats that browsers draw are known:
JPEG, PNG and WebP. Another file, or one that is not built as its format asks, stays as it came.
"""

import contextlib
import re
import struct
import zlib
from pathlib import Path

from aad.decoding import ORIENTATION, turn_of

PNG_KEPT = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"tRNS", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT"}
PNG_TOLD = {b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"iCCP"}  # of the chunks, those whose words are looked at
WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
LARGEST = 2**20  # bytes of a text or a colour profile that is packed
XMP = b"http://ns.adobe.com/xap/1.0/\0"  # before it in a JPEG
WEBP_EXIF, WEBP_XMP = 0x08, 0x04  # flags of VP8X
SCAN_ENDS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker within or after the compressed rows


class UnknownError(ValueError):
    """Not a file that is known here."""


def strip_file(path: Path) -> None:
    """Strip one file where it lies; what cannot be is left as it is, for the decoder to judge."""
    with contextlib.suppress(UnknownError, struct.error, IndexError, OSError):
        content = path.read_bytes()
        stripped = strip(content)
        if stripped != content:
            beside = path.with_name(path.name[:40] + ".stripped")
            beside.write_bytes(stripped)
            beside.replace(path)


def strip(content: bytes) -> bytes:
    """The file without what tells of its maker.

    Raises:
        UnknownError: It is of another format, or cut off.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    raise UnknownError


def _jpeg(content: bytes) -> bytes:
    parts, exif, xmp, place = [], b"", b"", 2
    while True:
        if content[place] != 0xFF:
            raise UnknownError
        marker = content[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", content, place + 2)
        end = place + 2 + length
        if length < 2 or end > len(content):
            raise UnknownError
        body = content[place + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        if marker == 0xE1 and body.startswith(XMP):
            xmp = xmp or body
        if marker == 0xDA:
            while (found := SCAN_ENDS.search(content, end)) and found[0][1] == 0x01:  # a marker without a meaning
                end = found.end()
            if found is None:
                raise UnknownError
            end = found.start()
        profile = marker == 0xE2 and body.startswith(b"ICC_PROFILE\0")
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE or profile:
            parts.append(content[place:end])
        place = end
    if (turn := turn_of(exif, xmp)) != 1:
        exif = b"Exif\0\0" + _exif(turn)
        parts.insert(0, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


def _png(content: bytes) -> bytes:
    parts, exif, xmp, place, seen = [content[:8]], b"", b"", 8, set()
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            raise UnknownError
        name, _, body = content[place + 8 : end - 4].partition(b"\0") if kind in PNG_TOLD else (b"", b"", b"")
        told = b"" if kind == b"iCCP" else name
        is_first = (
            kind,
            told,
        ) not in seen  # a file may hold thousands of packed megabytes: of each kind one is unpacked
        seen.add((kind, told))
        if kind == b"eXIf":
            exif = content[place + 8 : end - 4]
        elif name == b"XML:com.adobe.xmp" and kind == b"iTXt" and is_first:
            text = body.split(b"\0", 3)[-1] if body[:1] == b"\0" else b""
            xmp = text or _inflated(body[2:].split(b"\0", 2)[-1])
        elif name == b"Raw profile type exif" and is_first and not exif:  # how ImageMagick kept it
            with contextlib.suppress(ValueError):
                exif = bytes.fromhex(
                    "".join((body if kind == b"tEXt" else _inflated(body[1:])).decode("latin-1").split("\n")[3:])
                )
        if kind == b"IEND":
            break
        if kind == b"iCCP" and (not is_first or len(_inflated(body[1:])) > LARGEST):
            place = end  # no profile: a decoder would refuse the picture for it
            continue
        if kind[0] < ord("a") or kind in PNG_KEPT:
            parts.append(content[place:end])
        place = end
    if (turn := turn_of(exif, xmp)) != 1:
        exif = _exif(turn)
        parts.append(struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif)))
    return b"".join([*parts, content[place:end]])


def _webp(content: bytes) -> bytes:
    parts, exif, xmp, place = [], b"", b"", 12
    (size,) = struct.unpack_from("<I", content, 4)
    if size + 8 > len(content):
        raise UnknownError
    while place + 8 <= size + 8:
        kind, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length + length % 2
        if end > len(content) + 1:
            raise UnknownError
        if kind == b"EXIF":
            exif = exif or content[place + 8 : end]
        if kind == b"XMP ":
            xmp = xmp or content[place + 8 : end]
        if kind in WEBP_KEPT:
            parts.append(content[place:end])
        place = end
    turn = turn_of(exif, xmp)
    if parts and parts[0].startswith(b"VP8X"):
        flags = parts[0][8] & ~(WEBP_EXIF | WEBP_XMP) | (WEBP_EXIF if turn != 1 else 0)
        parts[0] = parts[0][:8] + bytes([flags]) + parts[0][9:]
        if turn != 1:
            exif = _exif(turn)
            parts.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _inflated(packed: bytes) -> bytes:
    """No more than `LARGEST` bytes and one."""
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj().decompress(packed, LARGEST + 1)
    return b""


def _exif(turn: int) -> bytes:
    """Of one entry: which way up."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, ORIENTATION, 3, 1, turn, 0, 0)
