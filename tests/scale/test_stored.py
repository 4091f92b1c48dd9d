"""Rows on disk: what is read, how much at a time, and what is noticed on the way."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from aad.scale import stored as stored_module
from aad.scale.stored import StoredRows
from aad.vectors import l2_normalise

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


@pytest.fixture(params=["read", "mapped"])
def small_pieces(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pieces of four rows, and of three."""
    monkeypatch.setattr(stored_module, "N_MAPPED", 3 if request.param == "mapped" else 100)
    for name, n in (("CHUNK_BYTES", 4), ("BLOCK_BYTES", 3), ("PICK_BYTES", 3)):
        monkeypatch.setattr(stored_module, name, 4 * D * n)


@pytest.mark.usefixtures("small_pieces")
def test_rows_are_the_same_in_whatever_pieces_they_are_read(
    gallery: tuple[StoredRows, np.ndarray],
) -> None:
    stored, expected = gallery
    query, ids = l2_normalise(values(1, seed=3))[0], np.random.default_rng(4).permutation(40)[:33]
    near = expected[ids] @ query

    assert np.array_equal(stored[:], expected) and np.array_equal(stored[5:33], expected[5:33])
    assert np.array_equal(stored[ids], expected[ids]) and np.array_equal(stored[[3, 3]], expected[[3, 3]])
    assert stored.similarities(ids, query) == pytest.approx(near, abs=1e-6)  # 0 for the row of zeros
    assert stored[5:5].shape == stored[7:3].shape == stored[np.zeros(0, int)].shape == (0, D)
    pieces = list(stored.chunks())
    assert [(start, len(piece)) for start, piece in pieces] == [(start, 4) for start in range(0, 40, 4)]
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), expected)
    assert np.array_equal(stored[::-2], expected[::-2])
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
