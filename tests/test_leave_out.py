"""Leaving generators out, on a small bundle of drawn features: what training may see, how queries are scored, what is kept."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.bundle import Bundle, BundleError
from aad.method import ALIGNED, DISENTANGLED, Head
from aad.spaces import Space
from aad.vectors import l2_normalise
from precompute import compare, leave_out
from precompute.common.steps import write_step
from precompute.common.trials import Queries, read_queries, read_training_pairs, read_views, score
from precompute.experiments import variations

D, N = 24, 30
GENERATORS = ("multistyle26", "filters", "photometric")


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
            "references.json": [{"path": f"{i}.png", "title": str(i)} | common[i] for i in range(N)],
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


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    for module in (leave_out, variations):
        monkeypatch.setattr(module, "ALIGNED", replace(ALIGNED, n_steps=3))
        monkeypatch.setattr(module, "DISENTANGLED", replace(DISENTANGLED, n_steps=3))
    return small_bundle(tmp_path / "bundle")


def test_a_family_left_out_is_in_neither_the_images_nor_the_views(bundle):
    everything, without = read_views(Bundle.open(bundle)), read_views(Bundle.open(bundle), ["multistyle26"])
    assert everything.real.shape == (10, 5, D) and everything.synthetic.shape == (30, 3, D)
    assert without.real.shape == (10, 4, D) and without.synthetic.shape == (20, 3, D)
    assert np.array_equal(without.synthetic, everything.synthetic[10:])
    assert (
        len(read_training_pairs(Bundle.open(bundle), ["multistyle26"])[0]) == 19
    )  # one of the twenty has no known source


def test_a_share_of_the_images_is_drawn_from_all_of_them_and_the_same_each_time(bundle):
    half, again = (read_views(Bundle.open(bundle), share=0.5) for _ in range(2))
    assert half.real.shape[0] == 5 and half.synthetic.shape[0] == 15
    assert np.array_equal(half.synthetic, again.synthetic)
    assert not np.array_equal(half.synthetic, read_views(Bundle.open(bundle)).synthetic[:15])


def test_too_little_left_to_train_on_says_what_to_do(bundle):
    with pytest.raises(BundleError, match=r"at least two images of each domain.*more pictures"):
        read_views(Bundle.open(bundle), GENERATORS)


def test_missing_scratch_names_the_step_that_makes_it(bundle):
    (bundle / ".work" / "views.npz").unlink()
    with pytest.raises(BundleError, match=r"precompute\.extract_views --bundle"):
        leave_out.main(["--bundle", str(bundle)])


def test_queries_of_a_family_are_the_bundles_own_and_the_made_ones_of_one_split(bundle):
    own = read_queries(Bundle.open(bundle), "multistyle26", "test")
    assert set(own.types) == {"media", "scene"} and len(own.types) == 20 and (own.ignored_ids == -1).all()
    made = read_queries(Bundle.open(bundle), "composite", "validation")
    assert made.types == ("composite",) * 10 and made.exemplar_ids == tuple((i,) for i in range(10, 20))
    assert made.concepts == tuple(f"c{i}" for i in range(10, 20)) and made.ignored_ids.tolist() == list(range(11, 21))


def test_an_ignored_reference_is_neither_right_nor_wrong():
    references = np.eye(3, dtype=np.float32)
    features = np.array([[0.6, 0.8, 0.0]], np.float32)  # nearest to reference 1, made of reference 0
    queries = Queries(features, ((0,),), np.array([-1]), ("composite",), ("c",), np.zeros((1, 0, 3), np.float32))
    assert score(Head.identity(3), references, queries)["mrr"].tolist() == [0.5]
    assert score(Head.identity(3), references, replace(queries, ignored_ids=np.array([1])))["mrr"].tolist() == [1.0]


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


def test_every_variation_gives_a_head_for_these_features(bundle):
    trial = variations.Trial(Bundle.open(bundle), "multistyle26")
    names = ("centring", "CCA between views, rank 256", "supervised AbC recipe (pairs)")
    names += ("nuisance whitening, then supervised (pairs)", "nuisance whitening (both terms, closed form)")
    for name in names:
        head = variations.BASELINES[name](trial)
        assert head.embed(trial.views().real[:, 0], "real").shape == (10, D)
    assert len({*variations.BASELINES, *variations.ABLATIONS}) == len(variations.BASELINES) + len(variations.ABLATIONS)


def test_comparing_goes_on_where_it_stopped_and_starts_anew_for_other_data(bundle, tmp_path, monkeypatch):
    asked = []

    def run_one(task):
        asked.append(task[3:])
        return (
            task[2],
            task[3],
            task[4],
            {m: {"mean": 0.5, "low": 0.4, "high": 0.6} for m in ("recall@1", "mrr")}
            | {
                "n_queries": 10,
                "seconds": 1.0,
            },
        )

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


@pytest.mark.parametrize("step", ["leave_out", "compare", "extract_families", "measure_theory"])
def test_the_steps_explain_themselves(step, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"precompute.{step}").main(["--help"])
    assert stop.value.code == 0 and f"python -m precompute.{step}" in capsys.readouterr().out
