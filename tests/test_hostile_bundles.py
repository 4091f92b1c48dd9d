"""Bundles that someone spoilt on purpose, checksums and all: each is refused in one line that names the file and the remedy."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from aad import Attributor
from aad.bundle import WRITTEN_BY, Bundle
from precompute.common.steps import write_step
from tests.galleries import D
from tests.spoilt_bundles import (
    ARRAYS,
    DEEP,
    ROWS,
    TABLES,
    Bomb,
    N,
    as_scanned,
    header,
    lying,
    npy,
    refused,
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


def test_the_good_one_loads(bundle: Path) -> None:
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0
    (bundle / ".heads.safetensors.123.partial").write_bytes(b"half")  # of a step that was killed: nobody reads it
    assert len(Attributor.load(bundle).references) == N
    as_scanned(bundle)
    assert Attributor.load(bundle).attribute_query(0, 5)["aligned"].matches[0].reference_id == 0


@pytest.mark.parametrize("name", [*ARRAYS, *TABLES, "heads.safetensors"])
def test_every_file_is_compared_with_its_sha256(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[-3] ^= 1
    (bundle / name).write_bytes(data)
    assert "is damaged: its sha256 is not the manifest's" in refused(bundle, name)
    (bundle / name).unlink()
    assert "cannot be read" in refused(bundle, name)
    (bundle / name).mkdir()
    assert "cannot be read" in refused(bundle, name)
    (bundle / name).rmdir()
    os.mkfifo(bundle / name)  # would be waited for, for ever
    assert "no plain file" in refused(bundle, name)


def wrong_arrays(shape: tuple[int, ...]) -> Iterator[tuple[str, bytes, str]]:
    right = np.ones(shape, np.float32)
    for kind in (np.float64, np.int64, np.bool_, np.complex64, ">f4", "S4", "U4", "M8[s]"):
        yield f"of {kind}", npy(right.astype(kind)), "expected float16 or float32"
    yield "of records", npy(np.zeros(shape, [("a", "f4")])), "expected float16 or float32"
    for value in (np.nan, np.inf):
        spoilt = right.astype(np.float16)
        spoilt[(-1,) * len(shape)] = value
        yield f"with {value}", npy(spoilt), "not finite"
    for other in ((shape[0] + 1, *shape[1:]), (shape[0] - 1, *shape[1:]), shape[:-1], (*shape, 1), (), (0,)):
        yield f"of shape {other}", npy(np.ones(other, np.float32)), f"has shape {other}, expected"
    yield "of objects", npy(np.array([{"a": 1}], dtype=object)), "not a plain array"
    yield "of no array", b"no array", "not a plain array"
    yield "of nothing", b"", "not a plain array"
    yield "cut short", npy(right)[:-9], "header says"
    yield "with more behind it", npy(right) + npy(right), "longer than its header says"
    yield "of 4 TB", lying((10**12,)), "header says"
    yield "of more than there are numbers", lying((2**62, 2**62)), "header says"
    yield "of less than nothing", lying((-1, -4)), "not a plain array"
    file = io.BytesIO()
    np.savez(file, right)
    yield "zipped", file.getvalue(), "not a plain array"
    for text in (b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': '<f4'}", b"__import__('os').abort()", b"\xff" * 20):
        yield f"headed {text[:6]!r}", header(text), "not a plain array"


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_must_have_its_type_its_shape_and_finite_values(bundle: Path, name: str) -> None:
    manifest = (bundle / "manifest.json").read_bytes()
    for label, content, why in wrong_arrays(ARRAYS[name]):
        (bundle / "manifest.json").write_bytes(manifest)
        signed(bundle, name, content)
        text = refused(bundle, name)
        assert why in text or "header says" in text, (label, text)
        if name in ROWS:
            as_scanned(bundle)
            refused(bundle, name)


def test_an_array_by_columns_is_the_same_in_memory_and_refused_on_disk(bundle: Path) -> None:
    name = "references_aligned.npy"
    right = np.load(bundle / name)
    signed(bundle, name, npy(np.asfortranarray(right)))
    np.testing.assert_array_equal(Bundle.open(bundle).read_array(name, right.shape), right.astype(np.float32))
    as_scanned(bundle)
    assert "is stored by columns, expected by rows" in refused(bundle, name)


def test_no_pickle_is_opened_under_any_name(bundle: Path, tmp_path: Path) -> None:
    manifest, mark = (bundle / "manifest.json").read_bytes(), tmp_path / "exploded"
    bombs = (pickle.dumps(Bomb(mark)), npy(np.array([Bomb(mark)], dtype=object)))
    for name in [*ARRAYS, *TABLES, "heads.safetensors"]:
        before = (bundle / name).read_bytes()
        for bomb in bombs:
            signed(bundle, name, bomb)
            refused(bundle, name)
            if name in ROWS:
                as_scanned(bundle)
                refused(bundle, name)
            (bundle / "manifest.json").write_bytes(manifest)
        (bundle / name).write_bytes(before)
    assert not mark.exists()
    pickle.loads(bombs[0])  # it does explode
    assert mark.exists()


def test_heads_must_be_whole_and_nothing_else(bundle: Path) -> None:
    name = "heads.safetensors"
    tensors = load((bundle / name).read_bytes())
    half = {key: value[: len(value) // 2] for key, value in tensors.items() if key.endswith("weight")}
    wrong = {
        "lacks aligned.real.centre": {k: v for k, v in tensors.items() if k != "aligned.real.centre"},
        "lacks aligned.real.weight": {k: v for k, v in tensors.items() if k != "aligned.weight"},
        "lacks": {},
        "'other' among them": tensors | {"other": np.ones(3, np.float32)},
        "'aligned.real.weight' among them": tensors | {"aligned.real.weight": tensors["aligned.weight"]},
        "aligned.weight must be finite": tensors | {"aligned.weight": np.full_like(tensors["aligned.weight"], np.inf)},
        "aligned.synthetic.centre must be finite": tensors
        | {"aligned.synthetic.centre": np.full(D, np.nan, np.float32)},
        "aligned.real.centre must be finite and of shape (0,)": tensors
        | {"aligned.real.centre": np.ones((1, D), np.float32)},
        "aligned.weight must be finite and of shape (0, 64), got ()": tensors
        | {"aligned.weight": np.array(1, np.float16)},
        "must be float16 or float32, got float64": tensors | {"aligned.weight": np.eye(D)},
        "must be float16 or float32, got int8": tensors | {"aligned.weight": np.eye(D, dtype=np.int8)},
        "gives 32 dimensions in aligned": tensors | half,
        "is for 63 features": {k: np.ascontiguousarray(v[..., :63]) for k, v in tensors.items()},
    }
    for why, content in wrong.items():
        signed(bundle, name, save(content))
        assert why in refused(bundle, name)
    right = save(tensors)
    size = (100).to_bytes(8, "little")
    for data in (b"", right[:100], right + b"more", DEEP, size + b"{" * 100, (2**60).to_bytes(8, "little") + b"{}"):
        signed(bundle, name, data)
        assert "no safetensors file" in refused(bundle, name)
    told_by_it = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    signed(bundle, name, len(told_by_it).to_bytes(8, "little") + told_by_it + bytes(2))
    refused(bundle, name)


def test_a_half_written_bundle_names_what_is_missing(bundle: Path) -> None:
    good = (bundle / "manifest.json").read_bytes()
    for name in [*ARRAYS, *TABLES, "heads.safetensors"]:
        told(bundle, "files", name, value=told)  # the file is there, the manifest does not know it yet
        assert "has not been made yet" in refused(bundle, name)
        (bundle / "manifest.json").write_bytes(good)
    (bundle / "manifest.json").rename(bundle / ".manifest.json.7.partial")
    refused(bundle, "", lambda folder: Attributor.load(folder))


def test_rows_of_two_tables_cannot_be_swapped_alone(bundle: Path) -> None:
    """The order of entries and of rows is one: each file's sha256 is in the manifest."""
    for name in TABLES:
        entries = json.loads((bundle / name).read_bytes())
        before = (bundle / name).read_bytes()
        (bundle / name).write_text(
            json.dumps([entries[1], entries[0], *entries[2:]], indent=1, ensure_ascii=False) + "\n"
        )
        assert "sha256" in refused(bundle, name)
        (bundle / name).write_bytes(before)


def test_a_step_of_this_version_writes_into_no_bundle_of_a_newer_one(bundle: Path) -> None:
    told(bundle, "files", "thumbnails.bin", value={"sha256": "0" * 64, "bytes": 1})
    assert len(Attributor.load(bundle).references) == N  # what is not known is not read
    text = refused(bundle, "manifest.json", lambda folder: write_step(folder, "project", {}, command="x"))
    assert "'thumbnails.bin', which this version does not know" in text and "thumbnails.bin" not in WRITTEN_BY
