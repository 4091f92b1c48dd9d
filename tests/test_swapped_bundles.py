"""An open bundle answers from what it opened, whatever is written over it; an index is of its own references."""

import gc
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from aad import Attributor
from aad.bundle import Bundle
from aad.scale.building import build_index
from aad.scale.stored import StoredRows
from aad.spaces import SPACES
from precompute.common.steps import write_step
from tests.galleries import wide_bundle
from tests.spoilt_bundles import NUMBER, M, as_scanned, refused, signed, told


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = wide_bundle(tmp_path_factory.mktemp("large") / "bundle", 300, M)
    queries = np.load(folder / "queries_backbone.npy").astype(np.float32)
    files, sections = {}, {}
    for space in SPACES:
        name = f"references_{space}.npy"
        arrays, settings = build_index(StoredRows(folder / name), queries, method="compressed", target=0.1)
        files[f"index_{space}.safetensors"] = arrays
        sections[space] = settings | {"references": Bundle.open(folder).manifest["files"][name]["sha256"]}
    write_step(folder, "build_index", files, command="x", sections={"retrieval": sections})
    return folder


def test_an_index_is_of_these_references(compressed: Path, tmp_path: Path) -> None:
    folder, name = Path(shutil.copytree(compressed, tmp_path / "bundle")), "index_aligned.safetensors"
    assert Attributor.load(folder).attribute_query(0, 3)["aligned"].matches[0].reference_id == 0
    good, right = (folder / "manifest.json").read_bytes(), (folder / name).read_bytes()
    for key, values in (("references", ["0" * 64]), *((k, [*NUMBER, told, -1, "x"]) for k in ("method", "rerank"))):
        for value in values:
            (folder / "manifest.json").write_bytes(good)
            told(folder, "retrieval", "aligned", key, value=value)
            refused(folder, name, "index of other references" if key == "references" else "")
    (folder / "manifest.json").write_bytes(good)
    arrays = load(right)
    wrong = [{k: v for k, v in arrays.items() if k != key} for key in arrays]
    wrong += [arrays | {key: value[:-1]} for key, value in arrays.items() if key != "sample_ids"]
    wrong += [arrays | {key: value.astype(np.float64)} for key, value in arrays.items()]
    wrong += [arrays | {key: np.full_like(arrays[key], np.nan)} for key in ("rotation", "codebook")]
    wrong += [arrays | {"sample_ids": np.array(ids)} for ids in ([300], [-1], [1, 1])]
    for content in [*(save(one) for one in wrong), b"", right[:-5], pickle.dumps([1])]:
        signed(folder, name, content)
        refused(folder, name)


def test_an_open_bundle_answers_from_what_it_opened_while_another_is_written_over_it(
    compressed: Path, tmp_path: Path
) -> None:
    scanned = Path(shutil.copytree(compressed, tmp_path / "scanned"))
    as_scanned(scanned)
    for folder in (Path(shutil.copytree(compressed, tmp_path / "compressed")), scanned):
        opened = Attributor.load(folder)
        asked = [opened.attribute_query(i, 7).to_dict() for i in range(M)]
        stamp, near = opened.stamp, opened.attribute_reference(5, 4).to_dict()
        other = wide_bundle(tmp_path / f"other_{folder.name}", 300, M, noise=0.9)
        for name in (f"references_{space}.npy" for space in SPACES):  # a step again, and a copy that deletes first
            rows = np.load(other / name)[::-1].astype(np.float16)
            write_step(folder, "train_heads", {name: rows}, command="x")
            assert [opened.attribute_query(i, 7).to_dict() for i in range(M)] == asked
        shutil.rmtree(folder)
        shutil.copytree(other, folder)
        assert [opened.attribute_query(i, 7).to_dict() for i in range(M)] == asked
        assert opened.attribute_reference(5, 4).to_dict() == near and opened.stamp == stamp
        now = Attributor.load(folder)
        assert now.stamp["bundle"] != stamp["bundle"] and now.attribute_query(0, 7).to_dict() != asked[0]


def test_rows_that_are_changed_in_place_are_refused_and_never_mixed(compressed: Path, tmp_path: Path) -> None:
    name = "references_backbone.npy"
    for method in ("scan", "compressed"):
        folder = Path(shutil.copytree(compressed, tmp_path / method))
        if method == "scan":
            as_scanned(folder)
        opened = Attributor.load(folder)
        opened.attribute_query(0, 5)
        rows = np.load(folder / name)
        with (folder / name).open("r+b") as file:
            file.seek(-rows[100:].nbytes, os.SEEK_END)
            file.write(np.ascontiguousarray(rows[100:][::-1]).tobytes())
        os.utime(folder / name, ns=(0, 12345))  # as if a second later
        for ask in (opened.attribute_query, opened.attribute_reference):
            with pytest.raises(
                OSError, match=r"references_backbone\.npy was changed in place .* load the bundle again"
            ):
                ask(7 % M, 3)
        refused(folder, name, "is damaged")


def test_rows_held_open_are_let_go(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((4, 3), np.float32))
    descriptors = Path("/proc/self/fd")
    gc.collect()  # of what earlier tests left
    before = len(list(descriptors.iterdir())) if descriptors.exists() else None
    for _ in range(50):
        assert StoredRows(tmp_path / "rows.npy")[:].shape == (4, 3)
    (tmp_path / "rows.npy").write_bytes((tmp_path / "rows.npy").read_bytes() + b"12")
    with pytest.raises(ValueError, match="longer than its header says"):
        StoredRows(tmp_path / "rows.npy")
    gc.collect()
    assert before is None or len(list(descriptors.iterdir())) == before
