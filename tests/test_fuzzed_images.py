"""Whatever is done to a file, the door gives an upright RGB picture within the limits or a refusal, and never anything else.

Two hundred files, the same each time; six times as many with ``-m slow``; hours of it: ``python -m tests.endurance images``.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from aad.images import KINDS, ImageError, ImageLimits, load_image
from tests import image_bytes as raw
from tests.bad_files import BAD
from tests.image_bytes import encode, picture
from tests.mutations import KINDS as STEP_KINDS
from tests.mutations import TELLING, Step, mutate
from tests.odd_files import ODD
from tests.test_hostile_images import check_words

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

set_hypothesis_home_dir(tempfile.gettempdir() + "/hypothesis")  # it would leave a folder in the checkout otherwise
LIMITS = ImageLimits(max_pixels=300_000)  # so that no example takes long: a number in a header is soon a large one
SEEDS = {name: odd.make() for name, odd in ODD.items()} | {
    name: make() for name, (_, make, _) in BAD.items() if name not in ("heavy.png", "bomb.png")
}
SEEDS = {name: data for name, data in SEEDS.items() if len(data) < 20_000}
FORMS = [kind.format for kind in KINDS]


def fuzz(n: int, /, **drawn: Any) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """The same ``n`` examples each time: a fuzzer that finds something new is for the long run, not for the ordinary one."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    def wrap(body: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.slow)])
        def test(times: int) -> None:
            same = settings(
                max_examples=times * n, derandomize=True, deadline=None, database=None, suppress_health_check=slow
            )
            same(given(**drawn)(body))()

        test.__name__ = body.__name__
        return test

    return wrap


def load(data: bytes) -> tuple[int, int] | None:
    """Size of the picture, or None where it was refused; anything but these two fails the test."""
    try:
        result = load_image(data, limits=LIMITS)
    except ImageError as error:
        check_words(str(error))
        return None
    assert (result.mode, result.info) == ("RGB", {})
    assert min(result.size) >= LIMITS.min_side
    assert result.width * result.height <= LIMITS.max_pixels
    assert max(result.size) <= LIMITS.max_aspect * min(result.size)
    assert len(result.tobytes()) == 3 * result.width * result.height
    return result.size


steps = st.builds(
    Step,
    kind=st.sampled_from(STEP_KINDS),
    where=st.floats(0, 0.999),
    other=st.floats(0, 0.999),
    size=st.sampled_from((1, 2, 4, 8, 16, 256)),
    value=st.integers(0, 255),
)
sides = st.one_of(st.integers(0, 600), st.sampled_from(TELLING))
names = st.sampled_from(sorted(SEEDS))


@fuzz(60, name=names, donor=names, changes=st.lists(steps, min_size=1, max_size=6))
def test_damaged_files_are_answered_or_refused(name: str, donor: str, changes: list[Step]) -> None:
    load(mutate(SEEDS[name], changes, SEEDS[donor]))


@fuzz(25, start=st.sampled_from(FORMS), data=st.binary(max_size=400))
def test_noise_behind_a_true_beginning_is_answered_or_refused(start: str, data: bytes) -> None:
    load(encode(picture(), start)[:24] + data)


@fuzz(12, outer=names, inner=names, where=st.floats(0, 1))
def test_a_file_within_a_file_is_answered_or_refused(outer: str, inner: str, where: float) -> None:
    data = SEEDS[outer]
    place = int(where * len(data))
    load(data[:place] + SEEDS[inner] + data[place:])


@fuzz(15, width=st.integers(0, 700), height=st.integers(0, 700), depth=st.integers(0, 17), colour=st.integers(0, 7))
def test_png_is_answered_exactly_where_the_standard_and_the_limits_allow(
    width: int, height: int, depth: int, colour: int
) -> None:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    row = bytes((width * samples * depth + 7) // 8)
    palette = raw.png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    size = load(raw.png(width, height, depth, colour, [row] * height, before=palette))
    sound = depth in depths.get(colour, ()) and min(width, height) >= 16
    sound = sound and max(width, height) <= 25 * min(width, height) and width * height <= LIMITS.max_pixels
    assert size == ((width, height) if sound else None)


@fuzz(15,
    width=sides,
    height=sides,
    bits=st.lists(st.sampled_from((1, 2, 4, 8, 12, 16, 32, 64)), min_size=1, max_size=5),
    photometric=st.integers(0, 9),
    compression=st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 32_773, 34_712, 34_925, 50_000, 50_001)),
    more=st.lists(
        st.tuples(
            st.sampled_from((254, 266, 273, 274, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 34665, 34675)),
            st.sampled_from(("byte", "short", "long", "undefined")),
            st.lists(st.sampled_from(TELLING[:10]), min_size=1, max_size=5),
        ),
        max_size=4,
    ),
    pixels=st.binary(min_size=1, max_size=600),
    next_start=sides,
)  # fmt: skip
def test_any_tiff_directory_is_answered_or_refused(
    width: int, height: int, bits: list[int], photometric: int, compression: int,
    more: list[tuple[int, str, list[int]]], pixels: bytes, next_start: int,
) -> None:  # fmt: skip
    more = [
        (tag, kind, [v % 256 if kind in ("byte", "undefined") else v for v in values]) for tag, kind, values in more
    ]
    fields = raw.tiff_fields(
        width, height, len(pixels), bits=bits, photometric=photometric, compression=compression, more=more
    )
    load(raw.tiff(pixels * 8, fields, next_start))


