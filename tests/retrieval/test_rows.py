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
from aad.retrieval import StoredRows
from aad.retrieval import stored as stored_module
from aad.retrieval.stored import rows_in, widened
from aad.vectors import l2_normalise
from tests.retrieval.invented import halved, rows

D = 6


def values(n: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


@pytest.fixture
def gallery(tmp_path: Path) -> tuple[StoredRows, np.ndarray]:
    """Three files of 40 rows, some of them long, some short, one of zeros; and the rows as they are given out."""
    kept = [values(10, 0.2).astype(np.float16), values(7, 3.0, 1), values(23, 1.0, 2)]
    kept[1][4] = 0
    for i, part in enumerate(kept):
        np.save(tmp_path / f"{i}.npy", part)
    expected = l2_normalise(np.concatenate([part.astype(np.float32) for part in kept]))
    return StoredRows([tmp_path / f"{i}.npy" for i in range(3)]), expected


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of four rows, and of three."""
    for name, n in (("CHUNK_BYTES", 4), ("BLOCK_BYTES", 3), ("PICK_BYTES", 3)):
        monkeypatch.setattr(stored_module, name, 4 * D * n)


def test_pieces_are_large_enough_to_be_worth_a_read_and_small_enough_to_be_held() -> None:
    sizes = (stored_module.CHUNK_BYTES, stored_module.BLOCK_BYTES, stored_module.PICK_BYTES)
    assert [rows_in(size, 768) > least for size, least in zip(sizes, (10_000, 300, 40), strict=True)] == [True] * 3
    assert sizes[0] < 1 << 28


@pytest.mark.usefixtures("small_pieces")
def test_rows_are_the_same_in_whatever_pieces_they_are_read(gallery: tuple[StoredRows, np.ndarray]) -> None:
    stored, expected = gallery
    query, odd = l2_normalise(values(1, seed=3))[0], [*range(3), *range(10, 15), *range(17, 40)]  # numbers in each file
    ids = np.random.default_rng(4).permutation(odd)
    assert np.array_equal(stored[:], expected) and np.array_equal(stored[5:33], expected[5:33])
    assert np.array_equal(stored[ids], expected[ids])
    assert stored.similarities(ids, query) == pytest.approx(expected[ids] @ query, abs=1e-6)
    assert [len(chunk) for _, chunk in stored.chunks()] == [4] * 10
    for wrong in (lambda: stored[::2], lambda: stored[::-1]):
        with pytest.raises(ValueError, match="must have step 1"):
            wrong()
    with pytest.raises(ValueError, match="0 to 39"):
        stored.similarities(np.array([3, 40]), query)


@pytest.mark.usefixtures("small_pieces")
def test_no_more_is_read_at_a_time_than_a_piece(
    gallery: tuple[StoredRows, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, _ = gallery
    runs, picks = [], []
    run, pick = stored_module._OpenFile.rows, stored_module._OpenFile.read_each

    def noted_run(file: Any, first: int, n: int) -> np.ndarray:
        runs.append(n)
        return run(file, first, n)

    def noted_pick(file: Any, places: list[int], n: int) -> bytes:
        picks.append(len(places))
        return pick(file, places, n)

    monkeypatch.setattr(stored_module._OpenFile, "rows", noted_run)
    monkeypatch.setattr(stored_module._OpenFile, "read_each", noted_pick)
    stored[:]
    assert runs == [3, 3, 3, 1, 3, 3, 1, 3, 3, 3, 3, 3, 3, 3, 2]
    stored[np.array([1, 2, 3, 4, 5, 16, 17, 18])]
    assert picks == [3, 2, 1, 2]


@pytest.mark.usefixtures("small_pieces")
def test_files_are_read_through_for_their_sum_and_their_sense(tmp_path: Path) -> None:
    for wrong in ({}, {0: np.nan}, {10: np.inf}, {21: -np.inf}):
        paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
        for path, dtype in zip(paths, (np.float16, np.float32), strict=True):
            content = values(11).astype(dtype)
            for row, value in wrong.items():
                if (row < 11) == (path is paths[0]):
                    content[row % 11, -1] = value
            np.save(path, content)
        digests, finite = StoredRows(paths).read_through()
        assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        assert finite is not bool(wrong)


@pytest.mark.parametrize(
    "read",
    [
        lambda stored: stored[:],
        lambda stored: stored[np.array([2])],
        lambda stored: stored.similarities(np.array([2]), np.zeros(D, np.float32)),
        lambda stored: stored.read_through(),
    ],
)
def test_a_file_changed_in_place_is_refused_however_it_is_read(
    tmp_path: Path, read: Callable[[StoredRows], Any]
) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, values(5))
    stored = StoredRows(path)
    read(stored)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    os.utime(path, ns=(1, 1))  # the write may come within one tick of the clock
    with pytest.raises(OSError, match="was changed in place"):
        read(stored)


def test_a_header_is_believed_only_where_the_file_is_as_long(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, values(3))
    path.write_bytes(path.read_bytes() + b"123456789")
    with pytest.raises(ValueError, match="is 9 bytes longer than its header says"):
        StoredRows(path)
    np.save(path, np.float32(7))
    assert read_header(io.BytesIO(path.read_bytes()), path.stat().st_size).shape == ()

    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_header(Broken(), 9)


def test_every_finite_half_is_widened_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)][None]
    assert widened(halves).tobytes() == halves.astype(np.float32).tobytes()


def test_stored_rows_of_several_files_are_one_gallery(tmp_path: Path) -> None:
    gallery = rows(30, 6)
    parts = [gallery[:10].astype(np.float16), gallery[10:10].astype(np.float16), gallery[10:].astype(np.float32)]
    paths = [tmp_path / f"{i}.npy" for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    stored = StoredRows(paths)
    expected = l2_normalise(np.concatenate([part.astype(np.float32) for part in parts]))
    assert stored.shape == (30, 6)
    assert np.array_equal(stored[:], expected)
    assert np.array_equal(stored[8:13], expected[8:13])
    assert np.array_equal(stored[np.array([29, 3, 11, 3])], expected[[29, 3, 11, 3]])
    assert stored[5:5].shape == stored[np.zeros(0, int)].shape == (0, 6)
    pieces = list(stored.chunks(7))
    assert [start for start, _ in pieces] == [0, 7, 14, 21, 28]
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), expected)


def test_a_system_that_reads_from_no_place_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, ids = halved(tmp_path / "rows.npy", rows(300, 12)), np.array([250, 3, 17])
    before = stored[ids].tobytes(), stored[20:40].tobytes(), stored.similarities(ids, rows(1, 12)[0]).tobytes()
    monkeypatch.delattr(stored_module.os, "pread")  # as on Windows
    assert before == (
        stored[ids].tobytes(),
        stored[20:40].tobytes(),
        stored.similarities(ids, rows(1, 12)[0]).tobytes(),
    )


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
    np.save(path, rows(8, 4))
    stored = StoredRows(path)
    path.write_bytes(path.read_bytes()[:-20])
    for read in (lambda: StoredRows(path), lambda: stored[:], lambda: stored[np.array([7])]):
        with pytest.raises(OSError, match="shorter than its header says"):
            read()
    np.save(tmp_path / "other.npy", rows(8, 5))
    np.save(path, rows(8, 4))
    with pytest.raises(ValueError, match=r"rows of one length, got \[4, 5\]"):
        StoredRows([path, tmp_path / "other.npy"])
    with pytest.raises(ValueError, match="at least one"):
        StoredRows([])


def test_what_numpy_could_not_hold_or_would_unpickle_is_no_row(tmp_path: Path) -> None:
    for described in ({"descr": "<f4", "shape": (-1, 4)}, {"descr": "|O", "shape": (2, 2)}):
        with (tmp_path / "rows.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"fortran_order": False, **described})
        with pytest.raises(ValueError, match=r"not a plain \.npy file of numbers"):
            StoredRows(tmp_path / "rows.npy")


def test_ids_past_the_last_are_refused_and_a_zero_row_resembles_nothing(tmp_path: Path) -> None:
    gallery = rows(5, 4)
    gallery[2] = 0
    stored = halved(tmp_path / "rows.npy", gallery)
    for ids in ([5], [-1]):
        with pytest.raises(ValueError, match="0 to 4"):
            stored[np.array(ids)]
    near = stored.similarities(np.array([2, 4]), gallery[4])
    assert near[0] == 0 and near[1] == pytest.approx(1, abs=1e-3)
