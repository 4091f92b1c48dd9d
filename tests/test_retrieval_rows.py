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

from aad.backbones import l2_normalise
from aad.retrieval import StoredRows
from aad.retrieval import stored as stored_module
from aad.retrieval.stored import read_header, rows_in

D = 6


def values(n: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


@pytest.fixture
def gallery(tmp_path: Path) -> tuple[StoredRows, np.ndarray]:
    """Three files of 40 rows, some of them long, some short, one empty; and the rows as they are given out."""
    kept = [values(10, 0.2).astype(np.float16), values(7, 3.0, 1), values(23, 1.0, 2)]
    kept[1][4] = 0
    for i, part in enumerate(kept):
        np.save(tmp_path / f"{i}.npy", part)
    expected = l2_normalise(np.concatenate([part.astype(np.float32) for part in kept]))
    return StoredRows([tmp_path / f"{i}.npy" for i in range(3)]), expected


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of four, three and two rows."""
    for name, n in (("CHUNK_BYTES", 4), ("BLOCK_BYTES", 3), ("PICK_BYTES", 2)):
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
    rows, read_each = stored_module._OpenFile.rows, stored_module._OpenFile.read_each
    monkeypatch.setattr(
        stored_module._OpenFile, "rows", lambda file, first, n: (runs.append(n), rows(file, first, n))[1]
    )
    monkeypatch.setattr(
        stored_module._OpenFile, "read_each", lambda file, at, n: (picks.append(len(at)), read_each(file, at, n))[1]
    )
    stored[:]
    assert runs == [3, 3, 3, 1, 3, 3, 1, 3, 3, 3, 3, 3, 3, 3, 2]
    stored[np.array([1, 2, 3, 16, 17, 18])]
    assert picks == [2, 1, 1, 2]


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


def test_a_refusal_tells_whether_the_order_was_wrong(tmp_path: Path) -> None:
    for content, told in (
        (np.zeros((3, 2), np.float32, order="F"), r"\(3, 2\) float32 by columns$"),
        (np.zeros(4), "float64$"),
    ):
        np.save(tmp_path / "rows.npy", content)
        with pytest.raises(ValueError, match=f"by rows, got .*{told}"):
            StoredRows(tmp_path / "rows.npy")


def test_a_header_is_believed_only_where_the_file_is_as_long(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, values(3))
    sound = path.read_bytes()
    path.write_bytes(sound + b"123456789")
    with pytest.raises(ValueError, match="is 9 bytes longer than its header says"):
        StoredRows(path)
    path.write_bytes(sound[:-1])
    with pytest.raises(OSError, match="is shorter than its header says"):
        StoredRows(path)
    np.save(path, np.float32(7))
    assert read_header(io.BytesIO(path.read_bytes()), path.stat().st_size).shape == ()

    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_header(Broken(), 9)
