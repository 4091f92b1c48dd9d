"""Ranks, nearest references and weights of many queries at once, for tables of all of them; one query goes through the facade."""

from collections.abc import Sequence

import numpy as np

from aad.calibration import Calibration

N_CELLS = 4_000_000  # similarities held at a time: 16 MB, and a few times that in working copies


def source_ranks(
    cosines: np.ndarray, exemplar_ids: Sequence[tuple[int, ...]], n_cells: int = N_CELLS
) -> list[np.ndarray]:
    """`aad.metrics.exemplar_ranks` of many queries.

    Args:
        cosines: (r, n) similarities of r queries to n references.
        exemplar_ids: For each of the r queries its true sources, at least one.
        n_cells: Similarities to copy at a time; bounds the memory and changes no result.

    Returns:
        For each query the ranks of its sources, in the order in which they are named.

    Raises:
        ValueError: A query without a source, or a source outside the gallery.

    >>> [ranks.tolist() for ranks in source_ranks(np.array([[0.1, 0.9, 0.9, 0.3]]), [(3, 2)])]
    [[3, 2]]
    """
    sizes = np.array([len(ids) for ids in exemplar_ids])
    row_of = np.repeat(np.arange(len(exemplar_ids)), sizes)
    exemplar = np.array([i for ids in exemplar_ids for i in ids], np.int64)
    if (sizes == 0).any() or (exemplar < 0).any() or (exemplar >= cosines.shape[1]).any():
        raise ValueError(f"every query needs sources within 0..{cosines.shape[1] - 1}, got {exemplar_ids}")
    ranks = np.empty(len(exemplar), np.int64)
    step = max(1, n_cells // cosines.shape[1])
    for start in range(0, len(exemplar), step):
        part = slice(start, start + step)
        rows, ids = cosines[row_of[part]], exemplar[part, None]
        own = np.take_along_axis(rows, ids, 1)
        tied_ahead = (rows == own) & (np.arange(cosines.shape[1]) < ids)
        ranks[part] = ((rows > own) | tied_ahead).sum(1) + 1
    return np.split(ranks, np.cumsum(sizes)[:-1])


def nearest(cosines: np.ndarray, k: int) -> np.ndarray:
    """(r, k) ids of the k largest cosines of each row, largest first, ties by smaller id.

    >>> nearest(np.array([[0.1, 0.9, 0.9, 0.3]]), 2).tolist()
    [[1, 2]]
    """
    if k >= cosines.shape[1]:
        return np.argsort(-cosines, axis=1, kind="stable")
    found = np.sort(np.argpartition(cosines, -k, axis=1)[:, -k:], axis=1)
    edge = np.take_along_axis(cosines, found, 1).min(1, keepdims=True)
    for row in np.flatnonzero((cosines >= edge).sum(1) > k):  # a tie at the edge, where a partition takes any
        found[row] = np.sort(np.argsort(-cosines[row], kind="stable")[:k])
    order = np.argsort(-np.take_along_axis(cosines, found, 1), axis=1, kind="stable")
    return np.take_along_axis(found, order, 1)


def first_weights(cosines: np.ndarray, first: np.ndarray, calibration: Calibration) -> np.ndarray:
    """(r,) float64: what `Calibration.weights` gives the reference with the largest cosine of each row.

    Args:
        cosines: (r, n).
        first: (r,) the largest of each row.
        calibration: Of the space.
    """
    beta, gamma = calibration.inverse_temperature, calibration.null_logit
    best = beta * first.astype(np.float64)
    top = np.maximum(best, gamma)
    total = np.exp(beta * cosines.astype(np.float64) - top[:, None]).sum(1) + np.exp(gamma - top)
    return np.exp(best - top) / total
