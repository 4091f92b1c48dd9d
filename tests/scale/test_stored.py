"""Rows on disk: what is read, how much at a time, and what is noticed on the way."""

import errno
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad.files import read_header
from aad.scale import stored as stored_module
from aad.scale.stored import StoredRows, widened
from aad.vectors import l2_normalise
from tests.galleries import on_disk, rows

D = 6


def values(n: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


@pytest.fixture(params=[np.float16, np.float32])
def gallery(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[StoredRows, np.ndarray]:
    """40 rows, some of them long, some short, one of zeros; and the rows as they are given out."""
    kept = np.concatenate([values(10, 0.2), values(7, 3.0, 1), values(23, 1.0, 2)]).astype(request.param)
    kept[14] = 0
    np.save(tmp_path / "rows.npy", kept)
    return StoredRows(tmp_path / "rows.npy"), l2_normalise(kept.astype(np.float32))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of four rows, and of three."""
    for name, n in (("CHUNK_BYTES", 4), ("BLOCK_BYTES", 3), ("PICK_BYTES", 3)):
        monkeypatch.setattr(stored_module, name, 4 * D * n)


@pytest.mark.usefixtures("small_pieces")
def test_rows_are_the_same_in_whatever_pieces_they_are_read(
    gallery: tuple[StoredRows, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, expected = gallery
    query, ids = l2_normalise(values(1, seed=3))[0], np.random.default_rng(4).permutation(40)[:33]
    near = expected[ids] @ query

    def compare() -> None:
        assert np.array_equal(stored[:], expected) and np.array_equal(stored[5:33], expected[5:33])
        assert np.array_equal(stored[ids], expected[ids]) and np.array_equal(stored[[3, 3]], expected[[3, 3]])
        assert stored.similarities(ids, query) == pytest.approx(near, abs=1e-6)  # 0 for the row of zeros
        assert stored[5:5].shape == stored[7:3].shape == stored[np.zeros(0, int)].shape == (0, D)

    compare()
    pieces = list(stored.chunks())
    assert [(start, len(piece)) for start, piece in pieces] == [(start, 4) for start in range(0, 40, 4)]
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), expected)
    assert [start for start, _ in stored.chunks(17)] == [0, 17, 34]
    monkeypatch.delattr(stored_module.os, "pread")  # a system that cannot read from a place, as Windows
    compare()
    for wrong in (lambda: stored[::2], lambda: stored[::-1]):
        with pytest.raises(ValueError, match="must have step 1"):
            wrong()
    for ids in ([40], [3, -1]):
        for read in (lambda ids: stored[ids], lambda ids: stored.similarities(ids, query)):
            with pytest.raises(ValueError, match="0 to 39"):
                read(np.array(ids))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_file_is_read_through_for_its_sum_and_its_sense(tmp_path: Path, dtype: type) -> None:
    for wrong in ({}, {0: np.nan}, {10: np.inf}, {21: -np.inf}):
        content = values(22).astype(dtype)
        for row, value in wrong.items():
            content[row, -1] = value
        np.save(tmp_path / "rows.npy", content)
        digest, finite = StoredRows(tmp_path / "rows.npy").read_through()
        assert digest == hashlib.sha256((tmp_path / "rows.npy").read_bytes()).hexdigest()
        assert finite is not bool(wrong)


def test_a_file_changed_in_place_is_refused_however_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, values(5))
    stored = StoredRows(path)
    ways: tuple[Callable[[], Any], ...] = (
        lambda: stored[:],
        lambda: stored[np.array([2])],
        lambda: stored.similarities(np.array([2]), np.zeros(D, np.float32)),
        stored.read_through,
    )
    for read in ways:
        read()
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    os.utime(path, ns=(1, 1))  # the write may come within one tick of the clock
    for read in ways:
        with pytest.raises(OSError, match="was changed in place"):
            read()


def test_every_finite_half_is_widened_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)][None]
    assert widened(halves).tobytes() == halves.astype(np.float32).tobytes()


def test_files_that_hold_no_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    for wrong, got in (
        (np.zeros(4, np.float32), r"\(4,\) float32"),
        (np.zeros((2, 2)), r"\(2, 2\) float64"),
        (np.zeros((3, 2), np.float32, order="F"), r"\(3, 2\) float32 by columns"),
    ):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=rf"must hold an \(n, d\) array of float16 or float32 by rows, got {got}$"):
            StoredRows(path)
    path.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"not a plain \.npy file"):
        StoredRows(path)
    for described in ({"descr": "<f4", "shape": (-1, 4)}, {"descr": "|O", "shape": (2, 2)}):
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"fortran_order": False, **described})
        with pytest.raises(ValueError, match=r"not a plain \.npy file of numbers"):
            StoredRows(path)


def test_a_header_is_believed_only_where_the_file_is_as_long(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    stored = on_disk(tmp_path, rows(8, 4))
    path.write_bytes(path.read_bytes()[:-20])
    for read in (lambda: StoredRows(path), lambda: stored[:], lambda: stored[np.array([7])]):
        with pytest.raises(OSError, match="shorter than its header says"):
            read()
    np.save(path, values(3))
    path.write_bytes(path.read_bytes() + b"123456789")
    with pytest.raises(ValueError, match="is 9 bytes longer than its header says"):
        StoredRows(path)
    np.save(path, np.float32(7))
    assert read_header(io.BytesIO(path.read_bytes()), path.stat().st_size)[0] == ()

    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_header(Broken(), 9)
