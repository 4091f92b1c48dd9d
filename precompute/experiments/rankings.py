"""Ways to rank references for a query, beyond the cosine of one head: mixtures, expansion, hub correction, several crops.

A ranking takes n queries and the (m, d) references and gives (n, m) similarities, larger for likelier sources. None of them needs
to know a source. What each gains is in docs/ablation.md.
"""

from collections.abc import Callable

import numpy as np

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute.common.trials import Queries

Ranking = Callable[[Queries, np.ndarray], np.ndarray]


def cosine(head: Head) -> Ranking:
    """What ships: the cosine of the embeddings."""
    return lambda queries, references: _synthetic(head, queries.features) @ _real(head, references).T


def mixture(*heads: Head) -> Ranking:
    """The mean of the cosines in several spaces."""
    return lambda queries, references: np.mean([cosine(head)(queries, references) for head in heads], axis=0)


def several_crops(head: Head) -> Ranking:
    """The query is the mean embedding of the whole picture and its crops."""

    def rank(queries: Queries, references: np.ndarray) -> np.ndarray:
        shown = [queries.features, *np.moveaxis(queries.crops, 1, 0)]
        return np.sum([_synthetic(head, features) for features in shown], axis=0) @ _real(head, references).T

    return rank


def expanded(head: Head, k: int = 3, power: float = 3.0) -> Ranking:
    """Query expansion: search again with the query plus its first k references, each weighted by its cosine to a power.

    References:
        Radenovic, Tolias and Chum, TPAMI 41(7), 2019 (alpha query expansion).
    """

    def rank(queries: Queries, references: np.ndarray) -> np.ndarray:
        embedded, gallery = _synthetic(head, queries.features), _real(head, references)
        similarities = embedded @ gallery.T
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        pull = np.clip(np.take_along_axis(similarities, nearest, 1), 0, None) ** power
        again = l2_normalise(embedded + np.einsum("nk,nkd->nd", pull, gallery[nearest]))
        return again @ gallery.T

    return rank


def hub_corrected(head: Head, synthetic: np.ndarray, k: int = 10) -> Ranking:
    """Twice the cosine less how near a reference is to synthetic images at large, the mean cosine of its k nearest.

    Args:
        head: the space.
        synthetic: (s, d) features of unlabelled synthetic images.
        k: neighbours.

    References:
        Conneau et al., ICLR 2018 (cross-domain similarity local scaling). Their term of the query is left out: it is the same for
        every reference.
    """

    def rank(queries: Queries, references: np.ndarray) -> np.ndarray:
        gallery = _real(head, references)
        crowd = np.sort(gallery @ _synthetic(head, synthetic).T, axis=1)[:, -k:].mean(axis=1)
        return 2 * _synthetic(head, queries.features) @ gallery.T - crowd

    return rank


def _synthetic(head: Head, features: np.ndarray) -> np.ndarray:
    return head.embed(features, Domain.SYNTHETIC)


def _real(head: Head, features: np.ndarray) -> np.ndarray:
    return head.embed(features, Domain.REAL)
