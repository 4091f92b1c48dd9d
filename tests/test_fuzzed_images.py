"""Whatever is done to a file, the door gives an upright RGB picture within the limits or a refusal, and never anything else.

Some hundred files, the same each time; hours of it: ``python -m tests.endurance images``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from aad import images
from aad.images import MAX_ASPECT, MIN_SIDE, ImageError, load_image
from tests import image_bytes as raw
from tests.hostile_files import BAD, ODD
from tests.mutations import mutate
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
