"""The steps end to end on small folders: what they make, what they must not look at, and what they refuse."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad import Attributor, BundleError
from aad.backbones import Backbone, BackboneSpec, load_backbone
from aad.bundle import Bundle
from aad.files import file_sha256
from aad.images import load_image
from aad.method import ALIGNED, DISENTANGLED, Head
from precompute import train_heads
from precompute.abc.splits import BenchmarkError
from precompute.common.embedding import squeezed
from precompute.common.gallery import from_benchmark, from_folders
from precompute.evaluate import evaluate
from precompute.run import SHIPPED_VIEWS, steps
from tests.factory import tiny_bundle
from tests.small import LITE0, ROOT, ThumbnailNetwork, contents, draw_small, encoded, folder_of, picture, run

STEPS = (
    *("build_benchmark", "extract_features", "extract_views", "train_heads", "calibrate", "project", "evaluate"),
    *("extract_families", "leave_out", "measure_theory"),
)
NARROW = ("--backbone", LITE0.name)
SPLITS = ("train",) * 8 + ("validation",) * 2 + ("test",) * 2


def small_benchmark(folder: Path) -> Path:
    """Twelve exemplars with one query each, in AbC-mini's layout."""
    root = folder / "mini"
    exemplars, queries = [], []
    for i, split in enumerate(SPLITS):
        for kind in ("exemplar", "synth"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            picture(i, (96, 96), tint=kind == "synth").save(root / kind / f"{i:02}.png")
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
            {"exemplar": of, "synth": {"media": [f"mini/synth/{i:02}.png"]}, "category": f"c{i}", "class_id": str(i)}
            for i, of in enumerate(sources)
            if SPLITS[i] == split
        ]
        (root / "json" / f"{split}.json").write_text(json.dumps(cases))


def train(benchmark: Path, bundle: Path) -> dict[str, bytes]:
    run("extract_features", "--benchmark", benchmark, "--bundle", bundle, *NARROW, "--threads", 1)
    drawn = ("--n-views", 1, "--kinds", "plain", "--made", "photometric", "--n-made", 1)
    run("extract_views", "--bundle", bundle, *drawn, "--threads", 1)
    run("train_heads", "--bundle", bundle, "--threads", 1)
    return {name: data for name, data in contents(bundle).items() if name != "manifest.json"}


def bundle_of(references: Path, out: Path, heads: Path, *queries: object) -> Attributor:
    """Own folders with heads that are there, embedded by the real network."""
    run("extract_features", "--references", references, *queries, "--bundle", out, *NARROW)
    run("train_heads", "--bundle", out, "--heads-from", heads)
    run("calibrate", "--bundle", out, "--calibration-from", heads)
    run("project", "--bundle", out)
    return Attributor.load(out)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with a benchmark, and the bundle made of it by the real network, calibrated."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        draw_small(patch)
        for name, config in (("ALIGNED", ALIGNED), ("DISENTANGLED", DISENTANGLED)):
            patch.setattr(train_heads, name, replace(config, n_steps=5, rank=16))  # 512 directions take seconds
        train(small_benchmark(folder), folder / "bundle")
        run("calibrate", "--bundle", folder / "bundle")
        yield folder


@pytest.fixture
def quick(monkeypatch):
    """A network that sees a tiny copy of the picture: for what compares one run with another."""
    backbone = Backbone(replace(LITE0, dim=216), ThumbnailNetwork(shape=(6, 12)))
    for module in ("extract_features", "pictures.drawing"):
        monkeypatch.setattr(f"precompute.{module}.load_backbone", lambda *_: backbone)


def test_every_step_explains_itself(capsys):
    for step in (*STEPS, "run", "build_index", "abc_evaluate"):
        with pytest.raises(SystemExit) as stop:
            run(step, "--help")
        assert stop.value.code == 0 and f"python -m precompute.{step}" in capsys.readouterr().out


