"""Views of folders in shards: what is stored, and that nothing but seed, name and bytes decides it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.backbones import BackboneSpec, load_backbone
from aad.images import load_image
from precompute import extract_shards
from precompute.common.store import ShardError
from tests.small import SPEC, FakeEncoder, contents, folder_of

NAME = "efficientnet_lite0_moments"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extract_shards, "SHARD", 3)
    monkeypatch.setattr(extract_shards, "GROUP", 2)


def extract(monkeypatch, out: Path, *folders: Path, options: tuple = (), spec: BackboneSpec = SPEC) -> int:
    """Run the step; how many pictures went through the backbone."""
    backbone = FakeEncoder(out.with_suffix(".log"), spec=spec)
    before = sum(backbone.embedded())
    monkeypatch.setattr(extract_shards, "load_backbone", lambda *_: backbone)
    given = ("--images", *folders, "--domain", "real", "--out", out, "--n-views", 2, "--threads", 1, *options)
    extract_shards.main([str(option) for option in given])
    return sum(backbone.embedded()) - before


def rows(out: Path) -> dict[str, np.ndarray]:
    """Views by the image's name."""
    about = json.loads((out / "shards.json").read_bytes())
    found = {}
    for entry in about["shards"]:
        names = json.loads((out / entry["file"]).with_suffix(".json").read_bytes())["names"]
        found |= dict(zip(names, np.load(out / entry["file"]), strict=True))
    return found


def test_the_real_backbone_gives_each_image_as_the_gallery_has_it_and_then_its_views(tmp_path):
    folder = folder_of(tmp_path / "photos", 4)
    options = ("--images", folder, "--domain", "synthetic", "--out", tmp_path / "out", "--n-views", 1, "--threads", 1)
    extract_shards.main([str(option) for option in options])
    about, backbone = json.loads((tmp_path / "out" / "shards.json").read_bytes()), load_backbone(NAME)
    stored = rows(tmp_path / "out")
    assert list(stored) == ["photos/000.png", "photos/002.png", "photos/deep/001.png", "photos/deep/003.png"]
    whole = backbone.embed([load_image(tmp_path / name) for name in stored])
    views = np.stack(list(stored.values()))
    assert views.shape == (4, 2, backbone.spec.dim) and views.dtype == np.float16
    assert np.abs(views[:, 0] - whole).max() < 1e-3
    similarity = (views[:, 1].astype(float) * whole).sum(1)
    assert (similarity < 0.99).all() and (similarity > 0.2).all()
    assert about["backbone"]["sha256"] == backbone.spec.sha256 and about["backbone"]["dim"] == backbone.spec.dim
    told = {key: about[key] for key in ("domain", "n", "n_views", "kinds", "seed", "n_refused")}
    kinds = ["plain", "filters"]
    assert told == {"domain": "synthetic", "n": 4, "n_views": 1, "kinds": kinds, "seed": 0, "n_refused": 0}
    assert [(shard["n"], shard["first"], shard["last"]) for shard in about["shards"]] == [
        (3, "photos/000.png", "photos/deep/001.png"),
        (1, "photos/deep/003.png", "photos/deep/003.png"),
    ]


def test_the_order_of_folders_does_not_matter_and_neither_do_other_images(tmp_path, monkeypatch):
    one, two = folder_of(tmp_path / "one", 4), folder_of(tmp_path / "two", 3, first=4)
    extract(monkeypatch, tmp_path / "there", one, two)
    extract(monkeypatch, tmp_path / "back", two, one)
    extract(monkeypatch, tmp_path / "alone", two)
    assert contents(tmp_path / "there") == contents(tmp_path / "back")
    everything, alone = rows(tmp_path / "there"), rows(tmp_path / "alone")
    assert len(everything) == 7 and set(alone) < set(everything)
    assert all(np.array_equal(views, everything[name]) for name, views in alone.items())


def test_views_follow_the_seed_the_name_and_the_bytes(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 2)
    shutil.copy(folder / "000.png", folder / "twin.png")
    extract(monkeypatch, tmp_path / "out", folder)
    extract(monkeypatch, tmp_path / "other", folder, options=("--seed", 1))
    first = rows(tmp_path / "out")
    for one in (first["photos/twin.png"], rows(tmp_path / "other")["photos/000.png"]):
        assert np.array_equal(first["photos/000.png"][0], one[0])
        assert not np.array_equal(first["photos/000.png"][1:], one[1:])


def test_kinds_take_turns(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 1)
    options = ("--n-views", 3)
    extract(monkeypatch, tmp_path / "plain", folder, options=(*options, "--kinds", "plain"))
    extract(monkeypatch, tmp_path / "both", folder, options=(*options, "--kinds", "plain", "filters"))
    plain, both = (rows(tmp_path / name)["photos/000.png"] for name in ("plain", "both"))
    assert [np.array_equal(plain[j], both[j]) for j in range(4)] == [True, True, False, True]


def test_a_folder_of_other_shards_is_not_written_over(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 4), tmp_path / "out"
    extract(monkeypatch, out, folder)
    (out / "00000.json").unlink()  # a killed run of several workers need not have finished the first
    before = contents(out)
    for told, options in (("seed", ("--seed", 1)), ("n_views", ("--n-views", 3)), ("kinds", ("--kinds", "plain"))):
        with pytest.raises(ShardError, match=f"another {told}; choose another --out"):
            extract(monkeypatch, out, folder, options=options)
    with pytest.raises(ShardError, match="another backbone"):
        extract(monkeypatch, out, folder, spec=replace(SPEC, sha256="beef"))
    assert contents(out) == before
    moved = replace(SPEC, weights="the same weights from a local file")
    assert extract(monkeypatch, out, folder, spec=moved) == 3 * 3  # the first shard alone


def test_folders_that_cannot_be_used_are_refused(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotADirectoryError, match="absent is not a folder"):
        extract(monkeypatch, tmp_path / "out", folder, tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match=r"deep is given twice, or lies inside .*photos"):
        extract(monkeypatch, tmp_path / "out", folder / "deep", folder)
    with pytest.raises(ShardError, match="no readable image"):
        extract(monkeypatch, tmp_path / "out", tmp_path / "empty")
    assert not (tmp_path / "out" / "shards.json").exists()
    with pytest.raises(SystemExit):
        extract(monkeypatch, tmp_path / "out", folder, options=("--n-views", 0))


def test_weights_device_and_engine_reach_the_backbone(tmp_path, monkeypatch):
    asked, backbone = [], FakeEncoder(tmp_path / "log")
    monkeypatch.setattr(extract_shards, "load_backbone", lambda *given: asked.append(given) or backbone)
    options = ("--images", folder_of(tmp_path / "photos", 1), "--domain", "real", "--out", tmp_path / "out")
    options += ("--backbone", "dino_vitb16", "--weights", "tuned.safetensors")
    options += ("--device", "auto", "--engine", "openvino")
    extract_shards.main([str(option) for option in options])
    assert asked == [("dino_vitb16", Path("tuned.safetensors"), "auto", "openvino")]
