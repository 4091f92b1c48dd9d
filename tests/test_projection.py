"""Maps: one frame, repeatable, queries placed from neighbours, faithfulness measured."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from aad.attribution import place_query
from aad.spaces import SPACES
from aad.vectors import l2_normalise
from precompute import project
from precompute.common.maps import fit_maps, fitted_maps, neighbour_preservation, place_rest
from tests.small import python


def spaces(n: int) -> dict:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 10))
    rows = centres[np.arange(n) % 4] * 3 + generator.normal(size=(n, 10))
    return {space: l2_normalise(rows + 0.1 * generator.normal(size=rows.shape)) for space in SPACES}


def check_maps(embeddings: dict, maps: dict, least: float) -> None:
    n = len(embeddings[SPACES[0]])
    for space in SPACES:
        assert maps[space].shape == (n, 2) and maps[space].dtype == np.float32
        assert neighbour_preservation(embeddings[space], maps[space], np.arange(n)) > least
    everything = np.concatenate(list(maps.values()))
    assert everything.min() >= 0.029 and everything.max() <= 0.971
    assert (everything.max(0) - everything.min(0)).max() == pytest.approx(0.94, abs=1e-3)


def test_maps_share_one_frame_repeat_and_keep_neighbours(monkeypatch):
    import umap  # takes seconds

    monkeypatch.setattr(umap, "AlignedUMAP", partial(umap.AlignedUMAP, n_epochs=10, negative_sample_rate=1))
    embeddings = spaces(24)
    first, again = fit_maps(embeddings, n_neighbors=5), fit_maps(embeddings, n_neighbors=5)
    check_maps(embeddings, first, 0.5)  # 10 / 23 = 0.43 by chance
    assert all(np.array_equal(first[space], again[space]) for space in SPACES)


FITTED = """import sys, numpy; from precompute.common.maps import fit_maps; from tests.test_projection import spaces
first, again = (list(fit_maps(spaces(60), n_neighbors=8).values()) for _ in range(2))
assert numpy.array_equal(first, again); numpy.save(sys.argv[1], first)"""


@pytest.mark.slow
def test_maps_of_compiled_umap_repeat_and_keep_neighbours(tmp_path):
    python(FITTED, tmp_path / "maps.npy", NUMBA_DISABLE_JIT="0", NUMBA_OPT="0", NUMBA_CACHE_DIR=str(tmp_path))
    maps = np.load(tmp_path / "maps.npy")
    check_maps(spaces(60), dict(zip(SPACES, maps, strict=True)), 0.4)  # 10 / 59 = 0.17 by chance


@pytest.mark.parametrize("n", [1, 2, 3, 15])
def test_small_galleries_get_a_map_without_umap(n):
    maps = fit_maps(spaces(n))
    assert all(np.isfinite(places).all() for places in maps.values())


def test_a_query_lies_between_its_neighbours_nearer_the_heavier():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    assert place_query(places, np.array([0, 1]), np.array([0.3, 0.1])) == pytest.approx((0.25, 0.0))
    assert place_query(places, np.array([0, 1]), np.array([0.0, 0.0])) == pytest.approx((0.5, 0.0))


def test_neighbour_preservation_of_a_perfect_and_of_a_random_map_and_of_some_references_by_a_loop():
    angle = np.linspace(0, np.pi / 2, 50)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert neighbour_preservation(circle, circle, np.arange(50)) == pytest.approx(1.0)
    places, ids, shared = np.random.default_rng(0).random((50, 2)), np.array([3, 17, 40]), 0
    assert neighbour_preservation(circle, places, np.arange(50)) == pytest.approx(10 / 49, abs=0.08)
    for own in ids.tolist():
        near = sorted({*range(50)} - {own}, key=lambda i: -circle[i] @ circle[own])[:10]
        near_on_map = sorted({*range(50)} - {own}, key=lambda i: np.linalg.norm(places[i] - places[own]))[:10]
        shared += len({*near} & {*near_on_map})
    assert neighbour_preservation(circle, places, ids) == pytest.approx(shared / 30)


def test_nothing_is_its_own_neighbour():
    angle = 2 * np.pi * np.arange(3) / 3  # all three pairs have a negative cosine, below that of anything with itself
    triangle = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert neighbour_preservation(triangle, triangle[::-1], np.arange(3)) == 1.0
    assert neighbour_preservation(triangle[:1], triangle[:1], np.arange(1)) == 1.0


def test_the_rest_is_placed_between_its_nearest_and_the_fitted_stay():
    rows = spaces(300)[SPACES[0]]
    fitted = np.arange(0, 300, 3)
    places = np.random.default_rng(1).random((100, 2)).astype(np.float32)
    seen = []
    chunks = ((start, rows[start : start + 70]) for start in range(0, 300, 70))
    everything = place_rest(places, fitted, rows[fitted], chunks, seen.append)
    assert sum(seen) == 300 and everything.shape == (300, 2) and everything.dtype == np.float32
    np.testing.assert_array_equal(everything[fitted], places)
    for i in (1, 122, 299):
        similarity = rows[fitted] @ rows[i]
        near = np.argsort(-similarity)[:5]
        np.testing.assert_allclose(everything[i], np.average(places[near], axis=0, weights=similarity[near]), rtol=1e-5)


def test_the_maps_are_drawn_as_one_picture_and_the_bundle_stays_as_it_is(bundle, tmp_path):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    project.main(["--bundle", str(bundle), "--figure", str(tmp_path / "maps.webp")])
    with Image.open(tmp_path / "maps.webp") as picture:
        assert picture.size == (1300, 520) and len(picture.getcolors(10_000_000)) > 5
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_map_is_fitted_again_once_more_than_a_tenth_of_the_references_are_others(tmp_path, monkeypatch):
    fits: list[int] = []

    def flat(embeddings, *_):
        fits.append(len(embeddings[SPACES[0]]))
        return {space: rows[:, :2].astype(np.float32) for space, rows in embeddings.items()}

    monkeypatch.setattr("precompute.common.maps.fit_maps", flat)
    rows = {space: np.concatenate([own, own[:1]]) for space, own in spaces(220).items()}  # the last equals the first

    def check(chosen, held, n_fits, seed=0):
        now = {space: own[chosen] for space, own in rows.items()}
        now[SPACES[1]] = now[SPACES[1]] + 1e-6 * len(chosen)  # as a product of another shape differs
        taken, maps = fitted_maps(tmp_path / f"{seed}.npz", now, 20, seed)
        assert taken.tolist() == [*held] and len(fits) == n_fits
        for space, own in rows.items():
            assert np.allclose(maps[space], own[chosen][taken, :2], atol=1e-3)

    first = np.array([220, *range(180), 0])
    check(first, range(182), 1)
    check(first, range(182), 1)
    check(np.array([200, *first[:100], 201, *first[100:]]), [*range(1, 101), *range(102, 184)], 1)
    check(first[:170], range(170), 1)
    check(first, range(182), 2, seed=1)
    check(first[30:], range(152), 3)
