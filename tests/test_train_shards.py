"""Heads from shards: the same as from memory, bounded in memory, and refused where the shards do not fit."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.bundle import Bundle, read_heads
from aad.method import ALIGNED, DISENTANGLED, Views, fit_head
from aad.spaces import SPACES, Domain
from aad.vectors import l2_normalise
from precompute import train_heads
from precompute.common.steps import write_step
from precompute.common.store import VIEWS, ShardError, Shards, StoredRows, write_array, write_table

BACKBONE = {"name": "efficientnet_lite0", "dim": 16, "sha256": "feed"}


def features(n: int, n_views: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, 1, 16)) * np.geomspace(0.2, 2, 16)
    return l2_normalise(images + 0.5 * rng.normal(size=(n, 1 + n_views, 16)) + seed % 3).astype(np.float16)


def shards(folder: Path, views: np.ndarray, domain: str, size: int = 7, **changed: object) -> Path:
    """A finished folder, as extract_shards leaves it."""
    folder.mkdir(parents=True)
    entries = []
    for number, start in enumerate(range(0, len(views), size)):
        part = views[start : start + size]
        name = f"{number:05}.npy"
        entries.append({"file": name, "n": len(part), "sha256": write_array(folder / name, part)})
    about = {"format": 1, "backbone": BACKBONE, "domain": domain, "n": len(views), "n_views": views.shape[1] - 1}
    write_table(folder / VIEWS.index, about | {"kinds": ["plain"], "seed": 0, "shards": entries} | changed)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A bundle of twenty references, 40 real images in two folders and 30 synthetic ones in one."""
    references = features(20, 0, 5)[:, 0]
    files = {"references.json": [], "queries.json": [], "references_backbone.npy": references}
    sections = {"name": "small", "images": "..", "backbone": BACKBONE, "examples": []}
    write_step(tmp_path / "bundle", "extract_features", files, command="test", sections=sections)
    shards(tmp_path / "one", features(25, 3, 0), "real")
    shards(tmp_path / "two", features(15, 4, 3), "real")
    shards(tmp_path / "made", features(30, 2, 1), "synthetic")
    for name, config in (("ALIGNED", ALIGNED), ("DISENTANGLED", DISENTANGLED)):
        monkeypatch.setattr(train_heads, name, replace(config, n_steps=12, batch_size=10))
    return tmp_path


def train(place: Path, *options: object, real: tuple = ("one", "two"), synthetic: tuple = ("made",)) -> Bundle:
    given = ["--bundle", place / "bundle", "--real", *(place / name for name in real), *options]
    given += ["--synthetic", *(place / name for name in synthetic)]
    train_heads.main([str(option) for option in given])
    return Bundle.open(place / "bundle")


def heads_of(bundle: Bundle) -> str:
    return hashlib.sha256(bundle.read_bytes("heads.safetensors")).hexdigest()


def test_heads_from_shards_are_those_from_memory(place, capsys):
    bundle = train(place)
    real = np.concatenate([features(25, 3, 0), features(15, 4, 3)[:, :4]])  # as many views as the first folder has
    views = Views(real.astype(np.float32), features(30, 2, 1).astype(np.float32))
    stored = read_heads(bundle)
    for space, config in zip(SPACES[1:], (train_heads.ALIGNED, train_heads.DISENTANGLED), strict=True):
        wanted, _ = fit_head(views, config)
        for domain in Domain:
            assert np.allclose(stored[space].centre[domain], wanted.centre[domain], atol=1e-6)
            rows = np.float32(features(20, 0, 6)[:, 0])
            assert np.allclose(
                stored[space].embed(rows, domain), wanted.embed(rows, domain), atol=2e-3
            )  # float16 on disk
        embedded = bundle.read_array(f"references_{space}.npy", (20, 16))
        assert np.allclose(embedded, wanted.embed(np.float32(features(20, 0, 5)[:, 0]), Domain.REAL), atol=2e-3)
    told = capsys.readouterr().out
    assert "40 real images with 3 views each" in told and "30 synthetic images with 2 views each" in told


