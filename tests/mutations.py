"""Ways to damage a file, drawn at random and the same for the same seed."""

from __future__ import annotations

import random
import struct
import zlib

#: numbers at which readers trip: ends of ranges, powers of two, sizes just in and just out of the limits
TELLING = (
    *(0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 7740, 32_767, 32_768, 65_535, 65_536),
    *(2**24, 2**31 - 1, 2**31, 2**32 - 1),
)
KINDS = ("cut", "flip", "byte", "number", "remove", "repeat", "move", "splice", "put")
MAX_BYTES = 300_000  # a mutated file grows no further


def mutate(data: bytes, draw: random.Random, donor: bytes = b"") -> bytes:
    """Damage a file in one to six places; ``donor`` is where spliced bytes come from. Never raises."""
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5, 6))):
        _damage(result, draw, donor or data)
        del result[MAX_BYTES:]
    return repaired(bytes(result)) if draw.random() < 0.75 else bytes(result)


def _damage(data: bytearray, draw: random.Random, donor: bytes) -> None:
    # Most of what decides stands in the first bytes, and most changes worth making are small.
    size, value = draw.choice((1, 1, 2, 2, 4, 4, 8, 16, 64, 256, 4096)), draw.randrange(256)
    # The first four bytes say which decoder is asked: damaged, a file is no longer looked at by any.
    at = min(len(data), 4 + int(draw.random() ** draw.choice((1, 1, 3)) * max(0, len(data) - 4)))
    kind, there, end = draw.choice(KINDS), draw.random(), at + size
    if kind == "cut":
        del data[at:]
    elif kind == "put":
        data[at:at] = bytes([value]) * size
    elif kind == "splice":
        start = int(there * len(donor))
        data[at:at] = donor[start : start + 4 * size]
    elif at >= len(data):
        return
    elif kind == "flip":
        data[at] ^= 1 << value % 8
    elif kind == "byte":
        data[at] = value
    elif kind == "number":
        width, order = draw.choice((1, 2, 4)), draw.choice(("little", "big"))
        data[at : at + width] = (draw.choice(TELLING) % 256**width).to_bytes(width, order)
    elif kind == "remove":
        del data[at:end]
    elif kind == "repeat":
        data[end:end] = data[at:end] * (1 + value % 32)
    elif kind == "move":
        piece = data[at:end]
        del data[at:end]
        place = int(there * len(data))
        data[place:place] = piece


def repaired(data: bytes) -> bytes:
    """Give the chunks of a PNG their right sums and a WebP its length, or a reader never gets past the damage."""
    if data[:4] == b"RIFF":
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    result, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        (n,) = struct.unpack_from(">I", data, place)
        end = place + 8 + n
        if end + 4 > len(data):
            break
        result += data[place:end] + struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(result + data[place:])
