"""Whatever is done to a file, the door gives an upright RGB picture within the limits or a refusal, and never anything else.

Two hundred files, the same each time; hours of it: ``python -m tests.endurance images``.
"""

from __future__ import annotations

import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from aad import images
from aad.images import KINDS, MAX_ASPECT, MIN_SIDE, ImageError, load_image
from tests import image_bytes as raw
from tests.hostile_files import BAD, ODD
from tests.image_bytes import SIZE, encode
from tests.mutations import TELLING, mutate
from tests.test_images import check_words

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

set_hypothesis_home_dir(tempfile.gettempdir() + "/hypothesis")  # it would leave a folder in the checkout otherwise
MAX_PIXELS = 300_000  # so that no example takes long: a number in a header is soon a large one
SEEDS = {name: odd.data for name, odd in ODD.items()} | {name: data for name, (data, _) in BAD.items()}
SEEDS = {name: data for name, data in SEEDS.items() if isinstance(data, bytes) and len(data) < 20_000}


@pytest.fixture(autouse=True, scope="module")
def smaller() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MAX_PIXELS", MAX_PIXELS)
        yield


def fuzz(check: Callable[..., None], n: int, *drawn: st.SearchStrategy[Any]) -> None:
    """The same ``n`` examples each time: a fuzzer that finds something new is for the long run, not for the ordinary one."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    same = settings(max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=slow)
    same(given(*drawn)(check))()


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


def inserted(data: bytes, where: float, more: bytes) -> bytes:
    place = int(where * len(data))
    return data[:place] + more + data[place:]


def tiff(
    width: int, height: int, bits: list[int], photometric: int, packing: int, more: Any, pixels: bytes, next_start: int
) -> bytes:
    fields = raw.tiff_fields(width, height, len(pixels), bits, photometric, packing)
    fields |= {tag: (kind, [v % 256 if kind in "BU" else v for v in values]) for tag, kind, values in more}
    return raw.tiff(pixels * 8, fields, next_start)


SIDES = st.one_of(st.integers(0, 600), st.sampled_from(TELLING))
SEED = st.sampled_from([SEEDS[name] for name in sorted(SEEDS)])
TAGS = (254, 266, 273, 274, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 34665, 34675)
PACKINGS = (1, 2, 3, 4, 5, 6, 7, 8, 32_773, 34_712, 34_925, 50_000, 50_001)
BITS = st.lists(st.sampled_from((1, 2, 4, 8, 12, 16, 32, 64)), min_size=1, max_size=5)
VALUES = st.lists(st.sampled_from(TELLING[:10]), min_size=1, max_size=5)
FIELDS = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from("BHIU"), VALUES), max_size=4)
BEGINNINGS = st.sampled_from([encode(None, kind)[:24] for kind in KINDS])
#: what is invented -> how many of it, and how
INVENTED: dict[str, tuple[int, st.SearchStrategy[bytes]]] = {
    "damaged": (110, st.builds(mutate, SEED, st.builds(random.Random, st.integers(0, 2**32)), SEED)),
    "noise behind a true beginning": (25, st.builds(bytes.__add__, BEGINNINGS, st.binary(max_size=400))),
    "a file within a file": (12, st.builds(inserted, SEED, st.floats(0, 1), SEED)),
    "directories of TIFF": (
        15,
        st.builds(
            tiff,
            SIDES,
            SIDES,
            BITS,
            st.integers(0, 9),
            st.sampled_from(PACKINGS),
            FIELDS,
            st.binary(min_size=1, max_size=600),
            SIDES,
        ),
    ),
}


@pytest.mark.parametrize("kind", INVENTED)
def test_what_is_invented_is_answered_or_refused(kind: str) -> None:
    def check(data: bytes) -> None:
        load(data)

    n, files = INVENTED[kind]
    fuzz(check, n, files)


def test_png_is_answered_exactly_where_the_standard_and_the_limits_allow() -> None:
    def check(width: int, height: int, depth: int, colour: int) -> None:
        depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        row = bytes((width * samples * depth + 7) // 8)
        palette = raw.png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
        size = load(raw.png(width, height, depth, colour, [row] * height, before=palette))
        sound = depth in depths.get(colour, ()) and min(width, height) >= 16
        sound = sound and max(width, height) <= 25 * min(width, height) and width * height <= MAX_PIXELS
        assert size == ((width, height) if sound else None)

    fuzz(check, 15, st.integers(0, 700), st.integers(0, 700), st.integers(0, 17), st.integers(0, 7))


def test_any_profile_and_any_exif_leave_the_picture_sound() -> None:
    def check_profile(profile: bytes, n: int) -> None:
        head = struct.pack(">I4sI4s4s4s", n, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"
        for data in (profile, head + profile):
            assert load(raw.with_chunks(raw.png_chunk(b"iCCP", b"a\0\0" + zlib.compress(data)))) == SIZE

    def check_exif(order: bytes, data: bytes) -> None:
        exif, still = order + data, (b"VP8L", encode(None, "WEBP")[20:])
        files = [
            raw.with_segments(raw.jpeg_segment(0xE1, b"Exif\0\0" + exif)),
            raw.with_chunks(raw.png_chunk(b"eXIf", exif)),
            raw.riff(raw.vp8x(flags=0x08), still, (b"EXIF", exif)),
        ]
        for file in files:
            assert load(file) in (SIZE, SIZE[::-1])

    fuzz(check_profile, 10, st.binary(max_size=300), st.integers(0, 2**32 - 1))
    orders = st.sampled_from((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0"))
    fuzz(check_exif, 10, orders, st.binary(max_size=200))
