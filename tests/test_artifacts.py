"""The bundle on disk: what is damaged, missing, half new or hostile is refused with a remedy."""

import hashlib
import json
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from aad.attribution import Attributor
from aad.bundle import DEFAULT_BUNDLE, WRITTEN_BY, Bundle, BundleError, remedy, safe_paths, write_atomically
from aad.files import naming
from precompute.common.rows import RowWriter, stored_chunks
from precompute.common.steps import encode, write_step
from tests.factory import N_REFERENCES, tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


OPTIONAL = ("build_index", "evaluate", "leave_out", "measure_theory")
NEEDED = [name for name in WRITTEN_BY if WRITTEN_BY[name] not in OPTIONAL]


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


def test_a_path_is_a_text(tmp_path):
    with pytest.raises(BundleError, match="an image path must be a text, got int"):
        safe_paths(tmp_path, ["a.png", 3])


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


def test_the_shipped_bundle_is_of_this_format_and_stays_as_it_was_opened():
    shipped = Bundle.open()
    assert shipped.folder == DEFAULT_BUNDLE and shipped.has("manifest.json") is False and shipped.has("references.json")
    with pytest.raises(FrozenInstanceError):
        shipped.folder = DEFAULT_BUNDLE.parent
    assert not hasattr(shipped, "__dict__")


def test_the_shipped_bundle_names_no_machine():
    text = (DEFAULT_BUNDLE / "manifest.json").read_text()
    assert "/home" not in text and "/root" not in text and "/tmp" not in text


def rewritten(bundle, name, content):
    """Another content for a file, with its checksum in the manifest."""
    np.save(bundle / name, content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_mapped_rows_are_those_that_are_read(bundle):
    stored = Bundle.open(bundle)
    read = stored.read_array("references_aligned.npy", (N_REFERENCES, None))
    mapped = stored.map_rows("references_aligned.npy", (N_REFERENCES, None))
    assert mapped.shape == read.shape
    np.testing.assert_array_equal(mapped[:], read / np.linalg.norm(read, axis=1, keepdims=True))


@pytest.mark.parametrize("harm", ["missing", "truncated", "altered", "empty"])
def test_damaged_rows_are_not_mapped(bundle, harm):
    path = bundle / "references_aligned.npy"
    data = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes({"truncated": data[:-100], "altered": data[:-1] + b"\x07", "empty": b""}[harm])
    with pytest.raises(BundleError, match=r"references_aligned.*(damaged|cannot be read).*precompute\.train_heads"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (None, None))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (np.full((N_REFERENCES, 4), np.inf, np.float16), "not finite"),
        (np.full((N_REFERENCES, 4), np.nan, np.float32), "not finite"),
        (np.zeros((N_REFERENCES + 1, 4), np.float16), r"has shape \(11, 4\), expected \(10, 4\)"),
        (np.zeros((N_REFERENCES, 4), np.int64), "holds int64"),
        (np.zeros(N_REFERENCES, np.float16), "has shape"),
    ],
)
def test_rows_that_cannot_be_searched_are_not_mapped(bundle, content, why):
    rewritten(bundle, "references_aligned.npy", content)
    with pytest.raises(BundleError, match=rf"references_aligned.*{why}.*precompute\.train_heads"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (N_REFERENCES, 4))


@pytest.mark.parametrize(
    "content",
    [np.zeros((3, 4)), np.zeros((N_REFERENCES, 4), np.float32, order="F"), np.array([{}], dtype=object), b"no array"],
)
def test_damaged_rows_are_called_damaged_whatever_they_look_like(bundle, content):
    path = bundle / "references_aligned.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
    with pytest.raises(BundleError, match="is damaged: its sha256 is not the manifest's"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (None, None))


def test_a_device_in_the_place_of_rows_is_not_read(bundle):
    (bundle / "references_aligned.npy").unlink()
    (bundle / "references_aligned.npy").symlink_to("/dev/null")
    with pytest.raises(BundleError, match=r"references_aligned.*is no plain file"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (None, None))


