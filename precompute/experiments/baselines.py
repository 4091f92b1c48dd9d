"""What the heads are measured against: closed forms without pairs, and two methods that are given the pairs.

Notation: ``C`` is the covariance of a domain's images (or of all their views), ``N`` the covariance of views within one image (the
**nuisance**: all that changes while the content stays), ``S = C - N`` what the views of one image share.

    without pairs    centring, whitening (C^-1/2), view_cca (CCA between two views); nuisance_whitening (N^-1/2) is in aad.method
    with pairs       supervised (contrastive maps, the AbC recipe), cca (the oracle that the unpaired methods approximate)

Each function returns a ``Head``. Numpy only, but for ``supervised``, which needs torch. Covariances weigh both domains equally.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aad.method import Head, Views
from aad.method.whitening import eigen, head_about_means, inverse_root, nuisance, shrunk
from aad.spaces import Domain
from aad.vectors import covariance


def centring(views: Views) -> Head:
    """Take each domain's mean away and change nothing else: the part of alignment that needs no training."""
    return _shared(views, np.eye(views.real.shape[2]))


def whitening(
    views: Views,
    shrinkage: float,
    fitted_on: Literal["real", "joint", "per_domain"] = "joint",
    kind: Literal["zca", "pca"] = "zca",
    on: Literal["images", "views"] = "images",
) -> Head:
    """Infomax alone, in second order: every direction equally loud, ``W C W' = I``.

    Where both domains share the matrix, ``zca`` and ``pca`` differ by a rotation and give the same cosines. With a matrix for each
    domain they do not: ``zca`` is the whitening nearest to the identity and keeps roughly parallel domains parallel, ``pca`` turns
    each domain to axes of its own and loses the match between them.

    Args:
        views: unpaired training data.
        shrinkage: in [0, 1]; share of the covariance replaced by its mean eigenvalue times the identity.
        fitted_on: whose covariance: the real images' for both domains, the mean of both domains', or each domain's own.
        kind: the symmetric root, or principal directions scaled to unit variance.
        on: covariance of the images themselves, or of all their views.

    References:
        Kessy, Lewin and Strimmer, The American Statistician 72(4), 2018, for the kinds of whitening.
    """
    rows = {domain: views.of(domain)[:, 0] if on == "images" else views.of(domain) for domain in Domain}
    spread = {domain: covariance(rows[domain]) for domain in Domain}
    root = inverse_root if kind == "zca" else principal_root
    if fitted_on == "per_domain":
        apart = {domain: root(shrunk(spread[domain], shrinkage)).astype(np.float32) for domain in Domain}
        return head_about_means(views, apart)
    real, synthetic = spread[Domain.REAL], spread[Domain.SYNTHETIC]
    return _shared(views, root(shrunk(real if fitted_on == "real" else (real + synthetic) / 2, shrinkage)))


def view_cca(views: Views, shrinkage: float, rank: int | None = None, weighting: float = 0.0) -> Head:
    """Canonical directions between two random views of one image, both domains' covariances averaged.

    Two views have the covariance C each and the cross-covariance S, so that CCA between them is one symmetric generalised
    eigenproblem, ``S w = r C w``; r is the correlation of two views along w. As ``C = S + N``, it is ``S w = r / (1 - r) N w`` as
    well: the directions are the principal directions of the nuisance-whitened images. Only the scale along them differs. With
    ``weighting=0.5`` and full rank the cosines are exactly those of ``nuisance_whitening``, at any shrinkage, as only N is shrunk.

    Args:
        views: unpaired training data.
        shrinkage: as in ``nuisance_whitening``; C is then S plus the shrunk N.
        rank: directions kept, most correlated first; all when None.
        weighting: each variate is multiplied with ``(1 - r)^-weighting``; at 0 all have unit variance, and at full rank that is
            Infomax alone again, the cosines of ``C^(-1/2)``: directions tell nothing until some are preferred.
    """
    within = (nuisance(views.real) + nuisance(views.synthetic)) / 2
    common = (covariance(views.real) + covariance(views.synthetic)) / 2 - within
    root = inverse_root(common + shrunk(within, shrinkage))
    r, turned = np.linalg.eigh(root @ common @ root)
    r, turned = r[::-1][:rank], turned[:, ::-1][:, :rank]
    scale = np.maximum(1 - r, 1e-12) ** -weighting  # r reaches 1 where views never differ
    weight = signed((root @ turned).T) * scale[:, None]
    return _shared(views, weight)


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


def principal_root(matrix: np.ndarray) -> np.ndarray:
    """Principal directions scaled to unit variance (PCA whitening), (d, d), loudest first; raises as ``inverse_root``.

    >>> principal_root(np.diag([0.25, 4.0])).round(6).tolist()
    [[0.0, 0.5], [2.0, 0.0]]
    """
    variances, directions = eigen(matrix)
    return signed(directions.T[::-1]) * variances[::-1, None] ** -0.5


def signed(directions: np.ndarray) -> np.ndarray:
    """The (k, d) rows, each with its largest entry positive: an eigenvector leaves its sign open."""
    return directions * np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]


def _shared(views: Views, weight: np.ndarray) -> Head:
    return head_about_means(views, dict.fromkeys(Domain, weight.astype(np.float32)))


def _head(centre: dict[Domain, np.ndarray], weight: dict[Domain, np.ndarray]) -> Head:
    rounded = {domain: np.asarray(weight[domain], dtype=np.float32) for domain in Domain}  # one object stays one object
    return Head({domain: centre[domain].astype(np.float32) for domain in Domain}, rounded)


def _check_pairs(real: np.ndarray, synthetic: np.ndarray) -> None:
    if real.ndim != 2 or real.shape != synthetic.shape or len(real) < 2:
        raise ValueError(f"pairs must share one (n, d) shape with n >= 2, got {real.shape} and {synthetic.shape}")
