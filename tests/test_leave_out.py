"""Leaving generators out: what training may see, how queries are ranked and scored, what is kept.

On a small bundle of drawn features, and on vectors small enough to work out by hand.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.bundle import Bundle, BundleError
from aad.method import ALIGNED, DISENTANGLED, Head
from aad.spaces import Domain, Space
from aad.vectors import l2_normalise
from precompute import leave_out
from precompute.common.left_out import Queries, cosine, read_queries, read_views, score
from precompute.common.steps import write_step

D, N = 24, 30
ABOUT = {"source": "drawn", "licence": "CC0"}
IDENTITY = Head.identity(3)
GENERATORS = ("multistyle26", "filters", "photometric")


def asked(*features: list[float]) -> Queries:
    rows = l2_normalise(np.array(features))
    n = len(rows)
    return Queries(rows, ((0,),) * n, np.full(n, -1), ("media",) * n, ("c",) * n)


def small_bundle(folder: Path) -> Path:
    """Thirty references of which ten are for training; scratch files as the extraction steps write them; no pictures."""
    rng = np.random.default_rng(0)
    references = l2_normalise(rng.normal(size=(N, D)))
    splits = ["train"] * 10 + ["validation"] * 10 + ["test"] * 10

    def rendered(ids, noise=0.4):
        return l2_normalise(references[ids] + noise * l2_normalise(rng.normal(size=(len(ids), D))))

    common = [{"split": split, "concept": f"c{i}"} for i, split in enumerate(splits)]
    query_ids = np.repeat(np.arange(N), 2)
    write_step(
        folder,
        "extract_features",
        {
            "references.json": [{"path": f"{i}.png", "title": str(i), **ABOUT} | common[i] for i in range(N)],
            "queries.json": [
                {"path": f"q{k}.png", "type": ("media", "scene")[k % 2], "generator": "multistyle26"}
                | {"exemplar_ids": [int(i)]}
                | common[i]
                for k, i in enumerate(query_ids)
            ],
            "references_backbone.npy": references.astype(np.float16),
            "queries_backbone.npy": rendered(query_ids).astype(np.float16),
        },
        command="test",
        sections={"name": "small", "images": ".", "backbone": {"name": "drawn", "dim": D}, "examples": []},
    )
    sources = np.tile(np.arange(10), len(GENERATORS))
    (folder / ".work").mkdir()
    np.savez(
        folder / ".work" / "views.npz",
        real=np.stack([rendered(np.arange(10)) for _ in range(5)], 1).astype(np.float16),
        real_kinds=np.array(["whole", "plain", "plain", "filters", "multistyle26"]),
        synthetic=np.stack([rendered(sources) for _ in range(3)], 1).astype(np.float16),
        synthetic_kinds=np.array(["whole", "plain", "plain"]),
        generators=np.repeat(GENERATORS, 10),
        synthetic_sources=np.where(np.arange(30) < 29, sources, -1),
        real_files=np.array([f"{i}.png" for i in range(10)]),
        synthetic_files=np.array([""] * 20 + [f"q{i}.png" for i in range(10)]),
    )
    made = np.tile(np.arange(10, 30), 2)
    np.savez(
        folder / ".work" / "made_queries.npz",
        features=rendered(made).astype(np.float16),
        family=np.repeat(["filters", "composite"], 20),
        exemplar_id=made,
        ignored_id=np.where(np.arange(40) < 20, -1, (made + 1) % N),
        split=np.array([splits[i] for i in made]),
    )
    return folder


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> Bundle:
    return Bundle.open(small_bundle(tmp_path_factory.mktemp("untouched") / "bundle"))


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(leave_out, "ALIGNED", replace(ALIGNED, n_steps=3))
    monkeypatch.setattr(leave_out, "DISENTANGLED", replace(DISENTANGLED, n_steps=3))
    return small_bundle(tmp_path / "bundle")


def test_a_family_or_file_left_out_is_seen_neither_itself_nor_in_what_was_made_of_it(untouched):
    everything, without = read_views(untouched), read_views(untouched, ["multistyle26"])
    assert everything.real.shape == (10, 5, D) and everything.synthetic.shape == (30, 3, D)
    assert without.real.shape == (10, 4, D) and without.synthetic.shape == (20, 3, D)
    assert np.array_equal(without.synthetic, everything.synthetic[10:])
    with pytest.raises(BundleError, match=r"at least two images of each domain.*more pictures"):
        read_views(untouched, GENERATORS)
    without = read_views(untouched, without_files={"3.png", "q5.png"})
    assert np.array_equal(without.real, np.delete(everything.real, 3, 0))
    assert np.array_equal(without.synthetic, np.delete(everything.synthetic, [3, 13, 25], 0))


def test_missing_scratch_names_the_step_that_makes_it(bundle):
    (bundle / ".work" / "views.npz").unlink()
    with pytest.raises(BundleError, match=r"precompute\.extract_views --bundle"):
        leave_out.main(["--bundle", str(bundle)])


def test_queries_of_a_family_are_the_bundles_own_and_the_made_ones_of_one_split(untouched):
    own = read_queries(untouched, "multistyle26", "test")
    assert set(own.types) == {"media", "scene"} and len(own.types) == 20 and (own.ignored_ids == -1).all()
    made = read_queries(untouched, "composite", "validation")
    assert made.types == ("composite",) * 10 and made.exemplar_ids == tuple((i,) for i in range(10, 20))
    assert made.concepts == tuple(f"c{i}" for i in range(10, 20)) and made.ignored_ids.tolist() == list(range(11, 21))


def test_an_ignored_reference_is_neither_right_nor_wrong():
    queries = asked([0.6, 0.8, 0.0])  # nearest to reference 1, made of reference 0
    for ignored, rank in ((-1, 2), (1, 1)):
        told = replace(queries, ignored_ids=np.array([ignored]))
        assert score(cosine(IDENTITY, told, np.eye(3, dtype=np.float32)), told)["mrr"].tolist() == [1 / rank]


def test_leave_out_writes_every_family_its_types_and_the_pool(bundle, capsys):
    leave_out.main(["--bundle", str(bundle), "--families", "multistyle26", "filters"])
    result = Bundle.open(bundle).read_json("generalisation.json")
    assert set(result) == {"validation", "test"}
    sizes = {name: row["n_queries"] for name, row in result["test"].items()}
    assert sizes == {"multistyle26, all": 20, "media": 10, "scene": 10, "filters": 10, "all families": 30}
    row = result["test"]["multistyle26, all"]
    means = {space: row["spaces"][space]["recall@1"]["mean"] for space in map(str, Space)}
    assert row["recall_ratio"] == pytest.approx(means["disentangled"] / means["backbone"], abs=0.006)
    difference = row["differences"]["disentangled - backbone"]["recall@1"]
    assert difference["mean"] == pytest.approx(means["disentangled"] - means["backbone"], abs=1e-3)
    assert difference["low"] <= difference["mean"] <= difference["high"]
    capsys.readouterr()
    leave_out.main(["--bundle", str(bundle), "--table"])
    assert capsys.readouterr().out.strip() == leave_out.table(result, "test")


def test_leave_out_on_validation_leaves_the_bundle_alone(bundle, tmp_path):
    before = (bundle / "manifest.json").read_bytes()
    out = tmp_path / "deep" / "validation.json"
    leave_out.main(["--bundle", str(bundle), "--splits", "validation", "--families", "filters", "--out", str(out)])
    assert list(json.loads(out.read_text())) == ["validation"]
    assert (bundle / "manifest.json").read_bytes() == before


def test_the_cosine_of_a_head_embeds_queries_as_synthetic_and_references_as_real():
    centre = {Domain.REAL: np.zeros(3, np.float32), Domain.SYNTHETIC: np.array([1, 0, 0], np.float32)}
    moved = replace(IDENTITY, centre=centre)
    found = cosine(moved, replace(asked([1, 0, 0]), features=np.array([[2, 0, 0]], np.float32)), np.eye(3))
    assert found.tolist() == [[1, 0, 0]]