def test_training_uses_no_pairs_and_no_test_concept_and_gives_the_same_bytes_twice(quick, shipped, tmp_path):
    made, again = (train(small_benchmark(tmp_path / name), tmp_path / name / "bundle") for name in ("first", "twice"))
    assert made == again
    shuffled = small_benchmark(tmp_path)
    paths = [f"mini/exemplar/{i:02}.png" for i in range(12)]
    write_cases(shuffled, [[path] for path in [*paths[3:8], *paths[:3], *paths[8:]]])
    for i in range(8, 12):  # not to train on
        picture(100 + i, (96, 96)).save(shuffled / "exemplar" / f"{i:02}.png")
        picture(200 + i, (96, 96)).save(shuffled / "synth" / f"{i:02}.png")
    again = train(shuffled, tmp_path / "bundle")
    assert again["queries.json"] != made["queries.json"]
    assert again["references_backbone.npy"] != made["references_backbone.npy"]
    assert again["heads.safetensors"] == made["heads.safetensors"]
    picture(300, (96, 96)).save(shuffled / "synth" / "00.png")
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
        one, other = (answer[space]["matches"][0] for answer in (by_image, by_features))
        assert one["reference_id"] == other["reference_id"]
        assert one["similarity"] == pytest.approx(other["similarity"], abs=1e-3)


def test_a_benchmark_needs_no_more_than_abcs_own_form(shipped, tmp_path):
    bare = Path(shutil.copytree(shipped / "mini", tmp_path / "mini"))
    (bare / "exemplars.json").unlink()
    (bare / "queries.json").unlink()
    gallery = from_benchmark(bare)
    known = {"title": "09", "source": "mini", "licence": "not stated", "concept": "c9", "split": "validation"}
    assert gallery.references[9] == {"path": "mini/exemplar/09.png"} | known
    assert [query["exemplar_ids"] for query in gallery.queries] == [[i] for i in range(12)]


