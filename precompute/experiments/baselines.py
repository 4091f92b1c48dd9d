"""What the heads are measured against: CCA of known pairs, the oracle that the methods without pairs approximate. Numpy only."""

import numpy as np

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import covariance


def cca(real: np.ndarray, synthetic: np.ndarray, shrinkage: float, rank: int, weighting: float = 0.0) -> Head:
    """Regularised CCA of known pairs: the oracle. The head's coordinates are canonical variates, most correlated first.

    Args:
        real: (n, d) features of the sources.
        synthetic: (n, d) features of their synthetic images, matched row by row.
        shrinkage: in [0, 1]; share of each domain's covariance replaced by its mean eigenvalue times the identity. At 0, with fewer
            pairs than dimensions, every canonical correlation of the fitted pairs would be 1 and mean nothing.
        rank: variates kept.
        weighting: each variate is multiplied with its canonical correlation to this power; at 0 all count the same.

    References:
        Hotelling, Biometrika 28, 1936; Vinod, Journal of Econometrics 4, 1976, for the ridge.
    """
    first, second = (inverse_root(shrunk(covariance(rows), shrinkage)) for rows in (real, synthetic))
    left, correlations, right = np.linalg.svd(first @ cross_covariance(real, synthetic) @ second)
    directions = signed(np.hstack([left.T[:rank] @ first, right[:rank] @ second]))  # one sign for both domains
    directions *= correlations[:rank, None] ** weighting
    parts = {
        Domain.REAL: (real, directions[:, : real.shape[1]]),
        Domain.SYNTHETIC: (synthetic, directions[:, real.shape[1] :]),
    }
    centre = {domain: rows.mean(0, dtype=np.float64).astype(np.float32) for domain, (rows, _) in parts.items()}
    return Head(centre, {domain: np.asarray(weight, dtype=np.float32) for domain, (_, weight) in parts.items()})


def cross_covariance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Covariance between matched rows, each about its own mean: (n, d) and (n, e) give (d, e).

    >>> cross_covariance(np.array([[0.0], [2.0]]), np.array([[5.0, 1.0], [9.0, 1.0]])).tolist()
    [[2.0, 0.0]]
    """
    return (first - first.mean(0, dtype=np.float64)).T @ (second - second.mean(0, dtype=np.float64)) / len(first)


def shrunk(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    """The (d, d) covariance with a share of it replaced by its mean eigenvalue times the identity; the trace stays.

    >>> shrunk(np.diag([3.0, 1.0]), 0.5).tolist()
    [[2.5, 0.0], [0.0, 1.5]]
    """
    return (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric (d, d) matrix whose square is the inverse (ZCA): whitening that turns nothing.

    >>> inverse_root(np.diag([4.0, 0.25])).round(6).tolist()
    [[0.5, 0.0], [0.0, 2.0]]

    Raises:
        ValueError: a direction without variance; it would be blown up without bound.
    """
    variances, directions = np.linalg.eigh(matrix)
    if variances[0] <= 1e-12 * max(variances[-1], 1e-300):  # below the precision of the sums behind a covariance
        raise ValueError("the covariance is singular: give more pairs than dimensions, or a shrinkage above 0")
    return (directions * variances**-0.5) @ directions.T


def signed(directions: np.ndarray) -> np.ndarray:
    """The (k, d) rows, each with its largest entry positive: an eigenvector leaves its sign open."""
    return directions * np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
