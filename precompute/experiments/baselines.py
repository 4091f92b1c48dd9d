"""What the heads are measured against: two methods that are given the pairs. Each returns a dense ``Head``.

    supervised    contrastive maps, the AbC recipe
    cca           canonical correlation analysis, the oracle that the methods without pairs approximate

Numpy only, but for ``supervised``, which needs torch.
"""

from dataclasses import dataclass

import numpy as np

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import covariance


@dataclass(frozen=True, slots=True)
class SupervisedConfig:
    """Settings of ``supervised``."""

    temperature: float = 0.05  # of the cosine, as in alignment without pairs
    decay: float = 100.0  # pull towards the identity, per unit of mean squared change per row; 1000 learns too little
    n_steps: int = 250
    batch_size: int = 192  # sources per step, with one synthetic image of each
    learning_rate: float = 1e-3
    seed: int = 0


def supervised(
    real: np.ndarray, synthetic: np.ndarray, config: SupervisedConfig, source_ids: np.ndarray | None = None
) -> Head:
    """The AbC recipe: one linear map per domain, from the identity, so that each synthetic image finds its source in the batch.

    Args:
        real: (n, d) features of the sources; one with several synthetic images stands there as often.
        synthetic: (n, d) features of the synthetic images, matched to ``real`` row by row.
        config: settings.
        source_ids: (n,) which source a pair has. A batch holds each source once, so that none is a negative of itself. When None,
            equal rows of ``real`` are one source; give them when ``real`` holds views.

    Raises:
        ValueError: shapes differ, or fewer than two different sources.

    References:
        Wang et al., Evaluating Data Attribution for Text-to-Image Models, ICCV 2023: contrastive loss on pairs, one linear map per
        domain on frozen features, from the identity. Centring each domain beforehand, the pull and the settings are ours.
    """
    import torch

    from aad.method.losses import info_nce

    _check_pairs(real, synthetic)
    source_of = np.unique(real, axis=0, return_inverse=True)[1].ravel() if source_ids is None else source_ids
    members = [np.flatnonzero(source_of == source) for source in np.unique(source_of)]
    if len(members) < 2:
        raise ValueError(f"a contrast needs at least two different sources, got {len(members)}")
    rng = np.random.default_rng(config.seed)
    sides = dict(zip(Domain, (real, synthetic), strict=True))
    centre = {domain: rows.mean(0) for domain, rows in sides.items()}
    centred = {domain: torch.from_numpy(np.float32(rows - centre[domain])) for domain, rows in sides.items()}
    identity = torch.eye(real.shape[1])
    maps: dict[Domain, torch.Tensor] = {domain: identity.clone().requires_grad_() for domain in Domain}
    optimiser = torch.optim.Adam(maps.values(), lr=config.learning_rate)
    for _ in range(config.n_steps):
        drawn = rng.choice(len(members), min(config.batch_size, len(members)), replace=False)
        rows = np.array([rng.choice(members[source]) for source in drawn])
        embedded = [centred[domain][rows] @ maps[domain].T for domain in Domain]
        change = sum((weight - identity).square().sum() for weight in maps.values()) / (2 * len(identity))
        loss = info_nce(embedded[0], embedded[1], config.temperature) + config.decay * change
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return _head(centre, {domain: weight.detach().numpy() for domain, weight in maps.items()})


def cca(real: np.ndarray, synthetic: np.ndarray, shrinkage: float, rank: int, weighting: float = 0.0) -> Head:
    """Regularised CCA of known pairs: the oracle. The head's coordinates are canonical variates, most correlated first.

    Args:
        real: (n, d) features of the sources.
        synthetic: (n, d) features of their synthetic images, matched row by row.
        shrinkage: in [0, 1]; share of each domain's covariance replaced by its mean eigenvalue times the identity. At 0, with fewer
            pairs than dimensions, every canonical correlation of the fitted pairs would be 1 and mean nothing.
        rank: variates kept.
        weighting: each variate is multiplied with its canonical correlation to this power; at 0 all count the same.

    Raises:
        ValueError: shapes differ, or a rank that is not within 1..d.

    References:
        Hotelling, Biometrika 28, 1936; Vinod, Journal of Econometrics 4, 1976, for the ridge.
    """
    _check_pairs(real, synthetic)
    if not 1 <= rank <= real.shape[1]:
        raise ValueError(f"rank must be within 1..{real.shape[1]}, got {rank}")
    centre = {Domain.REAL: real.mean(0, dtype=np.float64), Domain.SYNTHETIC: synthetic.mean(0, dtype=np.float64)}
    first, second = (inverse_root(shrunk(covariance(rows), shrinkage)) for rows in (real, synthetic))
    left, correlations, right = np.linalg.svd(first @ cross_covariance(real, synthetic) @ second)
    directions = signed(np.hstack([left.T[:rank] @ first, right[:rank] @ second]))  # one sign for both domains
    directions *= correlations[:rank, None] ** weighting
    d = real.shape[1]
    return _head(centre, {Domain.REAL: directions[:, :d], Domain.SYNTHETIC: directions[:, d:]})


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


def _head(centre: dict[Domain, np.ndarray], weight: dict[Domain, np.ndarray]) -> Head:
    rounded = {domain: np.asarray(weight[domain], dtype=np.float32) for domain in Domain}  # one object stays one object
    return Head({domain: centre[domain].astype(np.float32) for domain in Domain}, rounded)


def _check_pairs(real: np.ndarray, synthetic: np.ndarray) -> None:
    if real.ndim != 2 or real.shape != synthetic.shape or len(real) < 2:
        raise ValueError(f"pairs must share one (n, d) shape with n >= 2, got {real.shape} and {synthetic.shape}")
