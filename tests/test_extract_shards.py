"""Views of folders in shards: what is stored, and that nothing but seed, name and bytes decides it."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from aad.backbones import BackboneSpec, load_backbone
from aad.images import load_image
from aad.vectors import l2_normalise
from precompute import extract_shards
from precompute.common.store import ShardError
from tests.small import SPEC, contents, folder_of

NAME = "efficientnet_lite0"


@dataclass(eq=False)
class FakeBackbone:
    """Features are the picture itself, scaled down to 2 x 2."""

    seen: int = 0
    spec: BackboneSpec = SPEC
    device: str = "cpu"

    def embed_pixels(self, pixels, progress=None):
        pixels = np.reshape(list(pixels), (-1, 3, 2, 4, 2, 4))
        self.seen += len(pixels)
        return l2_normalise(pixels.mean((3, 5)).reshape(len(pixels), 12))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extract_shards, "SHARD", 3)
    monkeypatch.setattr(extract_shards, "GROUP", 2)


def extract(monkeypatch, out: Path, *folders: Path, options: tuple = (), backbone: FakeBackbone | None = None) -> int:
    """Run the step; how many pictures went through the backbone."""
    backbone = backbone or FakeBackbone()
    monkeypatch.setattr(extract_shards, "load_backbone", lambda name, weights, device, engine: backbone)
    given = ("--images", *folders, "--domain", "real", "--out", out, "--n-views", 2, "--threads", 1, *options)
    extract_shards.main([str(option) for option in given])
    return backbone.seen


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
    about, stored, backbone = json.loads((tmp_path / "out" / "shards.json").read_bytes()), {}, load_backbone(NAME)
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
    for options in (("--seed", 1), ("--n-views", 3), ("--kinds", "plain")):
        with pytest.raises(
            ShardError, match=f"another {options[0].strip('-').replace('-', '_')}; choose another --out"
        ):
            extract(monkeypatch, out, folder, options=options)
    other = FakeBackbone(spec=replace(SPEC, sha256="beef"))
    with pytest.raises(ShardError, match="another backbone"):
        extract(monkeypatch, out, folder, backbone=other)
    assert contents(out) == before
    moved = FakeBackbone(spec=replace(SPEC, weights="the same weights from a local file"))
    assert extract(monkeypatch, out, folder, backbone=moved) == 3 * 3  # the first shard alone


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
    asked = []
    monkeypatch.setattr(extract_shards, "load_backbone", lambda *given: asked.append(given) or FakeBackbone())
    options = ("--images", folder_of(tmp_path / "photos", 1), "--domain", "real", "--out", tmp_path / "out")
    options += ("--backbone", "dino_vitb16", "--weights", "tuned.safetensors")
    options += ("--device", "auto", "--engine", "torch-bf16")
    extract_shards.main([str(option) for option in options])
    assert asked == [("dino_vitb16", Path("tuned.safetensors"), "auto", "torch-bf16")]