def test_training_twice_gives_the_same_bytes_and_the_manifest_tells_from_what(place):
    first = heads_of(train(place))
    bundle = train(place)
    assert heads_of(bundle) == first
    step = bundle.manifest["steps"]["train_heads"]
    assert [entry["folder"] for entry in step["real"]["shards"]] == ["one", "two"]
    assert (step["real"]["n"], step["real"]["n_views"], step["synthetic"]["n"]) == (40, 3, 30)
    told = hashlib.sha256((place / "made" / VIEWS.index).read_bytes()).hexdigest()
    assert step["synthetic"]["shards"][0]["sha256"] == told
    shutil.copytree(place / "made", place / "copy")
    assert heads_of(train(place, synthetic=("copy",))) == first


def test_steps_batches_and_seed_can_be_chosen(place):
    bundle = train(place, "--steps", 3, "--batch-size", 4, "--seed", 2)
    config = bundle.manifest["steps"]["train_heads"]["aligned"]["config"]
    assert (config["n_steps"], config["batch_size"], config["seed"]) == (3, 4, 2)


def test_rows_come_in_the_order_asked_for_whatever_shard_they_are_in(place):
    stored = StoredRows([Shards.open(place / name, VIEWS) for name in ("two", "one")])
    everything = np.concatenate([features(15, 4, 3)[:, :4], features(25, 3, 0)]).astype(np.float32)
    assert stored.shape == everything.shape
    chosen = np.random.default_rng(0).permutation(40)
    assert np.array_equal(stored[chosen], everything[chosen]) and stored[chosen].dtype == np.float32
    assert np.array_equal(stored[5:23], everything[5:23]) and np.array_equal(stored[30:99], everything[30:])
    with pytest.raises(IndexError, match=r"within 0..39"):
        stored[np.array([3, 40])]


@pytest.mark.parametrize("change", [{"name": "dino_vitb16"}, {"dim": 8}, {"sha256": "beef"}])
def test_shards_of_another_backbone_are_refused(place, change):
    views = features(9, 2, 0)[..., : change.get("dim", 16)]
    shards(place / "other", views, "real", backbone=BACKBONE | change)
    with pytest.raises(
        ShardError, match=f"other was embedded with another backbone .*{next(iter(change))} .*--backbone"
    ):
        train(place, real=("one", "other"))
    assert not Bundle.open(place / "bundle").has("heads.safetensors")


def test_damaged_and_unfinished_shards_are_named_with_the_remedy(place):
    file, index = place / "one" / "00001.npy", place / "one" / VIEWS.index
    sound = file.read_bytes()
    for path, data, said in (
        (file, sound[:-1] + bytes([sound[-1] ^ 1]), "00001.npy is damaged"),
        (file, sound[:-40], "00001.npy is damaged"),
        (file, (place / "two" / "00000.npy").read_bytes(), "00001.npy is damaged"),
        (file, None, "00001.npy cannot be read"),
        (index, b'{"format": 2}', "has format 2"),
        (index, None, "shards.json is missing"),
    ):
        path.unlink() if data is None else path.write_bytes(data)
        with pytest.raises(ShardError, match=rf"{said}.*run python -m precompute.extract_shards --out .*one"):
            train(place)


def test_shards_that_cannot_be_trained_on_are_refused(place):
    with pytest.raises(ShardError, match="made holds views of synthetic images, real ones are needed here"):
        train(place, real=("made",), synthetic=("one",))
    with pytest.raises(ShardError, match="one is given twice"):
        train(place, real=("one", "two", "one"))
    shards(place / "single", features(1, 2, 0), "synthetic")
    with pytest.raises(ShardError, match="at least two images of each domain, got 1 synthetic"):
        train(place, synthetic=("single",))
    shards(place / "broken", features(9, 2, 0) * np.float16(np.inf), "synthetic")
    with pytest.raises(ShardError, match="moments need finite values"):
        train(place, synthetic=("broken",))


def test_options_that_do_not_go_with_shards_are_refused(place):
    for options in (("--leave-out", "x"), ("--heads-from", "x"), ("--steps", 0), ("--batch-size", 1)):
        with pytest.raises(SystemExit):
            train(place, *options)
    with pytest.raises(SystemExit):
        train_heads.main(["--bundle", str(place / "bundle"), "--real", str(place / "one")])
