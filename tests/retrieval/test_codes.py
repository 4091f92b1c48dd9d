"""Rows as codes, and the scan of codes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad.retrieval import (
    ScanIndex,
    StoredRows,
    build_index,
    open_index,
)
from aad.retrieval import codes as codes_module
from aad.retrieval.codes import Codec, FlatCodes, ListedCodes, train_codec
from tests.retrieval.invented import Built, N, grouped, on_disk


def test_codes_are_of_rows_around_their_middle(stored: StoredRows) -> None:
    codec = train_codec(stored[:], 0)
    assert np.abs(codec.rotate(stored[:]).mean(0)).max() < 1e-5


def test_every_piece_of_a_code_has_as_much_to_say() -> None:
    d, n_pieces = 36, 12
    sample = np.random.default_rng(5).normal(size=(20_000, d)) * 0.8 ** np.arange(d)
    codec = train_codec(sample.astype(np.float32), 0)
    spreads = np.log(np.var(sample @ codec.rotation, axis=0)).reshape(n_pieces, 3).sum(1)
    assert np.ptp(spreads) < 5  # axes dealt in one direction only: 14.7


def test_axes_are_the_principal_ones_around_the_middle_and_the_least_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codes_module, "N_PIECES", 4)
    turned, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(36, 36)))
    variances = 0.8 ** np.arange(36)
    sample = (np.random.default_rng(5).normal(size=(20_000, 36)) * np.sqrt(variances)) @ turned.T + 3 * turned[:, 0]
    codec = train_codec(sample.astype(np.float32), 0)
    found = np.cov(sample @ codec.rotation, rowvar=False)
    assert np.sort(np.diag(found))[::-1] == pytest.approx(variances[:12], rel=0.05)
    assert np.abs(found - np.diag(np.diag(found))).max() < 1e-4
    plain = Codec(codec.rotation, codec.codebook)  # as it is opened: where the middle is moves no rank
    assert plain.rotate(sample[:9]) - codec.centre == pytest.approx(codec.rotate(sample[:9]), abs=1e-5)


def test_codes_in_cells_that_are_all_scanned_are_the_same_codes(in_cells: Built, queries: np.ndarray) -> None:
    arrays, _ = in_cells
    codec = Codec(arrays["rotation"], arrays["codebook"])
    flat = FlatCodes(codec, arrays["codes"]).candidates(queries, 500)
    n_cells = len(arrays["centroids"])
    listed = ListedCodes(codec, arrays["codes"], arrays["centroids"], arrays["cells"], n_cells)
    found = listed.candidates(queries, 500)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(flat, found, strict=True)]) > 0.99  # but for ties at the end
    everything = listed.candidates(queries[:1], N)
    assert sorted(everything[0].tolist()) == list(range(N))


def test_the_fewest_pieces_are_two_and_they_are_even(tmp_path: Path) -> None:
    gallery = grouped(40, 6)
    stored = on_disk(tmp_path, gallery)
    arrays, settings = build_index(stored, gallery[:3], method="compressed")
    assert len(arrays["codebook"]) == 2
    assert np.array_equal(
        open_index(stored, arrays, settings).search(gallery, 4).ids, ScanIndex(stored).search(gallery, 4).ids
    )
    for pieces in (0, 1, 3):
        fitting = {
            "rotation": np.ones((6, 3 * pieces), np.float32),
            "codebook": np.ones((pieces, 16, 3), np.float32),
            "codes": np.zeros((40, pieces // 2), np.uint8),
        }
        with pytest.raises(
            ValueError, match=f"codebook of the index must be of an even number of pieces, got {pieces}"
        ):
            open_index(stored, arrays | fitting, settings)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rotation", lambda a: a[:-1]),
        ("rotation", lambda a: np.where(np.arange(a.shape[1]) == 1, np.nan, a).astype(np.float32)),
        ("codebook", lambda a: a.astype(np.float64)),
        ("codebook", lambda a: a[:-1]),
        ("codebook", lambda a: a[0, 0, 0]),
        ("codes", lambda a: a[:-1]),
        ("codes", lambda a: a.astype(np.int16)),
        ("sample_ids", lambda a: a + N),
        ("sample_ids", lambda a: np.append(a[:-1], N)),
        ("sample_ids", lambda a: np.append(a[:-1], -1)),
        ("sample_ids", lambda a: a[[0, 0, 1]]),
        ("centroids", lambda a: a[:, :-1]),
        ("cells", lambda a: a - 1),
        ("cells", lambda a: a[:9]),
    ],
)
def test_stored_arrays_that_do_not_fit_are_refused(stored: StoredRows, in_cells: Built, name: str, change: Any) -> None:
    arrays, settings = in_cells
    with pytest.raises(ValueError, match=r"of the index must be|of a sample must be"):
        open_index(stored, arrays | {name: change(arrays[name])}, settings)
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_index(stored, {key: array for key, array in arrays.items() if key != name}, settings)
