"""The steps end to end on small folders: what they make, what they must not look at, and what survives an interruption."""

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aad import Attributor, BundleError
from aad.backbones import BACKBONES, Backbone
from aad.method import ALIGNED, DISENTANGLED
from precompute import train_heads
from precompute.abc.splits import BenchmarkError
from precompute.common.embedding import embed_in_shards
from precompute.common.gallery import from_benchmark, from_folders
from precompute.evaluate import evaluate
from precompute.run import steps
from tests.factory import tiny_bundle

STEPS = (
    "build_benchmark",
    "extract_features",
    "extract_views",
    "train_heads",
    "calibrate",
    "project",
    "evaluate",
    "extract_families",
    "leave_out",
    "measure_theory",
    "run",
)
SPLITS = ("train",) * 8 + ("validation",) * 2 + ("test",) * 2


def run(step: str, *options: object) -> None:
    importlib.import_module(f"precompute.{step}").main([str(option) for option in options])


def picture(seed: int, tint: int = 0) -> Image.Image:
    """A blotchy picture that differs from seed to seed; ``tint`` makes a synthetic-looking relative of it."""
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    image = Image.fromarray(blotches).resize((96, 96), Image.Resampling.BICUBIC)
    return Image.blend(image, Image.new("RGB", image.size, (255, 120, 0)), 0.3) if tint else image


