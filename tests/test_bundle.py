"""The bundle on disk: what is damaged, missing, hostile or half new is refused in one line that names the file and the remedy."""

import json
import pickle
import re
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from aad import Attributor, BundleError
from aad.bundle import DEFAULT_BUNDLE, Bundle, remedy, safe_paths
from aad.scale.stored import StoredRows
from aad.schema import CONTENTS
from precompute.common.steps import write_step
from tests.factory import N_REFERENCES, tiny_bundle
from tests.spoilt_bundles import (
    FAULTS,
    MANIFEST,
    MEASURED,
    ROWS,
    TABLES,
    Bomb,
    Fault,
    N,
    as_scanned,
    linked,
    npy,
    refused,
    rewritten,
    signed,
    small_bundle,
    told,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_spoilt_is_refused_with_the_file_and_the_remedy(bundle: Path, fault: Fault) -> None:
    fault.spoil(bundle)
    text = refused(bundle, "" if fault.how == "missing" and fault.file == MANIFEST else fault.file)
    assert re.search(fault.says, text.partition(fault.file)[2]), text
    if fault.file != MANIFEST:
        step = CONTENTS[fault.file].step.replace("extract_features", "run --help")
        assert f"rebuild it with: python -m precompute.{step}" in text
    assert not (bundle.parent / "exploded").exists()


def test_the_bombs_among_the_faults_do_explode(tmp_path: Path) -> None:
    assert sum("pickle" in fault.how for fault in FAULTS) >= 8
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


def test_the_good_one_loads(bundle: Path) -> None:
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0
    (bundle / ".heads.safetensors.123.partial").write_bytes(b"half")  # of a step that was killed: nobody reads it
    assert len(Attributor.load(bundle).references) == N
    as_scanned(bundle)
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0


def test_an_array_by_columns_is_the_same_in_memory_and_refused_on_disk(bundle: Path) -> None:
    name = "references_aligned.npy"
    right = np.load(bundle / name)
    signed(bundle, name, npy(np.asfortranarray(right)))
    np.testing.assert_array_equal(Bundle.open(bundle).read_array(name, right.shape), right.astype(np.float32))
    as_scanned(bundle)
    assert re.search(
        r"must hold an \(n, d\) array of float16 or float32 by rows, got .* by columns", refused(bundle, name)
    )


def test_mapped_rows_are_those_that_are_read(bundle: Path) -> None:
    for name in ROWS:
        read = Bundle.open(bundle).read_array(name, (N, None))
        mapped = Bundle.open(bundle).map_rows(name, (N, None))
        np.testing.assert_array_equal(mapped[:], read / np.linalg.norm(read, axis=1, keepdims=True))


def test_rows_that_change_while_they_are_checked_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(_: StoredRows) -> None:
        raise OSError("was changed in place")

    monkeypatch.setattr(StoredRows, "read_through", changed)
    with pytest.raises(BundleError, match=r"references_aligned.*cannot be read \(was changed in place\)"):
        Bundle.open(bundle).map_rows("references_aligned.npy", (None, None))


@pytest.mark.parametrize("name", TABLES)
def test_a_link_among_the_pictures_that_stays_inside_is_followed(bundle: Path, name: str) -> None:
    for path, target in (("way_in.png", "other.png"), ("way/x.png", "below")):
        linked(bundle, name, path, target)
        Attributor.load(bundle)
    rewritten(bundle, name, lambda old: [entry | {"path": f"{i}.png"} for i, entry in enumerate(old)])
    (bundle / "pictures" / "nobody_names_it.png").symlink_to("/etc/passwd")
    Attributor.load(bundle)


def test_a_damaged_section_is_mended_by_the_step_that_writes_it(bundle: Path) -> None:
    calibration = json.loads((bundle / MANIFEST).read_bytes())["calibration"]
    told(bundle, "calibration", value="spoilt")
    assert "precompute.calibrate --bundle" in refused(bundle, MANIFEST)
    write_step(bundle, "calibrate", {}, command="x", sections={"calibration": calibration})
    assert "has not been made yet" in refused(bundle, "coordinates.npy")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../b.png", "", 3])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BundleError, match=r"must be relative and stay inside|must be a text, got int"):
        safe_paths(tmp_path, ["a.png", path])


def test_a_refusal_is_one_line_whatever_it_quotes(bundle: Path) -> None:
    assert "one two three;" in str(Bundle.open(bundle).refusal("x.json", "one\n  two\tthree"))


@pytest.mark.parametrize("place", ["aad/0123", "models--me--mine/snapshots/0123", "models--me--mine/0123"])
def test_only_what_came_from_the_hub_is_loaded_from_there_again(tmp_path: Path, place: str) -> None:
    assert remedy(tmp_path / place, "project").startswith("rebuild it with: python -m precompute.project")
    own = tmp_path / "models--me--mine"
    assert remedy(own / "aad" / "0123", "project") == f"it came from the hub: delete {own} and load it again"


def test_a_bundle_can_be_moved_with_its_pictures(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    shutil.move(tmp_path / "pictures", tmp_path / "elsewhere" / "pictures")
    shutil.move(bundle, tmp_path / "elsewhere" / "bundle")
    assert Attributor.load(tmp_path / "elsewhere" / "bundle").references[3].path.exists()


def test_the_shipped_bundle_is_of_this_format_and_stays_as_it_was_opened() -> None:
    shipped = Bundle.open()
    assert shipped.folder == DEFAULT_BUNDLE and shipped.has(MANIFEST) is False and shipped.has("references.json")
    assert set(shipped.manifest["files"]) <= set(CONTENTS) and "theory.json" in CONTENTS
    with pytest.raises(FrozenInstanceError):
        shipped.folder = DEFAULT_BUNDLE.parent  # type: ignore[misc]
    assert not hasattr(shipped, "__dict__")
    text = (DEFAULT_BUNDLE / MANIFEST).read_text()
    assert "/home" not in text and "/root" not in text and "/tmp" not in text, "it names a machine"


# What steps write


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny")


def test_rerunning_a_step_drops_what_later_steps_made(tiny: Path) -> None:
    stored = Bundle.open(tiny)
    write_step(tiny, "train_heads", {"heads.safetensors": stored.read_tensors("heads.safetensors")}, command="again")
    manifest = Bundle.open(tiny).manifest
    assert "coordinates.npy" not in manifest["files"] and "calibration" not in manifest
    assert "project" not in manifest["steps"]
    assert "references_backbone.npy" in manifest["files"] and manifest["name"] == "tiny"
    assert "has not been made yet" in refused(tiny, "references_aligned.npy")


def test_a_step_forgets_a_file_and_a_section_that_it_no_longer_writes(tiny: Path) -> None:
    write_step(tiny, "project", {}, command="again")
    assert "coordinates.npy" not in Bundle.open(tiny).manifest["files"]
    assert "neighbour_preservation" not in Bundle.open(tiny).manifest


def test_a_step_of_this_version_writes_into_no_bundle_of_a_newer_one(bundle: Path) -> None:
    told(bundle, "files", "thumbnails.bin", value={"sha256": "0" * 64, "bytes": 1})
    assert len(Attributor.load(bundle).references) == N  # what is not known is not read
    text = refused(bundle, MANIFEST, lambda folder: write_step(folder, "project", {}, command="x"))
    assert "'thumbnails.bin', which this version does not know" in text


def test_a_full_disk_is_reported_and_loses_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_step(tiny, "project", {"coordinates.npy": np.zeros((3, 10, 2))}, command="x")
    assert {path.name: path.read_bytes() for path in tiny.iterdir()} == before


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_a_finished_file_is_moved_into_place_and_counts_as_its_content(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    places = np.load(first / "coordinates.npy")
    for folder, content in ((first, places), (second, tmp_path / "ready.npy")):
        np.save(tmp_path / "ready.npy", places)
        write_step(folder, "project", {"coordinates.npy": content}, command="x")
    assert (first / "coordinates.npy").read_bytes() == (second / "coordinates.npy").read_bytes()
    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()
    assert not (tmp_path / "ready.npy").exists()
    with pytest.raises(BundleError, match="cannot write the bundle"):
        write_step(second, "project", {"coordinates.npy": tmp_path / "gone.npy"}, command="x")


def test_a_folder_is_made_for_what_is_written(tmp_path: Path, tiny: Path) -> None:
    tables = {name: Bundle.open(tiny).read_json(name) for name in TABLES}
    write_step(tmp_path / "c" / "d", "extract_features", tables, command="x")
    assert len(Bundle.open(tmp_path / "c" / "d").read_table("references.json")) == N_REFERENCES


@pytest.mark.parametrize("name", MEASURED)
def test_the_shipped_measurements_are_read_as_they_are(name: str) -> None:
    assert Bundle.open().read_table(name) == Bundle.open().read_json(name)