def test_ones_own_folders_become_a_bundle(shipped, tmp_path, capsys):
    real, synthetic = tmp_path / "my pictures", tmp_path / "made"
    for folder in (real / "inner", synthetic):
        folder.mkdir(parents=True)
    for i in range(5):
        picture(i, (96, 96)).save(real / "inner" / f"blue_heron {i}.png")
    picture(2, (96, 96), tint=True).save(synthetic / "q.png")
    (real / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (real / "notes.txt").write_text("not an image at all")
    (real / "metadata.csv").write_text("file_name,title,licence\ninner/blue_heron 2.png,The <b>Heron</b>,CC0\n")
    (synthetic / "metadata.csv").write_text("file_name,sources\nq.png,inner/blue_heron 2.png; inner/blue_heron 0.png\n")
    attributor = bundle_of(real, tmp_path / "out", shipped / "bundle", "--queries", synthetic)
    assert "1 of 6 images" in (said := capsys.readouterr().err) and "broken.jpg" in said
    titles = [reference.title for reference in attributor.references[1:4]]
    assert titles == ["inner / blue heron 1", "The <b>Heron</b>", "inner / blue heron 3"]
    assert {reference.group for reference in attributor.references} == {"inner"}
    assert attributor.queries[0].exemplar_ids == (0, 2) and attributor.examples == (0,)
    (synthetic / "metadata.csv").write_text("file_name,sources\nq.png,blue_heron 2.png\n")
    with pytest.raises(BenchmarkError, match=r"must name files below .* as sources, got blue_heron 2\.png for q\.png"):
        from_folders(real, synthetic, tmp_path / "out")
    assert attributor.attribute_query(0, 3)["backbone"].matches[0].reference_id == 2


def test_one_picture_is_a_gallery(shipped, tmp_path):
    (tmp_path / "one").mkdir()
    picture(0).save(tmp_path / "one" / "only.png")
    attributor = bundle_of(tmp_path / "one", tmp_path / "out", shipped / "bundle")
    assert [match.reference_id for match in attributor.attribute(picture(0), 10)["disentangled"].matches] == [0]


def test_what_cannot_be_used_is_refused_in_words(shipped, tmp_path):
    attributor = Attributor.load(tiny_bundle(tmp_path / "tiny"))
    attributor.queries = tuple(replace(query, exemplar_ids=()) for query in attributor.queries)
    with pytest.raises(BundleError, match="nothing to measure"):
        evaluate(attributor)
    (tmp_path / "empty").mkdir()
    for name, why in (("empty", "holds no readable image"), ("nowhere", "is not a folder")):
        with pytest.raises(NotADirectoryError, match=why):
            run("extract_features", "--references", tmp_path / name, "--bundle", tmp_path / "out")
    shutil.copytree(shipped, tmp_path, dirs_exist_ok=True)
    scratch = tmp_path / "bundle" / ".work" / "views.npz"
    with np.load(scratch) as stored:
        kept = dict(stored)
    np.savez(scratch, **kept | {"synthetic": kept["synthetic"][:1], "generators": kept["generators"][:1]})
    with pytest.raises(BundleError, match=r"two images of each domain.*more pictures"):
        run("train_heads", "--bundle", tmp_path / "bundle")


def test_a_bundle_lists_the_pictures_of_folders_that_its_heads_saw(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_heads, "fit_head", lambda views, *_: (Head.identity(views.real.shape[-1]), {}))
    run("extract_features", "--benchmark", small_benchmark(tmp_path), "--bundle", tmp_path / "bundle", "--threads", 1)
    bundle, photos, lab = (
        tmp_path / "bundle",
        folder_of(tmp_path / "photos", 2, 400),
        folder_of(tmp_path / "lab", 5, 500),
    )
    told = ["500.png,exemplar,MIT,a/b,", "502.png,synthetic,MIT,a/b,one", "504.png,synthetic,CC BY 4.0 (a|b),a/b,two"]
    (lab / "pictures.csv").write_text("\n".join(["file,role,licence,repository,generator", *told]))
    drawn = ("--bundle", bundle, "--n-views", 1, "--kinds", "plain", "--made", "--threads", 1)
    folders = ("--photographs", photos, lab, "--generated", lab)

    def trained(*options: object) -> tuple[dict, str]:
        run("train_heads", "--bundle", bundle, "--threads", 1, *options)
        capsys.readouterr()
        run("train_heads", "--bundle", bundle, "--table")
        return json.loads((bundle / "manifest.json").read_text()), capsys.readouterr().out

    run("extract_views", *drawn, *folders)
    manifest, table = trained()
    step = manifest["steps"]["train_heads"]
    assert step["folders"] == {"photos": {"real": 2}, "lab": {"real": 1, "synthetic": 2}}
    assert (step["n_real"], step["n_synthetic"]) == (8 + 3, 8 + 2)
    rows = Bundle.open(bundle).read_bytes("training_pictures.csv").decode().splitlines()
    assert rows[0] == "domain,folder,file,repository,generator,licence,sha256" and len(rows) == 6
    assert rows[4].startswith("synthetic,lab,lab/502.png,a/b,one,MIT,")
    assert table.splitlines()[2:] == [
        "| a/b | 1 | 2 | CC BY 4.0 (a\\|b); MIT |",
        "| photos, of no repository | 2 | 0 | not stated |",
        "| all | 3 | 2 |  |",
    ]
    manifest, table = trained("--leave-out", "two")
    assert manifest["steps"]["train_heads"]["folders"]["lab"] == {"real": 1, "synthetic": 1} and "(a" not in table
    run("extract_views", *drawn)
    manifest, table = trained()
    assert table == "These heads saw no pictures but those of their benchmark.\n"
    assert "training_pictures.csv" not in manifest["files"] and "folders" not in manifest["steps"]["train_heads"]


@pytest.fixture
def done(monkeypatch) -> dict[str, list[str]]:
    """The options of each step that was run, or rather was not."""
    done: dict[str, list[str]] = {}
    monkeypatch.setattr("precompute.run._run", lambda step, options: done.__setitem__(step, list(options)))
    return done


def test_run_passes_folders_on_to_training(done, tmp_path, capsys):
    out, folders = ("--bundle", tmp_path), ("--photographs", "one", "two", "--generated", "two")
    own = ("--references", tmp_path, "--train")
    np.save(tmp_path / "references_backbone.npy", np.zeros((1, 1), np.float16))
    for options, few in (((), list(SHIPPED_VIEWS)), (own, [])):
        run("run", *out, *options, *folders)
        assert done["extract_views"] == [*few, *folders, "--bundle", str(tmp_path)]
    run("run", *out)
    assert done["extract_views"] == ["--bundle", str(tmp_path)]
    for options, why in (((*own[:2], *folders), "add --train"), (own, "--queries FOLDER or --generated FOLDER")):
        with pytest.raises(SystemExit):
            run("run", *out, *options)
        assert why in capsys.readouterr().err


@pytest.mark.parametrize(("n", "index"), [(200_000, []), (200_001, ["build_index"])])
def test_run_takes_shipped_heads_unless_told_to_train_and_builds_an_index_of_many(done, tmp_path, n, index):
    assert [name for name, _ in steps(None, None, False, None)] == list(STEPS)
    assert "extract_views" in dict(steps(tmp_path, tmp_path, True, None))
    np.save(tmp_path / "references_backbone.npy", np.zeros((n, 1), np.float16))
    run("run", "--references", tmp_path, "--bundle", tmp_path)
    assert list(done) == ["extract_features", "train_heads", *index, "calibrate", "project"]
    assert "--heads-from" in done["train_heads"]
    assert all(done[step] == ["--bundle", str(tmp_path)] for step in (*index, "calibrate"))


def test_pictures_are_decoded_once_and_refused_before_any_is_embedded_and_known_by_their_bytes(
    quick, tmp_path, monkeypatch, capsys
):
    opened, hashed, told = list[str](), list[Path](), list[str]()
    embed = Backbone.embed_pixels

    def counted(path: Path):
        opened.append(path.name)
        return load_image(path)

    def after(self, pixels):
        told.append(capsys.readouterr().err)
        return embed(self, pixels)

    for module in ("embedding", "gallery"):
        monkeypatch.setattr(f"precompute.common.{module}.load_image", counted)
    monkeypatch.setattr(Backbone, "embed_pixels", after)
    read = "precompute.common.embedding.file_sha256"
    monkeypatch.setattr(read, lambda path: (hashed.append(path), file_sha256(path))[1])
    monkeypatch.setattr("precompute.common.embedding.SETTLED", -(10**18))  # as if all had been written long ago
    folder = folder_of(tmp_path / "mine", 70)
    (folder / "broken.png").write_bytes(b"no picture")

    def rows() -> dict[str, bytes]:
        opened.clear()
        hashed.clear()
        run("extract_features", "--references", folder, "--bundle", tmp_path / "out", *NARROW)
        bundle = Bundle.open(tmp_path / "out")
        entries = bundle.read_json("references.json")
        found = bundle.read_array("references_backbone.npy", (len(entries), None))
        return {Path(entry["path"]).name: row.tobytes() for entry, row in zip(entries, found, strict=True)}

    first = rows()
    assert sorted(opened) == sorted(path.name for path in folder.rglob("*.png"))
    (folder / "deep").rename(folder / "moved")
    for name in ("001 new.png", "030 new.png"):
        picture(name.startswith("030") + 900).save(folder / name)
    second = rows()
    assert sorted(opened) == ["001 new.png", "030 new.png", "broken.png"]
    assert len(second) == 72 and second.items() > first.items() and len(hashed) == 35 + 2
    path, before = folder / "000.png", (folder / "000.png").stat()
    path.write_bytes(encoded(1, size=(20, 16)).ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    third = rows()
    assert hashed == [path] and third["000.png"] != second["000.png"], "the same size and time, but other bytes"
    assert "1 of 71 images" in told[0] and "1 of 73 images" in told[-1]
    monkeypatch.setattr("precompute.common.embedding.KEPT", 10 * 3 * LITE0.image_size**2)  # the rest is decoded again
    shutil.rmtree(tmp_path / "out")
    assert rows() == third and len(opened) > 73 + 50


def test_a_large_photograph_has_the_features_that_the_page_finds_in_it(monkeypatch):
    backbone = load_backbone("efficientnet_lite0_moments")
    files = sorted((ROOT / "assets" / "abc_mini").rglob("*.webp"))[::150]
    pictures = [load_image(path).resize((2500, 1800), Image.Resampling.BICUBIC) for path in files]
    expected = backbone.embed(pictures)
    monkeypatch.setattr(BackboneSpec, "squeezed", None)  # Pillow's resizing is not asked
    square = [backbone.spec.preprocess(squeezed(backbone.spec, one)) for one in pictures]
    assert (backbone.embed_pixels(square) * expected).sum(1).min() > 0.9999 and len(files) > 10
