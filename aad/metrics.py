"""How well the true sources are retrieved: their ranks, one query at a time, and means with an interval.

Ties fall to the smaller reference id, which is the order that retrieval shows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def exemplar_ranks(similarities: np.ndarray, exemplar_ids: Sequence[int]) -> np.ndarray:
    """Ranks of the exemplars in the gallery.

    Args:
        similarities: (n,) cosine of one query to every reference.
        exemplar_ids: the e true sources.

    Returns:
        (e,) int64, ascending, 1-based.

    Raises:
        ValueError: no exemplar, or an id outside the gallery.

    >>> exemplar_ranks(np.array([0.1, 0.9, 0.9, 0.3]), [2, 3]).tolist()
    [2, 3]
    """
    ids = np.asarray(sorted(exemplar_ids), dtype=np.int64)
    if len(ids) == 0 or ids[0] < 0 or ids[-1] >= len(similarities):
        raise ValueError(f"exemplar ids must be at least one and within 0..{len(similarities) - 1}, got {ids.tolist()}")
    own = similarities[ids][:, None]
    ahead = (similarities[None, :] > own).sum(1)
    tied_ahead = ((similarities[None, :] == own) & (np.arange(len(similarities))[None, :] < ids[:, None])).sum(1)
    return np.sort(ahead + tied_ahead + 1)


class Interval(NamedTuple):
    """A mean with its bootstrap 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: np.ndarray, groups: Sequence[str], n_resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean of ``values`` with a percentile interval from resampling whole groups.

    Queries about one concept fail together, so concepts are drawn, not queries; drawing queries would make the interval
    too narrow.

    Args:
        values: (n,) one figure per query.
        groups: (n,) the concept of each query.
        n_resamples: bootstrap draws; 2000 settle the bounds to about 0.002 here.
        seed: of the draws.

    Raises:
        ValueError: no values, or the lengths differ.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0 or len(values) != len(groups):
        raise ValueError(f"one group per value and at least one value required, got {len(values)} and {len(groups)}")
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (n_resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