@fuzz(
    10,
    screen=st.tuples(*[st.sampled_from(TELLING[:15])] * 2),
    frame=st.tuples(*[st.sampled_from(TELLING[:15])] * 4),
    first=st.binary(max_size=60),
)
def test_any_gif_frame_is_answered_or_refused(screen: tuple[int, int], frame: tuple[int, ...], first: bytes) -> None:
    place = struct.pack("<HHHHB", *frame, 0)
    load(raw.gif(*screen, b"!" + first + b"\0," + place + b"\x08" + first + b"\0" + raw.gif_frame(20, 20)))


@fuzz(10, width=sides, height=sides, flags=st.integers(0, 255), first=st.binary(max_size=60))
def test_any_webp_canvas_is_answered_or_refused(width: int, height: int, flags: int, first: bytes) -> None:
    canvas = raw.vp8x(max(1, width % 2**24), max(1, height % 2**24), flags)
    still = encode(picture(), "WEBP", lossless=True)[20:]
    load(raw.riff(canvas, (b"ICCP", first), (b"EXIF", first), (b"ANIM", first[:6]), (b"VP8L", still)))


@fuzz(10,
    width=st.integers(-40, 600), height=st.integers(-40, 600), bits=st.sampled_from((0, 1, 4, 8, 16, 24, 32, 64)),
    packing=st.integers(0, 6), pixels=st.binary(max_size=900),
)  # fmt: skip
def test_any_bmp_header_is_answered_or_refused(width: int, height: int, bits: int, packing: int, pixels: bytes) -> None:
    load(raw.bmp(width, height, bits, packing, pixels * 4, pixels[:64]))


@fuzz(10,
    kind=st.sampled_from("123456fF7"), numbers=st.lists(st.integers(-2, 700), min_size=2, max_size=4),
    between=st.sampled_from(" \n\t#"), pixels=st.binary(max_size=300),
)  # fmt: skip
def test_any_ppm_header_is_answered_or_refused(kind: str, numbers: list[int], between: str, pixels: bytes) -> None:
    head = between.join(["P" + kind, *map(str, numbers)]) + "\n"
    load(head.encode() + pixels * 20)


@fuzz(10, marker=st.integers(0xC0, 0xFE), segment=st.binary(max_size=80), at=st.floats(0, 1))
def test_any_jpeg_segment_is_answered_or_refused(marker: int, segment: bytes, at: float) -> None:
    data = encode(picture(), "JPEG")
    place = 2 + int(at * (len(data) - 2))
    load(data[:place] + raw.jpeg_segment(marker, segment) + data[place:])
    load(
        raw.after_start(data, raw.jpeg_segment(0xE1, b"Exif\0\0" + segment), raw.jpeg_segment(0xE2, b"MPF\0" + segment))
    )


@fuzz(10, profile=st.binary(max_size=300), n=st.integers(0, 2**32 - 1))
def test_any_profile_leaves_the_picture_sound(profile: bytes, n: int) -> None:
    head = struct.pack(">I4sI4s4s4s", n, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"
    for data in (profile, head + profile):
        chunk = raw.png_chunk(b"iCCP", b"a\0\0" + zlib.compress(data))
        assert load(raw.with_chunks(encode(picture()), chunk)) == picture().size


@fuzz(10, exif=st.binary(max_size=200), order=st.sampled_from((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0")))
def test_any_exif_leaves_the_picture_sound(exif: bytes, order: bytes) -> None:
    for form in ("PNG", "WEBP", "JPEG"):
        if form == "JPEG":
            data = raw.after_start(encode(picture(), form), raw.jpeg_segment(0xE1, b"Exif\0\0" + order + exif))
        elif form == "PNG":
            data = raw.with_chunks(encode(picture()), raw.png_chunk(b"eXIf", order + exif))
        else:
            still = encode(picture(), form, lossless=True)[20:]
            data = raw.riff(raw.vp8x(40, 30, 0x08), (b"VP8L", still), (b"EXIF", order + exif))
        assert load(data) in (picture().size, picture().size[::-1])
