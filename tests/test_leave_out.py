"""Leaving generators out: what training may see, how queries are ranked and scored, what is kept; and crops of queries.

On a small bundle of drawn features, and on vectors small enough to work out by hand.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad.backbones import Backbone, BackboneSpec
from aad.bundle import Bundle, BundleError
from aad.method import ALIGNED, DISENTANGLED, Head
from aad.spaces import Domain, Space
from aad.vectors import l2_normalise
from precompute import compare, extract_crops, leave_out
from precompute.common.left_out import Queries, read_queries, read_training_pairs, read_views, score
from precompute.common.steps import write_step
from precompute.experiments.variations import (
    BASELINES,
    LAST_STAGE,
    LAST_TWO_STAGES,
    MEANS,
    VARIATIONS,
    Seen,
    cosine,
    expanded,
    hub_corrected,
    mixture,
    read_at,
    several_crops,
)
from tests.factory import N_QUERIES, tiny_bundle

D, N = 24, 30
ABOUT = {"source": "drawn", "licence": "CC0"}
IDENTITY = Head.identity(3)
GENERATORS = ("multistyle26", "filters", "photometric")


def asked(*features: list[float], crops: list[list[list[float]]] | None = None) -> Queries:
    rows = l2_normalise(np.array(features))
    n = len(rows)
    extra = l2_normalise(np.array(crops)) if crops else np.zeros((n, 0, 3), np.float32)
    return Queries(rows, ((0,),) * n, np.full(n, -1), ("media",) * n, ("c",) * n, extra)


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


def test_a_family_left_out_is_in_neither_the_images_nor_the_views_nor_the_pairs(untouched):
    everything, without = read_views(untouched), read_views(untouched, ["multistyle26"])
    assert everything.real.shape == (10, 5, D) and everything.synthetic.shape == (30, 3, D)
    assert without.real.shape == (10, 4, D) and without.synthetic.shape == (20, 3, D)
    assert np.array_equal(without.synthetic, everything.synthetic[10:])
    assert len(read_training_pairs(untouched, ["multistyle26"])[0]) == 19  # one of the twenty has no known source
    with pytest.raises(BundleError, match=r"at least two images of each domain.*more pictures"):
        read_views(untouched, GENERATORS)


def test_a_file_left_out_is_seen_neither_itself_nor_in_what_was_made_of_it(untouched):
    everything, without = read_views(untouched), read_views(untouched, without_files={"3.png", "q5.png"})
    assert np.array_equal(without.real, np.delete(everything.real, 3, 0))
    assert np.array_equal(without.synthetic, np.delete(everything.synthetic, [3, 13, 25], 0))


def test_a_share_of_the_images_is_drawn_from_all_of_them_and_the_same_each_time(untouched):
    half, again = (read_views(untouched, share=0.5) for _ in range(2))
    assert half.real.shape[0] == 5 and half.synthetic.shape[0] == 15
    assert np.array_equal(half.synthetic, again.synthetic)
    assert not np.array_equal(half.synthetic, read_views(untouched).synthetic[:15])


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


def test_every_variation_gives_a_head_for_these_features(untouched):
    seen = Seen(untouched, "multistyle26")
    names = ("centring", "CCA between views, rank 256", "supervised AbC recipe (pairs)")
    names += ("nuisance whitening, then supervised (pairs)", "nuisance whitening (both terms, closed form)")
    for name in names:
        assert BASELINES[name](seen).embed(seen.views().real[:, 0], "real").shape == (10, D)
    lines = [name for group in VARIATIONS.values() for name in group]
    assert len(set(lines)) == len(lines)


def test_comparing_goes_on_where_it_stopped_and_starts_anew_for_other_data(bundle, tmp_path, monkeypatch):
    asked = []

    figure = {"mean": 0.5, "low": 0.4, "high": 0.6}

    def run_one(task):
        asked.append(task[3:])
        return *task[2:], {"recall@1": figure, "mrr": figure, "n_queries": 10, "seconds": 1.0}

    class Pool:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def imap(self, function, work):
            return map(run_one, work)

    context = type("Context", (), {"Pool": staticmethod(lambda *arguments: Pool())})
    monkeypatch.setattr(compare.multiprocessing, "get_context", lambda method: context)
    monkeypatch.setattr(compare, "VARIATIONS", {"baselines": dict.fromkeys(("one", "two"))})
    out = tmp_path / "log.json"

    def run(*families):
        asked.clear()
        options = ["--groups", "baselines", "--families", *families, "--out", str(out)]
        compare.main(["--bundle", str(bundle), *options])
        return len(asked)

    assert run("filters") == 2 and run("filters") == 0 and run("filters", "multistyle26") == 2
    views = bundle / ".work" / "views.npz"
    with np.load(views) as stored:
        content = dict(stored)
    content["real"] = content["real"][:, ::-1]
    np.savez(views, **content)
    assert run("filters") == 2
    assert "| one | 0.500 / 0.500 | 0.500 | 0.500 | 1 |" in compare.table(json.loads(out.read_text()))


def test_one_comparison_runs_end_to_end(bundle):
    task = (str(bundle), "test", "baselines", "nuisance whitening (both terms, closed form)", "multistyle26")
    group, _, family, figures = compare._run_one(task)
    assert (group, family, figures["n_queries"]) == ("baselines", "multistyle26", 20)
    assert 0 < figures["recall@1"]["mean"] <= 1 and figures["recall@1"]["low"] <= figures["recall@1"]["high"]


def test_the_cosine_of_a_head_embeds_queries_as_synthetic_and_references_as_real():
    moved = Head(
        {Domain.REAL: np.zeros(3, np.float32), Domain.SYNTHETIC: np.array([1, 0, 0], np.float32)}, IDENTITY.weight
    )
    found = cosine(moved, replace(asked([1, 0, 0]), features=np.array([[2, 0, 0]], np.float32)), np.eye(3))
    assert found.tolist() == [[1, 0, 0]]


def test_a_mixture_is_the_mean_of_the_cosines():
    twisted = Head(IDENTITY.centre, dict.fromkeys(Domain, np.diag([1, 4, 1]).astype(np.float32)))
    queries, references = asked([1, 2, 2], [0, 1, 1]), l2_normalise(np.array([[1, 1, 0], [0, 1, 2]]))
    each = [cosine(head, queries, references) for head in (IDENTITY, twisted)]
    assert np.allclose(mixture([IDENTITY, twisted], queries, references), (each[0] + each[1]) / 2)
    assert not np.allclose(each[0], each[1])


def test_crops_of_a_query_are_averaged_with_the_whole_picture():
    queries = asked([1, 0, 0], crops=[[[0, 1, 0], [0, 1, 0]]])
    found = several_crops(IDENTITY, queries, np.eye(3, dtype=np.float32))
    assert np.allclose(found, [[1, 2, 0]])  # two of three show the second axis


def test_expansion_pulls_a_query_towards_what_its_neighbours_share():
    references = l2_normalise(np.array([[1, 0.3, 0], [1, 0, 0.3], [1, 0.31, 0.05]]))
    queries = asked([1, 0.1, 0.12])
    plain, again = (rank(IDENTITY, queries, references)[0] for rank in (cosine, expanded))
    assert plain.argmax() == 1 and again.argmax() != 1  # the other two agree with each other


def test_a_reference_near_to_everything_synthetic_is_held_back():
    references = l2_normalise(np.array([[1, 1, 1], [1, 0.1, 0]]))
    synthetic = l2_normalise(np.random.default_rng(0).normal([1, 1, 1], 0.3, (50, 3)))
    queries = asked([1, 0.52, 0.42])
    assert cosine(IDENTITY, queries, references).argmax() == 0
    assert hub_corrected(IDENTITY, synthetic, queries, references).argmax() == 1


def test_a_head_that_reads_some_columns_ignores_the_others(untouched):
    seen, columns = Seen(untouched, "multistyle26"), np.array([1, 4, 7, 9])
    features = l2_normalise(np.random.default_rng(0).normal(size=(5, D)))
    for config in (None, replace(ALIGNED, n_steps=2)):
        head = read_at(columns, config)(seen)
        other = features.copy()
        other[:, np.setdiff1d(np.arange(D), columns)] = 9.0
        assert np.allclose(head.embed(features, "synthetic"), head.embed(other, "synthetic"))
    assert np.allclose(read_at(columns)(seen).embed(features, "real"), l2_normalise(features[:, columns]))


def test_the_columns_of_the_depths_are_those_of_the_backbone():
    column, kind = np.arange(1248), np.repeat(np.arange(6), [112, 112, 192, 192, 320, 320])
    for columns, of in ((LAST_STAGE, (4, 5)), (LAST_TWO_STAGES, (2, 3, 4, 5)), (MEANS, (0, 2, 4))):
        assert columns.tolist() == column[np.isin(kind, of)].tolist()


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
    assert set(compare.OWN) <= set(compare.HARD)
