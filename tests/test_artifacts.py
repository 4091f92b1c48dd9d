"""The bundle on disk: what is damaged, missing, half new or hostile is refused with a remedy."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from aad.artifacts import DEFAULT_BUNDLE, WRITTEN_BY, Bundle, BundleError, safe_paths, write_atomically, write_step
from aad.attribution import Attributor
from tests.factory import N_REFERENCES, tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


NEEDED = [name for name in WRITTEN_BY if WRITTEN_BY[name] not in ("evaluate", "leave_out", "measure_theory")]


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("harm", ["missing", "truncated", "altered", "empty"])
def test_a_damaged_file_is_named_with_the_command_that_rebuilds_it(bundle, name, harm):
    path = bundle / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": data[: len(data) // 2], "altered": data[:-1] + b"\x07", "empty": b""}[harm])
    step = {"extract_features": "run --help"}.get(WRITTEN_BY[name], WRITTEN_BY[name])
    with pytest.raises(BundleError, match=rf"{name}.*rebuild it with: python -m precompute\.{step}"):
        Attributor.load(bundle)


@pytest.mark.parametrize("manifest", [None, "", "{", "[]", '{"format": 99, "files": {}}', '{"format": 1}'])
def test_a_damaged_manifest_is_refused(bundle, manifest):
    path = bundle / "manifest.json"
    path.unlink() if manifest is None else path.write_text(manifest)
    with pytest.raises(BundleError, match=r"manifest\.json.*precompute"):
        Attributor.load(bundle)


def test_rerunning_a_step_drops_what_later_steps_made(bundle):
    stored = Bundle.open(bundle)
    write_step(bundle, "train_heads", {"heads.safetensors": stored.read_tensors("heads.safetensors")}, command="again")
    manifest = Bundle.open(bundle).manifest
    assert (
        "coordinates.npy" not in manifest["files"]
        and "calibration" not in manifest
        and "project" not in manifest["steps"]
    )
    assert "references_backbone.npy" in manifest["files"] and manifest["name"] == "tiny"
    with pytest.raises(BundleError, match="has not been made yet"):
        Attributor.load(bundle)


def test_a_step_forgets_a_file_that_it_no_longer_writes(bundle):
    write_step(bundle, "project", {}, command="again")
    assert "coordinates.npy" not in Bundle.open(bundle).manifest["files"]
    assert "neighbour_preservation" not in Bundle.open(bundle).manifest


def test_an_array_of_the_wrong_shape_or_not_finite_is_refused(bundle):
    with pytest.raises(BundleError, match=r"has shape \(3, 10, 2\), expected"):
        Bundle.open(bundle).read_array("coordinates.npy", (3, N_REFERENCES + 1, 2))
    broken = np.full((3, N_REFERENCES, 2), np.nan, np.float32)
    write_step(bundle, "project", {"coordinates.npy": broken}, command="x", sections={"neighbour_preservation": {}})
    with pytest.raises(BundleError, match="not finite"):
        Attributor.load(bundle)


def test_pickled_arrays_are_never_opened(bundle):
    path = bundle / "coordinates.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["coordinates.npy"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="not a plain array"):
        Attributor.load(bundle)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../b.png", ""])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path):
    with pytest.raises(BundleError, match="must be relative and stay inside"):
        safe_paths(tmp_path, [path])


def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    target = tmp_path / "file.bin"
    write_atomically(target, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_full_disk_is_reported_and_loses_nothing(bundle, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = (bundle / "manifest.json").read_bytes()
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_step(bundle, "project", {"coordinates.npy": np.zeros((3, 10, 2))}, command="x")
    monkeypatch.undo()
    assert (bundle / "manifest.json").read_bytes() == before
    Attributor.load(bundle)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, second = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_a_bundle_can_be_moved_with_its_pictures(bundle, tmp_path):
    shutil.move(tmp_path / "pictures", tmp_path / "elsewhere" / "pictures")
    shutil.move(bundle, tmp_path / "elsewhere" / "bundle")
    assert Attributor.load(tmp_path / "elsewhere" / "bundle").references[3].path.exists()


def test_the_shipped_bundle_names_no_machine():
    text = (DEFAULT_BUNDLE / "manifest.json").read_text()
    assert "/home" not in text and "/root" not in text and "/tmp" not in text
