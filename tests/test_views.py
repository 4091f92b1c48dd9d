"""Plain views: the same key gives the same view, other keys give other looks of the same picture."""

import numpy as np
import pytest
from PIL import Image

from precompute.pictures.plain import VIEW_SIZE, make_view, view_rng


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    blotches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)


def test_a_view_depends_on_seed_image_and_number_only():
    def view(*key):
        return make_view(picture(0), picture(1), view_rng(*key)).tobytes()

    assert view(0, "a.png", 1) == view(0, "a.png", 1)
    assert len({view(0, "a.png", 1), view(1, "a.png", 1), view(0, "b.png", 1), view(0, "a.png", 2)}) == 4


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (1000, 40)])
def test_every_kind_of_view_is_a_square_rgb_picture_that_is_not_blank(size):
    for number in range(60):
        view = make_view(picture(0, size), picture(1), view_rng(0, "x", number))
        assert view.size == (VIEW_SIZE, VIEW_SIZE) and view.mode == "RGB"
        assert np.asarray(view).std() > 3


def test_views_of_one_picture_resemble_it_more_than_another_one():
    """By brightness layout alone, averaged over many views; framing and mirroring leave only a part of it."""

    def layout(image):
        small = np.asarray(image.convert("L").resize((8, 8)), dtype=float).ravel()
        return (small - small.mean()) / small.std()

    dark_left = Image.new("RGB", (100, 100), "black")
    dark_left.paste("white", (0, 60, 100, 100))
    views = [layout(make_view(dark_left, picture(1), view_rng(0, "x", number))) for number in range(80)]
    other = Image.new("RGB", (100, 100), "white")
    other.paste("black", (0, 60, 100, 100))
    assert np.mean(views @ layout(dark_left)) > np.mean(views @ layout(other)) + 10


def test_a_plain_view_is_not_restyled():
    """It keeps a photograph's many colours: painterly filters would leave few, or draw lines."""
    ramp = np.linspace(0, 255, 120).astype(np.uint8)
    smooth = Image.fromarray(
        np.stack([np.tile(ramp, (120, 1)), np.tile(ramp[:, None], (1, 120)), 255 - ramp + 0 * ramp[:, None]], 2)
    )
    for number in range(40):
        view = make_view(smooth, smooth, view_rng(0, "x", number))
        assert len(view.getcolors(VIEW_SIZE**2)) > 100
