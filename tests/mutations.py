"""Ways to damage a file, as steps that can be written down and taken again: the fuzzers draw steps, not bytes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: numbers at which readers trip: ends of ranges, powers of two, sizes just in and just out of the limits
TELLING = (
    *(0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 7740, 32_767, 32_768, 65_535, 65_536),
    *(2**24, 2**31 - 1, 2**31, 2**32 - 1),
)
KINDS = ("cut", "flip", "byte", "number", "remove", "repeat", "move", "splice", "put")
MAX_BYTES = 300_000  # a mutated file grows no further


@dataclass(frozen=True)
class Step:
    """One change.

    Attributes:
        kind: One of `KINDS`.
        where: Place in the file, as a share of its length.
        other: Second place, in this file or in the donor.
        size: Bytes concerned, or width of a number.
        value: Bit, byte, or which of `TELLING`.
    """

    kind: str
    where: float
    other: float
    size: int
    value: int

    def record(self) -> dict[str, Any]:
        return asdict(self)


def draw_step(draw: random.Random) -> Step:
    # Most of what decides stands in the first bytes, and most changes worth making are small.
    where = draw.random() ** draw.choice((1, 1, 3))
    size = draw.choice((1, 1, 2, 2, 4, 4, 8, 16, 64, 256, 4096))
    return Step(draw.choice(KINDS), where, draw.random(), size, draw.randrange(256))


def mutate(data: bytes, steps: Sequence[Step], donor: bytes = b"") -> bytes:
    """Take the steps in turn; ``donor`` is where spliced bytes come from. Never raises, and is the same each time."""
    result = bytearray(data)
    for step in steps:
        _take(result, step, donor or bytes(data))
        del result[MAX_BYTES:]
    return repaired(bytes(result)) if steps and steps[-1].value % 4 else bytes(result)


def _take(data: bytearray, step: Step, donor: bytes) -> None:
    # The first four bytes say which decoder is asked: damaged, a file is no longer looked at by any.
    at = min(len(data), 4 + int(step.where * max(0, len(data) - 4)))
    end = at + step.size
    there = int(step.other * len(donor))
    if step.kind == "cut":
        del data[at:]
    elif step.kind == "put":
        data[at:at] = step.value.to_bytes(1, "big") * step.size
    elif step.kind == "splice":
        data[at:at] = donor[there : there + 4 * step.size]
    elif at >= len(data):
        return
    elif step.kind == "flip":
        data[at] ^= 1 << step.value % 8
    elif step.kind == "byte":
        data[at] = step.value
    elif step.kind == "number":
        width = (1, 2, 4)[step.size % 3]
        number = TELLING[step.value % len(TELLING)] % 256**width
        data[at : at + width] = number.to_bytes(width, "little" if step.other < 0.5 else "big")
    elif step.kind == "remove":
        del data[at:end]
    elif step.kind == "repeat":
        data[end:end] = data[at:end] * (1 + step.value % 32)
    elif step.kind == "move":
        piece = data[at:end]
        del data[at:end]
        place = int(step.other * len(data))
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
