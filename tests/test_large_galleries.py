"""The steps on galleries that they take in parts: what comes out is what comes out of the whole."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aad import SPACES, Attributor
from aad.bundle import Bundle
from aad.scale.stored import map_rows
from precompute import calibrate, evaluate, project, train_heads
from precompute.common.maps import neighbour_preservation
from tests.galleries import M, wide_bundle
from tests.small import run

N = 1500


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return wide_bundle(tmp_path_factory.mktemp("whole") / "bundle", n=N)


@pytest.fixture
def bundle(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def test_references_embedded_in_parts_are_those_embedded_at_once(whole, bundle, tmp_path, monkeypatch):
    other = Path(shutil.copytree(whole, tmp_path / "other"))
    run("train_heads", "--bundle", bundle, "--heads-from", whole)
    monkeypatch.setattr(train_heads, "CHUNK", 700)
    run("train_heads", "--bundle", other, "--heads-from", whole)
    for space in SPACES[1:]:
        at_once, in_parts = (np.load(one / f"references_{space}.npy") for one in (bundle, other))
        assert at_once.shape == in_parts.shape and at_once.dtype == in_parts.dtype == np.float16
        np.testing.assert_allclose(at_once, in_parts, atol=1e-3)  # one step of float16
        assert (at_once != in_parts).mean() < 0.01
    assert not list((other / ".work").iterdir())


@pytest.mark.slow
def test_a_calibration_on_counted_similarities_is_that_on_all(tmp_path, monkeypatch):
    bundle = wide_bundle(tmp_path / "bundle", n=N // 3, noise=0.2)  # sources that are not always found, as in life
    run("calibrate", "--bundle", bundle)
    exact = Bundle.open(bundle).manifest["calibration"]
    monkeypatch.setattr(calibrate, "N_CELLS", 1)
    run("calibrate", "--bundle", bundle)
    counted = Bundle.open(bundle).manifest["calibration"]
    for space in SPACES:
        assert counted[space] == pytest.approx(exact[space], rel=5e-3) and counted[space] != exact[space]


def test_figures_do_not_depend_on_how_many_similarities_are_held(whole, monkeypatch):
    attributor = Attributor.load(whole)
    figures = evaluate.evaluate(attributor)
    monkeypatch.setattr(evaluate, "N_CELLS", 7 * N)
    assert evaluate.evaluate(attributor) == figures
    assert figures["spaces"]["aligned"]["validation"]["media"]["n_queries"] == M


@pytest.mark.slow
def test_a_map_of_a_sample_has_a_place_for_every_reference(bundle, monkeypatch):
    seen = {}

    def flat(embeddings, n_neighbors, seed):
        seen.update({space: len(rows) for space, rows in embeddings.items()})
        return {space: rows[:, :2].astype(np.float32) for space, rows in embeddings.items()}

    monkeypatch.setattr(project, "N_FITTED", 300)
    monkeypatch.setattr(project, "N_MEASURED", N)
    monkeypatch.setattr("precompute.common.maps.fit_maps", flat)
    run("project", "--bundle", bundle)
    assert seen == dict.fromkeys(SPACES, 300)
    manifest = Bundle.open(bundle).manifest
    places = Bundle.open(bundle).read_array("coordinates.npy", (len(SPACES), N, 2))
    fitted = np.sort(np.random.default_rng(0).choice(N, 300, replace=False))
    assert manifest["steps"]["project"]["n_fitted"] == 300
    for space, on_map in zip(SPACES, places, strict=True):
        rows = map_rows(Bundle.open(bundle), f"references_{space}.npy", (N, None))[:]
        np.testing.assert_allclose(on_map[fitted], rows[fitted, :2], atol=1e-6)
        told = manifest["neighbour_preservation"][space]
        assert told == pytest.approx(neighbour_preservation(rows, on_map, np.arange(N)), abs=2e-3)
    assert Attributor.load(bundle).attribute_query(0, 3)["aligned"].position
