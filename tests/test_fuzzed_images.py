"""Whatever is done to a file, the door gives an upright RGB picture within the limits or a refusal, and never anything else.

Some hundred files, the same each time; hours of it: ``python -m tests.endurance images``.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

import pytest

from aad import images
from aad.images import MAX_ASPECT, MIN_SIDE, ImageError, load_image
from tests import image_bytes as raw
from tests.hostile_files import BAD, ODD
from tests.image_bytes import SIZE, encode
from tests.mutations import TELLING, mutate
from tests.test_images import check_words

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

MAX_PIXELS = 300_000  # so that no example takes long: a number in a header is soon a large one
SEEDS = [odd.data for odd in ODD.values()] + [data for data, _ in BAD.values() if isinstance(data, bytes)]
SEEDS = [data for data in SEEDS if len(data) < 20_000]


@pytest.fixture(autouse=True, scope="module")
def smaller() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MAX_PIXELS", MAX_PIXELS)
        yield


def load(data: bytes) -> tuple[int, int] | None:
    """Size of the picture, or None where it was refused; anything but these two fails the test."""
    try:
        result = load_image(data)
    except ImageError as error:
        check_words(str(error))
        return None
    assert (result.mode, result.info) == ("RGB", {})
    assert min(result.size) >= MIN_SIDE
    assert result.width * result.height <= MAX_PIXELS
    assert max(result.size) <= MAX_ASPECT * min(result.size)
    assert len(result.tobytes()) == 3 * result.width * result.height
    return result.size


def test_what_is_damaged_or_joined_is_answered_or_refused() -> None:
    for seed in range(120):
        draw = random.Random(seed)
        load(mutate(draw.choice(SEEDS), draw, draw.choice(SEEDS)))
        one, place = draw.choice(SEEDS), draw.random()
        load(one[: int(place * len(one))] + draw.choice(SEEDS) + one[int(place * len(one)) :])


def test_any_directory_of_a_tiff_is_answered_or_refused() -> None:
    packings = (1, 2, 3, 4, 5, 6, 7, 8, 32_773, 34_712, 34_925, 50_000, 50_001)
    for seed in range(20):
        draw = random.Random(seed)
        width, height, after = (draw.choice((draw.randrange(600), *TELLING)) for _ in range(3))
        bits, pixels = draw.choices((1, 2, 4, 8, 12, 16, 32, 64), k=draw.randint(1, 5)), draw.randbytes(600)
        fields = raw.tiff_fields(width, height, len(pixels), bits, draw.randrange(10), draw.choice(packings))
        for tag in draw.sample((254, 266, 273, 278, 279, 284, 317, 320, 322, 324, 338, 339, 347, 34665, 34675), 3):
            fields[tag] = (draw.choice("HI"), [value % 65_536 for value in draw.choices(TELLING, k=draw.randint(1, 5))])
        load(raw.tiff(pixels * 8, fields, after % 2**32))


def test_png_is_answered_exactly_where_the_standard_and_the_limits_allow() -> None:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for seed in range(30):
        draw = random.Random(seed)
        width, height, depth, colour = (draw.randrange(n) for n in (700, 700, 18, 8))
        if seed % 2 and colour in depths:
            depth = draw.choice(depths[colour])
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        row = bytes((width * samples * depth + 7) // 8)
        palette = raw.png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
        size = load(raw.png(width, height, depth, colour, [row] * height, before=palette))
        sound = depth in depths.get(colour, ()) and min(width, height) >= 16
        sound = sound and max(width, height) <= 25 * min(width, height) and width * height <= MAX_PIXELS
        assert size == ((width, height) if sound else None)


def test_any_profile_and_any_exif_leave_the_picture_sound() -> None:
    still = (b"VP8L", encode(None, "WEBP")[20:])
    for seed in range(10):
        draw = random.Random(seed)
        head = struct.pack(">I4sI4s4s4s", draw.getrandbits(32), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
        noise = draw.randbytes(draw.randrange(300))
        for data in (noise, head.ljust(36, b"\0") + b"acsp" + noise):
            assert load(raw.with_chunks(raw.png_chunk(b"iCCP", b"a\0\0" + zlib.compress(data)))) == SIZE
        exif = draw.choice((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0")) + noise
        for file in (
            raw.with_segments(raw.jpeg_segment(0xE1, b"Exif\0\0" + exif)),
            raw.with_chunks(raw.png_chunk(b"eXIf", exif)),
            raw.riff(raw.vp8x(flags=0x08), still, (b"EXIF", exif)),
        ):
            assert load(file) in (SIZE, SIZE[::-1])
