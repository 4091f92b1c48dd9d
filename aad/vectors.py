"""Rows of numbers as every part of this package keeps them: float32 in memory, of unit length where cosines are taken."""

import numpy as np

FLOATS = (np.dtype(np.float16), np.dtype(np.float32))  # the kinds a bundle may hold
CHUNK = 4096  # rows in float64 at a time: 130 MB of 4,096 dimensions


def l2_normalise(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length as float32; an all-zero row stays zero, so that it resembles nothing.

    >>> l2_normalise(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    rows = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def covariance(rows: np.ndarray) -> np.ndarray:
    """Covariance of (..., d) rows about their common mean, (d, d) float64, divided by their number."""
    flat = rows.reshape(-1, rows.shape[-1])
    mean, scatter = flat.mean(0, dtype=np.float64), np.zeros((flat.shape[1], flat.shape[1]))
    for start in range(0, len(flat), CHUNK):
        centred = flat[start : start + CHUNK] - mean
        scatter += centred.T @ centred
    return scatter / len(flat)