def test_rows_that_change_while_they_are_checked_are_refused(bundle, monkeypatch):
    def changed(_):
        raise OSError("was changed in place")

    monkeypatch.setattr("aad.scale.stored.StoredRows.read_through", changed)
    with pytest.raises(BundleError, match=r"references_aligned.*cannot be read \(was changed in place\)"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (None, None))


def test_a_refusal_is_one_line_whatever_it_quotes(bundle):
    assert "one two three;" in str(Bundle.open(bundle).refusal("x.json", "one\n  two\tthree"))


@pytest.mark.parametrize("place", ["aad/0123", "models--me--mine/snapshots/0123", "models--me--mine/0123"])
def test_only_what_came_from_the_hub_is_loaded_from_there_again(tmp_path, place):
    assert remedy(tmp_path / place, "project").startswith("rebuild it with: python -m precompute.project")
    own = tmp_path / "models--me--mine"
    assert remedy(own / "aad" / "0123", "project") == f"it came from the hub: delete {own} and load it again"


def test_a_finished_file_is_moved_into_place_and_counts_as_its_content(tmp_path):
    first, second = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    places = np.load(first / "coordinates.npy")
    for folder, content in ((first, places), (second, tmp_path / "ready.npy")):
        np.save(tmp_path / "ready.npy", places)
        write_step(folder, "project", {"coordinates.npy": content}, command="x")
    assert (first / "coordinates.npy").read_bytes() == (second / "coordinates.npy").read_bytes()
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    assert not (tmp_path / "ready.npy").exists()
    with pytest.raises(BundleError, match="cannot write the bundle"):
        write_step(second, "project", {"coordinates.npy": tmp_path / "gone.npy"}, command="x")


def test_rows_written_in_parts_are_the_file_that_numpy_writes_and_are_read_in_parts(tmp_path):
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float16)
    np.save(tmp_path / "whole.npy", rows)
    with RowWriter(tmp_path / "parts.npy", rows.shape) as file:
        for part in np.array_split(rows.astype(np.float32), 3):
            file.append(part)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    parts = list(stored_chunks(tmp_path / "parts.npy", 4))
    assert [len(part) for part in parts] == [4, 4, 2] and parts[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(parts), rows.astype(np.float32))


def test_a_table_is_json_that_people_can_read_and_objects_are_no_array():
    assert encode("t.json", {"b": "é", "a": 1}) == '{\n "b": "é",\n "a": 1\n}\n'.encode()
    assert encode("manifest.json", {"b": 2, "a": 1}) == b'{\n "a": 1,\n "b": 2\n}\n'  # whatever order steps ran in
    with pytest.raises(ValueError, match="allow_pickle"):
        encode("t.npy", np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("error", "name"), [(OSError(28, "full"), "here"), (OSError(28, "full", "there"), "there"), (OSError("?"), None)]
)
def test_only_an_error_of_the_disk_without_a_name_gets_one(error, name):
    with pytest.raises(OSError, match=r"full|\?") as caught, naming(Path("here")):
        raise error
    assert caught.value.filename == name


def test_a_folder_is_made_for_what_is_written(tmp_path, bundle):
    with RowWriter(tmp_path / "a" / "b" / "rows.npy", (1, 2)) as file:
        file.append(np.zeros((1, 2)))
    assert np.load(tmp_path / "a" / "b" / "rows.npy").shape == (1, 2)
    tables = {name: Bundle.open(bundle).read_json(name) for name in ("references.json", "queries.json")}
    write_step(tmp_path / "c" / "d", "extract_features", tables, command="x")
    assert (tmp_path / "c" / "d" / "references.json").exists()


def test_rows_that_are_gone_already_hide_no_error(tmp_path):
    def stopping():
        with RowWriter(tmp_path / "rows.npy", (2, 3)) as file:
            file.path.unlink()
            raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        stopping()


def test_rows_that_stopped_coming_leave_no_file(tmp_path):
    def stopping(trouble):
        with RowWriter(tmp_path / "rows.npy", (2, 3)) as file:
            file.append(np.zeros((1, 3)))
            if trouble:
                raise trouble

    with pytest.raises(KeyboardInterrupt):
        stopping(KeyboardInterrupt())
    with pytest.raises(ValueError, match="2 rows were announced"):
        stopping(None)
    assert not list(tmp_path.iterdir())