def small_benchmark(folder: Path) -> Path:
    """Twelve exemplars with one query each, in AbC-mini's layout."""
    root = folder / "mini"
    exemplars, queries = [], []
    for i, split in enumerate(SPLITS):
        for kind, tint in (("exemplar", 0), ("synth", 1)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            picture(i, tint).save(root / kind / f"{i:02}.png")
        common = {"split": split, "concept": f"c{i}"}
        about = {"title": f"T{i}", "source": "made", "licence": "CC0"}
        exemplars.append({"path": f"mini/exemplar/{i:02}.png"} | about | common)
        made = {"type": "media", "generator": "tint", "exemplars": [f"mini/exemplar/{i:02}.png"], "recipe": {}}
        queries.append({"path": f"mini/synth/{i:02}.png"} | made | common)
    (root / "exemplars.json").write_text(json.dumps(exemplars))
    (root / "queries.json").write_text(json.dumps(queries))
    write_cases(root, [query["exemplars"] for query in queries])
    return root


def write_cases(root: Path, sources: list[list[str]]) -> None:
    """The pairs, in AbC's own form; one file a split."""
    (root / "json").mkdir(exist_ok=True)
    for split in dict.fromkeys(SPLITS):
        cases = [
            {
                "exemplar": source,
                "synth": {"media": [f"mini/synth/{i:02}.png"]},
                "category": f"c{i}",
                "class_id": str(i),
            }
            for i, source in enumerate(sources)
            if SPLITS[i] == split
        ]
        (root / "json" / f"{split}.json").write_text(json.dumps(cases))


def train(benchmark: Path, bundle: Path) -> dict[str, bytes]:
    run("extract_features", "--benchmark", benchmark, "--bundle", bundle, "--threads", 1)
    made = ("--made", "filters", "--n-made", 1)
    run("extract_views", "--bundle", bundle, "--n-views", 2, "--kinds", "plain", "filters", *made, "--threads", 1)
    run("train_heads", "--bundle", bundle, "--threads", 1)
    return {
        path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file() and path.name != "manifest.json"
    }


class CountingNetwork:
    """Stands for the backbone's network: mean colour as features; stops like Ctrl-C after a number of images."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen, self.stop_after = 0, stop_after

    def __call__(self, batch):
        self.seen += len(batch)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        return batch.mean((2, 3)).repeat(1, 416)


@pytest.fixture(scope="module", autouse=True)
def short_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_heads, "ALIGNED", replace(ALIGNED, n_steps=5))
        patch.setattr(train_heads, "DISENTANGLED", replace(DISENTANGLED, n_steps=5))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, short_training):
    """A benchmark, and the files of a bundle made of it by the real network."""
    folder = tmp_path_factory.mktemp("trained")
    benchmark = small_benchmark(folder)
    return benchmark, train(benchmark, folder / "bundle")


@pytest.fixture(scope="module")
def shipped(trained):
    """A folder with the bundle, calibrated."""
    run("calibrate", "--bundle", trained[0].parent / "bundle")
    return trained[0].parent


@pytest.fixture
def quick(monkeypatch):
    """A network that sees a tiny copy of the picture: for what compares one run with another."""

    def thumbnail(batch):
        return torch.nn.functional.adaptive_avg_pool2d(batch, (13, 32)).flatten(1) + 1.5

    backbone = Backbone(BACKBONES["efficientnet_lite0"], thumbnail)
    for module in ("extract_features", "pictures.drawing"):
        monkeypatch.setattr(f"precompute.{module}.load_backbone", lambda *_: backbone)


@pytest.mark.parametrize("step", [*STEPS, "build_index", "compare", "finetune", "abc_evaluate", "abc_train"])
def test_every_step_explains_itself(step, capsys):
    with pytest.raises(SystemExit) as stop:
        run(step, "--help")
    assert stop.value.code == 0
    assert f"python -m precompute.{step}" in capsys.readouterr().out


def test_training_uses_no_pairs_and_no_test_concept_and_gives_the_same_bytes_twice(quick, trained, tmp_path):
    benchmark = trained[0]
    made = train(Path(shutil.copytree(benchmark, tmp_path / "first" / "mini")), tmp_path / "first" / "bundle")
    assert train(Path(shutil.copytree(benchmark, tmp_path / "twice" / "mini")), tmp_path / "twice" / "bundle") == made
    shuffled = Path(shutil.copytree(benchmark, tmp_path / "mini"))
    paths = [f"mini/exemplar/{i:02}.png" for i in range(8)]
    write_cases(
        shuffled, [[path] for path in [*paths[3:], *paths[:3], *(f"mini/exemplar/{i:02}.png" for i in range(8, 12))]]
    )
    for i, split in enumerate(SPLITS):
        if split != "train":
            picture(100 + i).save(shuffled / "exemplar" / f"{i:02}.png")
            picture(200 + i).save(shuffled / "synth" / f"{i:02}.png")
    again = train(shuffled, tmp_path / "bundle")
    assert again["queries.json"] != made["queries.json"]
    assert again["references_backbone.npy"] != made["references_backbone.npy"]
    assert again["heads.safetensors"] == made["heads.safetensors"]
    picture(300).save(shuffled / "synth" / "00.png")
    assert train(shuffled, tmp_path / "bundle")["heads.safetensors"] != made["heads.safetensors"]


def test_all_steps_make_a_bundle_that_answers_and_is_evaluated(shipped, tmp_path):
    bundle, out = tmp_path / "bundle", tmp_path / "figures" / "metrics.json"
    shutil.copytree(shipped, tmp_path, dirs_exist_ok=True)
    run("project", "--bundle", bundle)
    run("evaluate", "--bundle", bundle, "--out", out)
    cell = json.loads(out.read_text())["spaces"]["aligned"]["test"]["media"]
    assert cell["n_queries"] == 2 and set(cell["recall"]) == {"1", "5", "10"}
    assert cell["mrr"]["low"] <= cell["mrr"]["mean"] <= cell["mrr"]["high"]
    attributor = Attributor.load(bundle)
    by_image = attributor.attribute(attributor.queries[3].path, 5).to_dict()
    by_features = attributor.attribute_query(3, 5).to_dict()
    for space in attributor.spaces:
        ids = [[match["reference_id"] for match in answer[space]["matches"]] for answer in (by_image, by_features)]
        assert ids[0][0] == ids[1][0]
        tops = [answer[space]["matches"][0]["similarity"] for answer in (by_image, by_features)]
        assert tops[0] == pytest.approx(tops[1], abs=1e-3)


def test_a_benchmark_needs_no_more_than_abcs_own_form(trained, tmp_path):
    bare = Path(shutil.copytree(trained[0], tmp_path / "mini"))
    (bare / "exemplars.json").unlink()
    (bare / "queries.json").unlink()
    gallery = from_benchmark(bare)
    assert gallery.references[9] == {
        "path": "mini/exemplar/09.png",
        "title": "09",
        "source": "mini",
        "licence": "not stated",
        "concept": "c9",
        "split": "validation",
    }
    assert [query["exemplar_ids"] for query in gallery.queries] == [[i] for i in range(12)]
    (bare / "synth" / "03.png").unlink()
    (bare / "exemplar" / "07.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 images .* missing:\n  mini/.*\n  mini/"):
        from_benchmark(bare)


def test_ones_own_folders_become_a_bundle(shipped, tmp_path, capsys):
    real, synthetic, out = tmp_path / "my pictures", tmp_path / "made", tmp_path / "out"
    for folder in (real / "inner", synthetic):
        folder.mkdir(parents=True)
    for i in range(5):
        picture(i).save(real / "inner" / f"blue_heron {i}.png")
    picture(2, tint=1).save(synthetic / "q.png")
    (real / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (real / "notes.txt").write_text("not an image at all")
    (real / "metadata.csv").write_text("file_name,title,licence\ninner/blue_heron 2.png,The <b>Heron</b>,CC0\n")
    source = shipped / "bundle"
    run("extract_features", "--references", real, "--queries", synthetic, "--bundle", out)
    assert "1 of 6 images" in (said := capsys.readouterr().err) and "broken.jpg" in said
    run("train_heads", "--bundle", out, "--heads-from", source)
    run("calibrate", "--bundle", out, "--calibration-from", source)
    run("project", "--bundle", out)
    attributor = Attributor.load(out)
    assert [reference.title for reference in attributor.references[1:4]] == [
        "blue heron 1",
        "The <b>Heron</b>",
        "blue heron 3",
    ]
    assert attributor.queries[0].exemplar_ids == () and attributor.examples == (0,)
    assert attributor.attribute_query(0, 3)["backbone"].matches[0].reference_id == 2


def test_a_bundle_without_known_sources_is_not_evaluated(tmp_path):
    bundle = tiny_bundle(tmp_path)
    attributor = Attributor.load(bundle)
    attributor.queries = tuple(replace(query, exemplar_ids=()) for query in attributor.queries)
    with pytest.raises(BundleError, match="nothing to measure"):
        evaluate(attributor)


def test_a_table_of_words_without_file_names_is_refused(tmp_path):
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("name,title\na.png,A\n")
    with pytest.raises(BenchmarkError, match="needs a column file_name, got name, title"):
        from_folders(tmp_path, None)


def test_one_picture_is_a_gallery(shipped, tmp_path):
    source = shipped / "bundle"
    (tmp_path / "one").mkdir()
    picture(0).save(tmp_path / "one" / "only.png")
    out = tmp_path / "out"
    run("extract_features", "--references", tmp_path / "one", "--bundle", out)
    run("train_heads", "--bundle", out, "--heads-from", source)
    run("calibrate", "--bundle", out, "--calibration-from", source)
    run("project", "--bundle", out)
    answer = Attributor.load(out).attribute(picture(0), 10)["disentangled"]
    assert [match.reference_id for match in answer.matches] == [0]


def test_too_little_to_train_on_is_one_line(trained, tmp_path):
    shutil.copytree(trained[0].parent, tmp_path, dirs_exist_ok=True)
    scratch = tmp_path / "bundle" / ".work" / "views.npz"
    with np.load(scratch) as stored:
        kept = dict(stored)
    np.savez(scratch, **kept | {"synthetic": kept["synthetic"][:1], "generators": kept["generators"][:1]})
    with pytest.raises(BundleError, match=r"two images of each domain.*more pictures"):
        run("train_heads", "--bundle", tmp_path / "bundle")


def test_an_empty_or_missing_folder_says_so(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotADirectoryError, match=r"holds no readable image|is not a folder"):
            run("extract_features", "--references", folder, "--bundle", tmp_path / "out")


def test_run_takes_shipped_heads_unless_told_to_train(tmp_path):
    def names(*arguments):
        return [name for name, _ in steps(*arguments)]

    assert names(None, None, False, None) == [name for name in STEPS if name != "run"]
    assert names(tmp_path, None, False, None) == ["extract_features", "train_heads", "calibrate", "project"]
    assert "extract_views" in names(tmp_path, tmp_path, True, None)
    assert "--heads-from" in dict(steps(tmp_path, None, False, None))["train_heads"]


@pytest.mark.parametrize(("n", "built"), [(200_000, False), (200_001, True)])
def test_run_builds_an_index_of_many_references_of_ones_own(tmp_path, monkeypatch, n, built):
    done = []
    monkeypatch.setattr("precompute.run._run", lambda step, options: done.append((step, list(options))))
    np.save(tmp_path / "references_backbone.npy", np.zeros((n, 1), np.float16))
    run("run", "--references", tmp_path, "--bundle", tmp_path)
    index = [("build_index", ["--bundle", str(tmp_path)])] if built else []
    assert done[1][0] == "train_heads" and done[2:3] == (index or [("calibrate", ["--bundle", str(tmp_path)])])
    assert [step for step, _ in done if step != "build_index"] == [
        step for step, _ in steps(tmp_path, None, False, None)
    ]


def test_an_interrupted_embedding_goes_on_where_it_stopped(tmp_path):
    spec = BACKBONES["efficientnet_lite0"]
    keys = [str(i) for i in range(150)]

    def embed(network, folder):
        return embed_in_shards(Backbone(spec, network), keys, lambda i: [picture(i)], folder, "test", "test")

    whole = embed(first := CountingNetwork(), tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        embed(CountingNetwork(stop_after=100), tmp_path / "b")
    resumed = embed(second := CountingNetwork(), tmp_path / "b")
    assert np.array_equal(whole, resumed)
    assert first.seen == 150 and second.seen == 150 - 64
    names = ["5621981154e11d37cc99ee805683ca38", "6e841265cea9bf43a058c1d3ee74ffda", "91673b09be8ea3903967446f131a1615"]
    assert sorted(path.stem for path in (tmp_path / "b").iterdir()) == names  # as ever: what is on disks is found
