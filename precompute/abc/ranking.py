"""Rows of a block that rank before each exemplar: screened by a float32 matrix product, decided in float64 where it is close."""

from itertools import pairwise

import numpy as np


def exact_similarities(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n, k) unit rows and a (k,) unit query, all float32: (n,) cosines, correctly rounded to float32.

    Products of float32 are exact in float64, and the error of their sum is far below what float32 resolves.
    """
    return (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)


def screening_error(k: int) -> float:
    """Greatest possible error of a float32 dot product of two unit rows with k entries, in whatever order it is summed."""
    return (
        1.05 * (k + 4) * 2.0**-24
    )  # k roundings of at most half a unit in the last place, then those of the comparison


def rows_ahead(
    similarities: np.ndarray, rows: np.ndarray, queries: np.ndarray, own: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Rows with at least the similarity of each exemplar; equal ones count, because they come before the exemplars.

    One query at a time, on the rows above its lowest exemplar: few where retrieval works.

    Args:
        similarities: (q, n) float32, ``queries @ rows.T`` within ``screening_error``.
        rows: (n, k) float32 unit rows.
        queries: (q, k) float32 unit rows.
        own: flat float32, each query's similarities to its exemplars.
        bounds: (q + 1,) which of ``own`` belong to which query.

    Returns:
        int64, like ``own``.
    """
    error = np.float32(screening_error(rows.shape[1]))
    counts = np.zeros(len(own), np.int64)
    for i, (start, stop) in enumerate(pairwise(bounds)):
        limits = own[start:stop]
        low, high = limits - error, limits + error
        candidates = np.flatnonzero(similarities[i] >= low.min())
        values = similarities[i][candidates]
        is_close = np.zeros(len(values), bool)
        for j in range(len(limits)):
            counts[start + j] = surely = np.count_nonzero(values > high[j])
            if np.count_nonzero(values >= low[j]) > surely:
                is_close |= (values >= low[j]) & (values <= high[j])
        if is_close.any():
            screened = values[is_close]
            exact = exact_similarities(rows[candidates[is_close]], queries[i])
            undecided = (screened >= low[:, None]) & (screened <= high[:, None])
            counts[start:stop] += (undecided & (exact >= limits[:, None])).sum(1)
    return counts
