"""Rows of a block that rank before each exemplar: screened by a float32 matrix product, decided in float64 where it is close."""

from itertools import pairwise

import numpy as np
import torch

PAIRS = 1 << 14  # decided at a time on a GPU: 200 MB with 768 dimensions


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
    similarities: torch.Tensor, rows: torch.Tensor, queries: torch.Tensor, own: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Rows with at least the similarity of each exemplar; equal ones count, because they come before the exemplars.

    Args:
        similarities: (q, n) float32, ``queries @ rows.T`` within ``screening_error``.
        rows: (n, k) float32 unit rows on the same device.
        queries: (q, k) float32 unit rows on the same device.
        own: flat float32, each query's similarities to its exemplars.
        bounds: (q + 1,) which of ``own`` belong to which query.

    Returns:
        int64, like ``own``.
    """
    if similarities.device.type == "cpu":
        return _count_on_cpu(similarities.numpy(), rows.numpy(), queries.numpy(), own, bounds)
    return _count_on_device(similarities, rows, queries, own, bounds)


def _count_on_cpu(
    similarities: np.ndarray, rows: np.ndarray, queries: np.ndarray, own: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """One query at a time, on the rows above its lowest exemplar: few where retrieval works."""
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


def _count_on_device(
    similarities: torch.Tensor, rows: torch.Tensor, queries: torch.Tensor, own: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """The same in whole-block operations, one exemplar of every query at a time, which is what a GPU is quick at."""
    error = screening_error(rows.shape[1])
    sizes = np.diff(bounds)
    counts = np.zeros(len(own), np.int64)
    for j in range(sizes.max()):
        has = np.flatnonzero(sizes > j)  # queries with more than j exemplars
        place = bounds[has] + j
        limit = torch.from_numpy(own[place]).to(similarities.device)
        chosen = torch.from_numpy(has).to(similarities.device)
        values = similarities if len(has) == len(sizes) else similarities[chosen]
        low, high = (limit - error)[:, None], (limit + error)[:, None]
        surely = (values > high).sum(1)
        pairs = ((values >= low) & (values <= high)).nonzero()
        for some in pairs.split(PAIRS):
            which, row = some[:, 0], some[:, 1]
            exact = (rows[row].double() * queries[chosen[which]].double()).sum(1).float()
            surely += torch.bincount(which[exact >= limit[which]], minlength=len(has))
        counts[place] = surely.cpu().numpy()
    return counts
