"""Both terms in closed form, in numpy and float64, and the covariances and roots that they are made of.

``C`` is the covariance of all views, ``N`` that of views within one image: the **nuisance**, all that changes while content stays.
"""

import numpy as np

from aad.method.head import Head
from aad.method.views import Views
from aad.spaces import Domain


def nuisance_whitening(views: Views, shrinkage: float, per_domain: bool = False) -> Head:
    """Alignment and Infomax together, in second order: ``W = N^(-1/2)``. Every way of rendering an image is equally quiet.

    For two views x, x' of one image, ``E|Wx - Wx'|^2 / 2 = tr(W N W')`` is alignment, and the entropy of a Gaussian embedding is
    ``log det(W C W') / 2 = log|det W|`` plus a constant: Infomax. Their sum ``tr(W N W') - 2 log|det W|`` has the gradient
    ``2 W N - 2 W^(-T)``, which is zero where ``W' W = N^(-1)``; it is convex in ``W' W``, so this is the minimum. The rotation is
    left open and changes no cosine; the symmetric root is the one nearest to the identity. The power of the images, C, drops out.
    Without Infomax the minimum is ``W = 0``, collapse; without alignment, with power ``tr(W C W')`` in its place, ``C^(-1/2)``.
    With ``a tr(W N W') + b tr(W C W') - 2 log|det W|`` it is ``(a N + b C)^(-1/2)``: the same principal directions as for b = 0.

    Args:
        views: unpaired training data.
        shrinkage: in [0, 1]; share of N replaced by its mean eigenvalue times the identity.
        per_domain: a matrix for each domain instead of one for both.

    References:
        The within-class whitening of LDA and PLDA, with every image its own class (Hatch et al., Interspeech 2006, call it WCCN).
        That it is the optimum of Liu et al.'s two terms in second order is our derivation.
    """
    spread = {domain: nuisance(views.of(domain)) for domain in Domain}
    return head_about_means(views, inverse_roots(spread, shrinkage, per_domain))


def head_about_means(views: Views, weight: dict[Domain, np.ndarray]) -> Head:
    """The head of these matrices with each domain's images centred on their mean."""
    return Head({d: views.of(d)[:, 0].mean(0, dtype=np.float64).astype(np.float32) for d in Domain}, weight)


def inverse_roots(spread: dict[Domain, np.ndarray], shrinkage: float, per_domain: bool) -> dict[Domain, np.ndarray]:
    """Inverse roots of each domain's shrunk covariance, or one for both of their mean, (d, d) float32."""
    if per_domain:
        return {domain: inverse_root(shrunk(spread[domain], shrinkage)).astype(np.float32) for domain in Domain}
    both = (spread[Domain.REAL] + spread[Domain.SYNTHETIC]) / 2
    return dict.fromkeys(Domain, inverse_root(shrunk(both, shrinkage)).astype(np.float32))


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
    return (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric (d, d) matrix whose square is the inverse (ZCA): whitening that turns nothing.

    >>> inverse_root(np.diag([4.0, 0.25])).round(6).tolist()
    [[0.5, 0.0], [0.0, 2.0]]

    Raises:
        ValueError: a direction without variance; it would be blown up without bound.
    """
    variances, directions = eigen(matrix)
    return (directions * variances**-0.5) @ directions.T


def eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances, ascending, and directions of a (d, d) covariance; raises as ``inverse_root``."""
    variances, directions = np.linalg.eigh(matrix)
    if variances[0] <= 1e-12 * max(variances[-1], 1e-300):  # below the precision of the sums behind a covariance
        raise ValueError("the covariance is singular: give more images than dimensions, or a shrinkage above 0")
    return variances, directions
