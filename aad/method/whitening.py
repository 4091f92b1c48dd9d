"""Covariances and their roots, in float64: what the closed forms in ``baselines`` and the measures in ``theory`` are made of."""

from collections.abc import Iterable

import numpy as np


def covariance(rows: np.ndarray) -> np.ndarray:
    """Covariance of (..., d) rows about their common mean, (d, d), divided by their number."""
    flat = rows.reshape(-1, rows.shape[-1])
    centred = flat - flat.mean(0, dtype=np.float64)
    return centred.T @ centred / len(flat)


def streamed_moments(chunks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of ``[:, 0]`` and covariance of all rows of (m, v, d) chunks, read once: (d,) and (d, d), float64.

    Each chunk is centred on its own mean before it is squared, so that nothing cancels where means are large.

    References:
        Chan, Golub and LeVeque, The American Statistician 37(3), 1983, for joining the moments of two sets.

    >>> whole = np.array([[[0.0], [1.0]], [[2.0], [5.0]]])
    >>> [part.tolist() for part in streamed_moments([whole[:1], whole[1:]])] == [[1.0], covariance(whole).tolist()]
    True

    Raises:
        ValueError: no rows at all, or a value that is not finite.
    """
    n_images, n_rows, first, mean, scatter = 0, 0, np.zeros(()), np.zeros(()), np.zeros(())
    for chunk in chunks:
        if not chunk.size:
            continue
        flat = chunk.reshape(-1, chunk.shape[-1])
        if not np.isfinite(flat).all():
            raise ValueError(f"moments need finite values, got others among the {len(chunk)} images after {n_images:,}")
        own, n_images, n_rows = flat.mean(0, dtype=np.float64), n_images + len(chunk), n_rows + len(flat)
        moved = own - mean
        mean = mean + moved * (len(flat) / n_rows)
        scatter = scatter + covariance(flat) * len(flat) + np.outer(moved, own - mean) * len(flat)
        first = first + chunk[:, 0].sum(0, dtype=np.float64)
    if not n_rows:
        raise ValueError("moments need at least one row")
    return first / n_images, scatter / n_rows


def cross_covariance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Covariance between matched rows, each about its own mean: (n, d) and (n, e) give (d, e).

    >>> cross_covariance(np.array([[0.0], [2.0]]), np.array([[5.0, 1.0], [9.0, 1.0]])).tolist()
    [[2.0, 0.0]]

    Raises:
        ValueError: the rows are not matched, or fewer than two.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or len(first) < 2:
        raise ValueError(f"matched rows must be (n, d) and (n, e) with n >= 2, got {first.shape} and {second.shape}")
    return (first - first.mean(0, dtype=np.float64)).T @ (second - second.mean(0, dtype=np.float64)) / len(first)


def nuisance(views: np.ndarray) -> np.ndarray:
    """Mean covariance of (n, v, d) views about their own image's mean, (d, d), unbiased in v."""
    within = (views - views.mean(1, keepdims=True, dtype=np.float64)).reshape(-1, views.shape[-1])
    return within.T @ within / (len(views) * (views.shape[1] - 1))


def shrunk(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    """The (d, d) covariance with a share of it replaced by its mean eigenvalue times the identity; the trace stays.

    >>> shrunk(np.diag([3.0, 1.0]), 0.5).tolist()
    [[2.5, 0.0], [0.0, 1.5]]
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be within 0..1, got {shrinkage}")
    d = len(matrix)
    return (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / d * np.eye(d)


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric (d, d) matrix whose square is the inverse (ZCA): whitening that turns nothing.

    >>> inverse_root(np.diag([4.0, 0.25])).round(6).tolist()
    [[0.5, 0.0], [0.0, 2.0]]

    Raises:
        ValueError: a direction without variance; it would be blown up without bound.
    """
    variances, directions = _eigen(matrix)
    return (directions * variances**-0.5) @ directions.T


def principal_root(matrix: np.ndarray) -> np.ndarray:
    """Principal directions scaled to unit variance (PCA whitening), (d, d), loudest first; raises as ``inverse_root``.

    >>> principal_root(np.diag([0.25, 4.0])).round(6).tolist()
    [[0.0, 0.5], [2.0, 0.0]]
    """
    variances, directions = _eigen(matrix)
    return signed(directions.T[::-1]) * variances[::-1, None] ** -0.5


def signed(directions: np.ndarray) -> np.ndarray:
    """The (k, d) rows, each with its largest entry positive: an eigenvector leaves its sign open."""
    return directions * np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]


def _eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variances, directions = np.linalg.eigh(matrix)
    if variances[0] <= 1e-12 * max(variances[-1], 1e-300):  # below the precision of the sums behind a covariance
        raise ValueError("the covariance is singular: give more images than dimensions, or a shrinkage above 0")
    return variances, directions
