"""Heat of a match: equal to pooling again by a loop, lit where the pictures agree, and refused where nothing is pooled."""

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad import Attributor, load_image
from aad.backbones import load_backbone
from aad.backbones.networks import EPSILON, N_MIXED, Pooling, mixtures
from aad.images import ImageError
from aad.method import Head
from aad.spaces import SPACES, Domain, Space
from aad.vectors import l2_normalise
from interface.heat import LAST, ExplanationError, explain, features_without_regions, pool_without_regions, why_not
from tests.fakes import DIMENSION, FakeAttributor

D = 2 * DIMENSION


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    """An attributor of a few pictures, with a random head of its own for each domain and learnt space."""
    invented, rng = FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=1), np.random.default_rng(0)
    invented.stamp["backbone"] = "efficientnet_lite0"
    for space in SPACES[1:]:
        centre = {domain: 0.02 * rng.normal(size=D).astype(np.float32) for domain in Domain}
        weight = {domain: (np.eye(D) + 0.3 * rng.normal(size=(D, D))).astype(np.float32) for domain in Domain}
        invented.heads[space] = Head(centre, weight)
    return invented


@pytest.fixture
def toy(invented: FakeAttributor, monkeypatch: pytest.MonkeyPatch) -> FakeAttributor:
    spec = SimpleNamespace(preprocess=lambda image: image)
    there = SimpleNamespace(features_without_regions=features)
    monkeypatch.setattr(invented, "warm_up", lambda: SimpleNamespace(spec=spec, network=there))
    return invented


def features(image: Image.Image) -> np.ndarray:
    """Of a picture, and of it without each of 49 regions: drawn, but the same for the same pixels."""
    seed = int(np.asarray(image, np.int64).sum())
    return l2_normalise(1 + np.random.default_rng(seed).normal(size=(1 + 49, D)))


def embedded(toy: FakeAttributor, path: Path, row: int, space: Space, domain: Domain) -> np.ndarray:
    mapped = toy.heads[space].apply(features(load_image(path))[row], domain)
    return mapped / np.linalg.norm(mapped)


@pytest.mark.parametrize("space", SPACES)
def test_heat_is_the_drop_of_similarity_when_a_region_is_left_out(toy: FakeAttributor, space: Space) -> None:
    query, reference = toy.queries[0].path, toy.references[1].path
    whole = embedded(toy, query, 0, space, Domain.SYNTHETIC)
    other = embedded(toy, reference, 0, space, Domain.REAL)
    found = explain(toy, 0, 1)[space]
    assert found.similarity == pytest.approx(whole @ other, abs=2e-6)
    for region, row in (((0, 0), 1), ((2, 5), 20), ((6, 6), 49)):
        left = embedded(toy, query, row, space, Domain.SYNTHETIC)
        assert found.heat_query[region] == pytest.approx(whole @ other - left @ other, abs=2e-6)
        left = embedded(toy, reference, row, space, Domain.REAL)
        assert found.heat_reference[region] == pytest.approx(whole @ other - left @ whole, abs=2e-6)


def test_the_pooled_feature_survives_a_large_common_offset() -> None:
    rng = np.random.default_rng(0)
    small = rng.random((6, 7, 7))
    rows = pool_without_regions({0: (small + 1000).astype(np.float32)}, Pooling((0,), (0,)))
    kept = (small + 1000).astype(np.float32).astype(np.float64).reshape(6, 49)[:, 1:]
    std = kept.std(1, ddof=1)
    assert np.allclose(rows[1, 6:] * np.sqrt(2), std / np.linalg.norm(std), atol=1e-6)


