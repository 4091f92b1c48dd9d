"""Views of folders in shards: what is stored, that nothing but seed, name and bytes decides it, and what survives a kill."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad.backbones import BACKBONES, BackboneSpec, load_backbone
from aad.images import load_image
from aad.vectors import l2_normalise
from precompute import extract_shards
from precompute.common import drawn_shards
from precompute.common.view_shards import ShardError

NAME = "efficientnet_lite0"
SPEC = replace(BACKBONES[NAME], dim=12, sha256="feed")


@dataclass
class FakeBackbone:
    """Features are the picture itself, scaled down to 2 x 2; stops like Ctrl-C after some pictures."""

    stop_after: int = 10**9
    seen: int = 0
    spec: BackboneSpec = SPEC

    def embed(self, images, progress=None):
        self.seen += len(images)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        small = [np.asarray(image.resize((2, 2), Image.Resampling.BOX)).ravel() / 255 for image in images]
        return l2_normalise(np.reshape(small, (len(images), 12)))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extract_shards, "SHARD", 3)
    monkeypatch.setattr(drawn_shards, "GROUP", 2)


def picture(seed: int) -> Image.Image:
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((60, 48), Image.Resampling.BICUBIC)


def folder_of(folder: Path, n: int, first: int = 0) -> Path:
    for i in range(first, first + n):
        path = folder / ("deep" if i % 2 else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return folder


def extract(monkeypatch, out: Path, *folders: Path, options: tuple = (), backbone: FakeBackbone | None = None) -> int:
    """Run the step; how many pictures went through the backbone."""
    backbone = backbone or FakeBackbone()
    monkeypatch.setattr(extract_shards, "load_backbone", lambda name, weights, device, engine: backbone)
    given = ("--images", *folders, "--domain", "real", "--out", out, "--n-views", 2, "--threads", 1, *options)
    extract_shards.main([str(option) for option in given])
    return backbone.seen


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


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
    assert list(stored) == ["photos/0.png", "photos/2.png", "photos/deep/1.png", "photos/deep/3.png"]
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
        (3, "photos/0.png", "photos/deep/1.png"),
        (1, "photos/deep/3.png", "photos/deep/3.png"),
    ]


def test_a_killed_run_goes_on_and_leaves_the_same_bytes(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 11)
    plain = ("--kinds", "plain")
    assert extract(monkeypatch, tmp_path / "whole", folder, options=plain) == 33
    for stop_after in (0, 12, 20, 32):
        out = tmp_path / f"stopped {stop_after}"
        with pytest.raises(KeyboardInterrupt):
            extract(monkeypatch, out, folder, options=plain, backbone=FakeBackbone(stop_after))
        assert not (out / "shards.json").exists()
        (out / ".00001.npy.77.partial").write_bytes(b"what a power cut leaves")
        finished = 9 * len(list(out.glob("*.npy")))
        assert extract(monkeypatch, out, folder, options=plain) == 33 - finished
        assert contents(out) == contents(tmp_path / "whole")
    assert extract(monkeypatch, tmp_path / "whole", folder, options=plain) == 0


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
    shutil.copy(folder / "0.png", folder / "twin.png")
    extract(monkeypatch, tmp_path / "out", folder)
    extract(monkeypatch, tmp_path / "other", folder, options=("--seed", 1))
    first, other = rows(tmp_path / "out"), rows(tmp_path / "other")
    assert np.array_equal(first["photos/0.png"][0], first["photos/twin.png"][0])
    assert not np.array_equal(first["photos/0.png"][1:], first["photos/twin.png"][1:])
    assert np.array_equal(first["photos/0.png"][0], other["photos/0.png"][0])
    assert not np.array_equal(first["photos/0.png"][1:], other["photos/0.png"][1:])


def test_kinds_take_turns(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 1)
    options = ("--n-views", 3)
    extract(monkeypatch, tmp_path / "plain", folder, options=(*options, "--kinds", "plain"))
    extract(monkeypatch, tmp_path / "both", folder, options=(*options, "--kinds", "plain", "filters"))
    plain, both = (rows(tmp_path / name)["photos/0.png"] for name in ("plain", "both"))
    assert [np.array_equal(plain[j], both[j]) for j in range(4)] == [True, True, False, True]


def test_only_what_is_damaged_changed_or_gone_is_computed_again(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 9), tmp_path / "out"
    extract(monkeypatch, out, folder)
    before = contents(out)
    spoilt = bytearray(before["00001.npy"])
    spoilt[-1] ^= 1
    (out / "00001.npy").write_bytes(bytes(spoilt))
    assert extract(monkeypatch, out, folder) == 9 and contents(out) == before
    (out / "00002.json").unlink()
    assert extract(monkeypatch, out, folder) == 9 and contents(out) == before
    picture(99).save(folder / "0.png")
    assert extract(monkeypatch, out, folder) == 9
    assert [name for name, data in contents(out).items() if data != before[name]] == [
        "00000.json",
        "00000.npy",
        "shards.json",
    ]
    for path in (folder / "deep").iterdir():
        path.unlink()
    extract(monkeypatch, out, folder)
    assert sorted(contents(out)) == ["00000.json", "00000.npy", "00001.json", "00001.npy", "shards.json"]
    assert len(rows(out)) == 5


def test_a_run_that_is_stopped_on_the_way_back_does_not_pass_for_finished(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 6), tmp_path / "out"
    extract(monkeypatch, out, folder)
    picture(99).save(folder / "0.png")
    with pytest.raises(KeyboardInterrupt):
        extract(monkeypatch, out, folder, backbone=FakeBackbone(0))
    assert not (out / "shards.json").exists()


def test_images_that_cannot_be_read_are_listed_and_counted(tmp_path, monkeypatch, capsys):
    folder = folder_of(tmp_path / "photos", 5)
    (folder / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(folder / "tiny.png")
    (folder / "notes.txt").write_text("not an image, and not said to be one")
    extract(monkeypatch, tmp_path / "out", folder)
    told = capsys.readouterr().err
    assert "2 of 7 images left out" in told and "photos/broken.jpg: " in told and "at least 16 pixels" in told
    about = json.loads((tmp_path / "out" / "shards.json").read_bytes())
    assert (about["n"], about["n_refused"], len(rows(tmp_path / "out"))) == (5, 2, 5)
    monkeypatch.setattr(extract_shards, "SHOWN", 1)
    extract(monkeypatch, tmp_path / "out", folder)
    told = capsys.readouterr().err
    assert "2 of 7 images left out" in told and "tiny" not in told and "and 1 more: the tables in" in told


def test_a_folder_of_other_shards_is_not_written_over(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 2), tmp_path / "out"
    extract(monkeypatch, out, folder)
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
    assert extract(monkeypatch, out, folder, backbone=moved) == 0


def test_folders_that_cannot_be_used_are_refused(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "photos", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotADirectoryError, match="absent is not a folder"):
        extract(monkeypatch, tmp_path / "out", folder, tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match=r"deep is given twice, or lies inside .*photos"):
        extract(monkeypatch, tmp_path / "out", folder / "deep", folder)
    with pytest.raises(NotADirectoryError, match="no readable image"):
        extract(monkeypatch, tmp_path / "out", tmp_path / "empty")
    assert not (tmp_path / "out" / "shards.json").exists()
    with pytest.raises(SystemExit):
        extract(monkeypatch, tmp_path / "out", folder, options=("--n-views", 0))


def test_weights_device_and_engine_reach_the_backbone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(extract_shards, "load_backbone", lambda *given: asked.append(given) or FakeBackbone())
    options = ("--images", folder_of(tmp_path / "photos", 1), "--domain", "real", "--out", tmp_path / "out")
    options += (
        "--backbone",
        "dino_vitb16",
        "--weights",
        "tuned.safetensors",
        "--device",
        "auto",
        "--engine",
        "torch-bf16",
    )
    extract_shards.main([str(option) for option in options])
    assert asked == [("dino_vitb16", Path("tuned.safetensors"), "auto", "torch-bf16")]
