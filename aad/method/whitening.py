"""Both terms in closed form, in numpy, and the directions, covariances and roots that they are made of.

``C`` is the covariance of all views, ``N`` that of views within one image: the **nuisance**, all that changes while content stays.
"""

from dataclasses import dataclass

import numpy as np

from aad.method.head import Head
from aad.method.views import Views
from aad.spaces import Domain


@dataclass(frozen=True, slots=True)
class Leading:
    """The directions in which the views of all images differ most; a head maps these and leaves the rest as it is.

    Attributes:
        basis: (r, d) float32, orthonormal rows, descending in variance.
        spread: (r, r) float64, covariance of all views along them.
        rest: mean variance of a direction outside of them; where there is none, of those within.
    """

    basis: np.ndarray
    spread: np.ndarray
    rest: float


def leading_directions(views: Views, rank: int) -> Leading:
    """Principal directions of the views, real and synthetic images counted alike, as many as ``rank`` or as there are.

    On real generators' pictures, whitening all directions or cutting off all others finds fewer sources (docs/real_generators.md).
    """
    from sklearn.utils.extmath import randomized_svd

    both = (views.spread(Domain.REAL) + views.spread(Domain.SYNTHETIC)) / 2
    rank = min(rank, d := len(both))
    directions, variances, _ = randomized_svd(both, rank, n_iter=4, random_state=0)  # eigh takes minutes of d = 5304
    rest = (np.trace(both) - variances.sum()) / (d - rank) if rank < d else variances.mean()
    return Leading(np.ascontiguousarray(directions.T, np.float32), np.diag(variances), float(max(rest, 0)))


def whitening(leading: Leading, shrinkage: float) -> np.ndarray:
    """(r, r) map that makes the leading directions as loud as the rest, ``C^(-1/2)`` in units of the rest's: Infomax alone.

    A share of the whole (d, d) covariance, the shrinkage, is replaced by its mean eigenvalue times the identity first.

    >>> whitening(Leading(np.eye(2, 4), np.diag([4.0, 1.0]), 1.0), 0.0).round(6).tolist()
    [[0.5, 0.0], [0.0, 1.0]]

    Raises:
        ValueError: the shrinkage is not in [0, 1], or a direction without variance would be blown up without bound.
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be within 0..1, got {shrinkage}")
    r, d = leading.basis.shape
    mean = (np.trace(leading.spread) + leading.rest * (d - r)) / d
    variances, directions = np.linalg.eigh((1 - shrinkage) * leading.spread + shrinkage * mean * np.eye(r))
    level = (1 - shrinkage) * leading.rest + shrinkage * mean
    if min(variances[0], level) <= 1e-12 * max(variances[-1], 1e-300):  # below the precision of a covariance's sums
        raise ValueError("the covariance is singular: give more images than dimensions, or a shrinkage above 0")
    return ((directions * (variances / level) ** -0.5) @ directions.T).astype(np.float32)


def nuisance_whitening(views: Views, shrinkage: float, leading: Leading) -> Head:
    """Alignment and Infomax together, in second order: ``W = N^(-1/2)``. Every way of rendering an image is equally quiet.

    For two views x, x' of one image, ``E|Wx - Wx'|^2 / 2 = tr(W N W')`` is alignment, and the entropy of a Gaussian embedding is
    ``log det(W C W') / 2 = log|det W|`` plus a constant: Infomax. Their sum ``tr(W N W') - 2 log|det W|`` has the gradient
    ``2 W N - 2 W^(-T)``, which is zero where ``W' W = N^(-1)``; it is convex in ``W' W``, so this is the minimum. The rotation is
    left open and changes no cosine; the symmetric root is the one nearest to the identity. The power of the images, C, drops out:
    with ``a tr(W N W') + b tr(W C W') - 2 log|det W|`` it is ``(a N + b C)^(-1/2)``: the same principal directions as for b = 0.

    Args:
        views: unpaired training data.
        shrinkage: in [0, 1]; share of N replaced by its mean eigenvalue times the identity.
        leading: the directions that are mapped.

    References:
        The within-class whitening of LDA and PLDA, with every image its own class (Hatch et al., Interspeech 2006, call it WCCN).
        That it is the optimum of Liu et al.'s two terms in second order is our derivation.
    """
    (r, d), centre = leading.basis.shape, {domain: views.centre(domain) for domain in Domain}
    spread, rest = np.zeros((r, r)), 0.0
    for domain in Domain:
        within = views.moved(domain, centre[domain], leading.basis)
        within -= within.mean(1, keepdims=True)
        n = len(within) * (within.shape[1] - 1) * len(Domain)  # unbiased in the number of views; domains counted alike
        inner, outer = within[..., :r].reshape(-1, r).astype(np.float64), within[..., r:]
        spread += inner.T @ inner / n
        rest += float(np.einsum("nvd,nvd->", outer, outer, dtype=np.float64)) / n / max(1, d - r)
    quiet = Leading(leading.basis, spread, rest if r < d else np.trace(spread) / r)
    return Head(centre, dict.fromkeys(Domain, whitening(quiet, shrinkage)), leading.basis)
