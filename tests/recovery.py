"""Two domains whose shared sources are known, and how much of CCA's directions a head finds: the paper's claim as an experiment.

Every image is linear in independent sources plus nuisance::

    real       x = mean   + A  (loudness  * source) + L  nuisance
    synthetic  y = mean'  + A' (loudness' * source) + L' nuisance'        then scaled to unit length

A matched pair shares its source and nothing else. A view of an image keeps its source and draws the nuisance anew. The nuisance is
loud in a few directions that are oblique to the sources, and silent in some directions that hold no source either, so that neither
loudness nor steadiness alone betrays where the sources are. What is loud in one domain is quiet in the other.

Alignment and Infomax can find the canonical directions of the pairs without pairs only under these assumptions:

1. views change what the generator changes, and keep what it keeps (``n_private`` breaks this: content that views keep and the
   generator replaces);
2. the two domains are nearly parallel, A' close to A (``turned`` breaks this);
3. second moments tell the story: linear mixing, no clipping.
"""

from dataclasses import dataclass

import numpy as np

from aad.method import Head, Views, leading_directions, nuisance_whitening
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute.experiments.theory import cca, principal_directions, subspace_agreement

N_SOURCES, D = 6, 40
LOUD, SILENT = 8, 12  # directions of loud nuisance, and of none
N, V = 600, 6  # images of each domain in the views, which show different ones; views of each, itself included
TILT = 0.1  # how far A' is from A, as a share of its length


@dataclass(frozen=True)
class TwoDomains:
    """Unpaired views to fit on; matched pairs for the oracle and for measuring, of other images."""

    views: Views
    pairs: dict[Domain, np.ndarray]  # (m, d) each


def two_domains(seed: int = 0, m: int = 3000, n_private: int = 0, turned: bool = False) -> TwoDomains:
    """Draw two domains.

    Args:
        seed: of everything.
        m: matched pairs, none of them in the views.
        n_private: dimensions of content that views keep but pairs do not share.
        turned: whether the synthetic domain is turned by a random rotation.
    """
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(D, D)))[0]
    oblique = frame[:, -LOUD:] @ rng.normal(size=(LOUD, N_SOURCES)) / np.sqrt(LOUD)
    mixing = frame[:, SILENT : SILENT + N_SOURCES] + 0.3 * oblique
    private = frame[:, SILENT + N_SOURCES : SILENT + N_SOURCES + n_private]
    spectrum = np.concatenate([np.full(SILENT, 0.1), np.full(D - SILENT - LOUD, 0.5), np.linspace(2, 5, LOUD)])
    loudness = np.linspace(1.2, 2.4, N_SOURCES)
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0] if turned else np.eye(D)

    def draw(domain: Domain, source: np.ndarray, n_views: int) -> np.ndarray:
        """Views (n, v, d) of images of the given sources (n, k)."""
        rng_domain = np.random.default_rng([seed, list(Domain).index(domain)])
        tilted = mixing + TILT * rng_domain.normal(size=mixing.shape) / np.sqrt(D)
        own = loudness if domain == Domain.REAL else loudness[::-1]
        nuisance_loudness = spectrum * rng_domain.uniform(0.7, 1.4, D)
        mean = 30 * frame[:, 0] + rng_domain.normal(size=D)
        kept = source * own @ tilted.T + 3 * rng.normal(size=(len(source), n_private)) @ private.T
        nuisance = rng.normal(size=(len(source), n_views, D)) * nuisance_loudness @ frame.T
        rows = l2_normalise(mean + kept[:, None] + nuisance)
        return rows @ turn.T.astype(np.float32) if domain == Domain.SYNTHETIC else rows

    views = Views(*(draw(domain, _sources(rng, N), V) for domain in Domain))
    matched = _sources(rng, m)
    return TwoDomains(views, {domain: draw(domain, matched, 1)[:, 0] for domain in Domain})


def _sources(rng: np.random.Generator, n: int) -> np.ndarray:
    """Independent, of unit variance, not Gaussian."""
    return rng.uniform(-np.sqrt(3), np.sqrt(3), (n, N_SOURCES))


def nuisance(views: np.ndarray) -> np.ndarray:
    """Mean covariance of (n, v, d) views about their own image's mean, (d, d), unbiased in v."""
    within = (views - views.mean(1, keepdims=True, dtype=np.float64)).reshape(-1, views.shape[-1])
    return within.T @ within / (len(views) * (views.shape[1] - 1))


def whitened(views: Views, shrinkage: float) -> Head:
    """Nuisance whitening in all directions."""
    return nuisance_whitening(views, shrinkage, leading_directions(views, D))


def whitened_apart(views: Views, shrinkage: float) -> Head:
    """The same with a matrix for each domain, of its own nuisance."""
    apart = {domain: whitened(Views(views.of(domain), views.of(domain)), shrinkage) for domain in Domain}
    return Head(
        {domain: head.centre[domain] for domain, head in apart.items()},
        {
            domain: head.basis.T @ head.weight[domain] @ head.basis for domain, head in apart.items()
        },  # all of D directions
    )


def oracle(data: TwoDomains) -> Head:
    """What the pairs give: CCA with as many variates as there are sources."""
    return cca(data.pairs[Domain.REAL], data.pairs[Domain.SYNTHETIC], shrinkage=0.001, rank=N_SOURCES)


def recovered(head: Head, data: TwoDomains) -> float:
    """Share of the oracle's subspace within the head's loudest directions, the mean of both domains; chance is about 0.15.

    The head's directions are those in which its embedding varies most, ``N_SOURCES`` of them, found without pairs.
    """
    agreements = []
    for domain in Domain:
        embedded = head.apply(data.pairs[domain], domain)
        scores = embedded @ principal_directions(embedded, N_SOURCES).T
        agreements.append(subspace_agreement(scores, oracle(data).apply(data.pairs[domain], domain)))
    return float(np.mean(agreements))


def matched(head: Head, data: TwoDomains, n: int = 500) -> float:
    """Share of synthetic images whose own source is the nearest of n real ones."""
    similarities = (
        head.embed(data.pairs[Domain.SYNTHETIC][:n], Domain.SYNTHETIC)
        @ head.embed(data.pairs[Domain.REAL][:n], Domain.REAL).T
    )
    return float((similarities.argmax(1) == np.arange(n)).mean())