def test_without_a_region_means_deviations_and_covariances_are_those_of_the_positions_that_remain() -> None:
    """numpy's own moments of what remains, position by position; one grid has more channels than are kept of mixtures."""
    rng = np.random.default_rng(0)
    grids = {2: rng.normal(2, 1, (5, 6, 6)), 4: rng.normal(0, 3, (N_MIXED + 4, 3, 3)), LAST: rng.random((8, 3, 3))}
    rows = pool_without_regions(
        {k: grid.astype(np.float32) for k, grid in grids.items()}, Pooling((2, 4), (2,), True, (2, 4))
    )
    assert rows.shape == (10, 2 * 5 + N_MIXED + 4 + 8 + 15 + N_MIXED * (N_MIXED + 1) // 2)
    for number, region in enumerate([None, *itertools.product(range(3), repeat=2)]):
        left = {}
        for k, grid in grids.items():
            step = grid.shape[1] // 3
            places = itertools.product(range(grid.shape[1]), repeat=2)
            left[k] = np.array([grid[:, y, x] for y, x in places if (y // step, x // step) != region])
        parts = [left[2].mean(0), left[2].std(0, ddof=1), left[4].mean(0), left[LAST].mean(0)]
        for k in (2, 4):
            covariance = np.cov(mixtures(len(grids[k])) @ left[k].T, bias=True)
            values = np.array([covariance[i, j] for i in range(len(covariance)) for j in range(i, len(covariance))])
            parts.append(values / np.sqrt(np.abs(values) + EPSILON))
        expected = np.concatenate([part / np.linalg.norm(part) for part in parts]) / np.sqrt(len(parts))
        assert np.allclose(rows[number], expected, rtol=0, atol=1e-6), region


def test_a_reference_as_query_is_embedded_as_the_real_picture_it_is(toy: FakeAttributor) -> None:
    found = explain(toy, toy.references[0], 1)[Space.ALIGNED]
    ours, theirs = (embedded(toy, toy.references[i].path, 0, Space.ALIGNED, Domain.REAL) for i in (0, 1))
    assert found.similarity == pytest.approx(ours @ theirs, abs=1e-5)
    as_synthetic = explain(toy, toy.references[0].path, 1)[Space.ALIGNED]
    assert abs(as_synthetic.similarity - found.similarity) > 1e-3


def test_a_bundled_query_its_path_and_its_image_are_explained_alike(toy: FakeAttributor) -> None:
    path = toy.queries[0].path
    first = explain(toy, 0, 1)[Space.DISENTANGLED].heat_query
    for query in (path, str(path), load_image(path)):
        assert np.array_equal(explain(toy, query, 1)[Space.DISENTANGLED].heat_query, first)


def test_the_whole_is_what_the_network_gives_and_a_run_of_another_thread_does_not_get_into_it(
    shipped: Attributor,
) -> None:
    backbone, image = load_backbone("efficientnet_lite0"), load_image(shipped.references[0].path)
    quiet = features_without_regions(backbone, backbone.spec.preprocess(image))
    assert quiet.shape == (1 + 49, backbone.spec.dim)
    assert np.allclose(quiet[:1], backbone.embed([image]), rtol=0, atol=1e-5)

    def late(*_: Any) -> None:  # after the last block has been seen, and before the run is over
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=backbone.embed, args=([image.rotate(90)],))
            thread.start()
            thread.join()

    backbone.network.register_forward_hook(late)
    assert np.array_equal(features_without_regions(backbone, backbone.spec.preprocess(image)), quiet)
    assert not any(block._forward_hooks for block in backbone.network.blocks)


def test_unknown_references_what_is_no_picture_and_a_backbone_without_a_grid_which_is_not_loaded_are_refused(
    toy: FakeAttributor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(IndexError):
        explain(toy, 0, len(toy.references))
    (tmp_path / "letter.txt").write_text("dear reader")
    for path in (tmp_path / "letter.txt", tmp_path / "nowhere.png"):
        with pytest.raises(ImageError):
            explain(toy, path, 0)
    monkeypatch.setitem(toy.stamp, "backbone", "dino_vits16")
    monkeypatch.setattr(toy, "warm_up", lambda: pytest.fail("the backbone was loaded for nothing"))
    assert "dino_vits16" in (why_not(toy) or "")
    with pytest.raises(ExplanationError, match="dino_vits16 does not pool"):
        explain(toy, 0, 0)


def test_shipped_bundle_similarity_is_the_searchs_and_a_pasted_quarter_is_found(shipped: Attributor) -> None:
    """With the real backbone: the stored features are rounded to half precision, hence the tolerance."""
    attributor = shipped
    query = attributor.queries[attributor.examples[0]]
    reference_id = query.exemplar_ids[0]
    found = explain(attributor, query.query_id, reference_id)
    assert found[Space.ALIGNED].heat_query.shape == (7, 7)
    answer = attributor.attribute(query.path, k=len(attributor.references))
    for space in SPACES:
        stored = attributor.similarities([query.query_id], space)[0, reference_id]
        assert found[space].similarity == pytest.approx(stored, abs=1e-3)
        live = {match.reference_id: match.similarity for match in answer[space].matches}[reference_id]
        assert found[space].similarity == pytest.approx(live, abs=1e-3)
    hits = 0
    for reference_id, other in ((3, 200), (80, 10), (150, 60)):
        ours, theirs = (load_image(attributor.references[i].path).resize((448, 448)) for i in (other, reference_id))
        ours.paste(theirs.crop((224, 0, 448, 224)), (224, 0))
        warm = explain(attributor, ours, reference_id)[Space.DISENTANGLED].heat_query
        row, column = divmod(int(warm.argmax()), 7)
        hits += row <= 3 <= column
    assert hits >= 2, "by chance each is found for one in three"
