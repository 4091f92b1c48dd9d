"""Rankings beyond the cosine of one head, on vectors small enough to work out by hand; and crops of queries."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from aad.backbones import Backbone, BackboneSpec
from aad.bundle import Bundle, BundleError
from aad.method import ALIGNED, Head
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute import compare, extract_crops
from precompute.common.trials import Queries, read_queries
from precompute.experiments import variations
from precompute.experiments.rankings import cosine, expanded, hub_corrected, mixture, several_crops
from tests.factory import N_QUERIES, tiny_bundle
from tests.test_leave_out import D, small_bundle

IDENTITY = Head.identity(3)


def asked(*features: list[float], crops: list[list[list[float]]] | None = None) -> Queries:
    rows = l2_normalise(np.array(features))
    n = len(rows)
    extra = l2_normalise(np.array(crops)) if crops else np.zeros((n, 0, 3), np.float32)
    return Queries(rows, ((0,),) * n, np.full(n, -1), ("media",) * n, ("c",) * n, extra)


def test_the_cosine_of_a_head_embeds_queries_as_synthetic_and_references_as_real():
    moved = Head(
        {Domain.REAL: np.zeros(3, np.float32), Domain.SYNTHETIC: np.array([1, 0, 0], np.float32)}, IDENTITY.weight
    )
    found = cosine(moved)(replace(asked([1, 0, 0]), features=np.array([[2, 0, 0]], np.float32)), np.eye(3))
    assert found.tolist() == [[1, 0, 0]]


def test_a_mixture_is_the_mean_of_the_cosines():
    twisted = Head(IDENTITY.centre, dict.fromkeys(Domain, np.diag([1, 4, 1]).astype(np.float32)))
    queries, references = asked([1, 2, 2], [0, 1, 1]), l2_normalise(np.array([[1, 1, 0], [0, 1, 2]]))
    each = [cosine(head)(queries, references) for head in (IDENTITY, twisted)]
    assert np.allclose(mixture(IDENTITY, twisted)(queries, references), (each[0] + each[1]) / 2)
    assert not np.allclose(each[0], each[1])


def test_crops_of_a_query_are_averaged_with_the_whole_picture():
    queries = asked([1, 0, 0], crops=[[[0, 1, 0], [0, 1, 0]]])
    found = several_crops(IDENTITY)(queries, np.eye(3, dtype=np.float32))
    assert np.allclose(found, [[1, 2, 0]])  # two of three show the second axis


def test_expansion_pulls_a_query_towards_what_its_neighbours_share():
    references = l2_normalise(np.array([[1, 0.3, 0], [1, 0, 0.3], [1, 0.31, 0.05]]))
    queries = asked([1, 0.1, 0.12])
    plain, again = (rank(queries, references)[0] for rank in (cosine(IDENTITY), expanded(IDENTITY, k=3, power=3)))
    assert plain.argmax() == 1 and again.argmax() != 1  # the other two agree with each other


def test_a_reference_near_to_everything_synthetic_is_held_back():
    references = l2_normalise(np.array([[1, 1, 1], [1, 0.1, 0]]))
    synthetic = l2_normalise(np.random.default_rng(0).normal([1, 1, 1], 0.3, (50, 3)))
    queries = asked([1, 0.52, 0.42])
    assert cosine(IDENTITY)(queries, references).argmax() == 0
    assert hub_corrected(IDENTITY, synthetic)(queries, references).argmax() == 1


def test_a_head_that_reads_some_columns_ignores_the_others(tmp_path, monkeypatch):
    trial = variations.Trial(Bundle.open(small_bundle(tmp_path / "bundle")), "multistyle26")
    columns = np.array([1, 4, 7, 9])
    features = l2_normalise(np.random.default_rng(0).normal(size=(5, D)))
    for config in (None, replace(ALIGNED, n_steps=2)):
        head = variations._read_at(columns, config)(trial)
        other = features.copy()
        other[:, np.setdiff1d(np.arange(D), columns)] = 9.0
        assert np.allclose(head.embed(features, "synthetic"), head.embed(other, "synthetic"))
    assert np.allclose(variations._read_at(columns)(trial).embed(features, "real"), l2_normalise(features[:, columns]))


def test_the_columns_of_the_depths_are_those_of_the_backbone():
    sizes = np.repeat([112, 192, 320], 2)
    ends = np.cumsum(sizes)
    assert variations.LAST_STAGE.tolist() == list(range(ends[3], ends[5]))
    assert variations.LAST_TWO_STAGES.tolist() == list(range(ends[1], ends[5]))
    means = [
        column
        for start, size in zip(ends[::2] - sizes[::2], sizes[::2], strict=True)
        for column in range(start, start + size)
    ]
    assert variations.MEANS.tolist() == means


def test_crops_are_the_mirrored_picture_and_its_centre():
    image = Image.fromarray(np.arange(200 * 80 * 3).astype(np.uint8).reshape(80, 200, 3))
    mirrored, *centres = extract_crops.crops_of(image)
    assert np.array_equal(np.asarray(mirrored), np.asarray(image)[:, ::-1])
    assert [crop.size for crop in centres] == [(170, 68), (140, 56)]
    assert np.array_equal(np.asarray(centres[1]), np.asarray(image)[12:68, 30:170])


def test_crops_are_embedded_for_queries_outside_training_and_read_back_in_order(tmp_path, monkeypatch):
    bundle_folder = tiny_bundle(tmp_path)
    bundle = Bundle.open(bundle_folder)
    dim = bundle.manifest["backbone"]["dim"]

    def mean_colour(batch):
        return np.pad(batch.mean((2, 3)), ((0, 0), (0, dim - 3)))

    spec = BackboneSpec("drawn", dim, 8, (0, 0, 0), (1, 1, 1), "", "", "", engine="drawn")
    backbone = Backbone(spec, None, compiled=mean_colour)
    monkeypatch.setattr(extract_crops, "open_backbone", lambda bundle, *options: backbone)
    extract_crops.main(["--bundle", str(bundle_folder), "--threads", "1"])
    with np.load(bundle_folder / ".work" / "query_crops.npz") as stored:
        assert stored["crops"].shape == (N_QUERIES - 1, 3, dim) and stored["query_ids"].tolist() == [1, 2, 3, 4, 5]
        kept = stored["crops"]
    np.savez(
        bundle_folder / ".work" / "made_queries.npz",
        features=np.zeros((1, dim)), family=["filters"], split=["test"], exemplar_id=[0], ignored_id=[-1],
    )  # fmt: skip
    assert np.array_equal(read_queries(bundle, "noise", "test", with_crops=True).crops, kept[2:].astype(np.float32))
    with pytest.raises(BundleError, match="own queries"):
        read_queries(bundle, "filters", "test", with_crops=True)


def test_lines_with_crops_are_run_only_where_crops_exist():
    assert set(compare.OWN) <= set(compare.HARD) and "filters" not in compare.OWN
