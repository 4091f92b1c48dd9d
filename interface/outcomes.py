"""What each space made of every bundled query with known sources: what it gets right, what it confuses, which hubs it has.

outcomes = outcomes_of(Attributor.load())               # computed once per attributor
rows = outcomes.members(Outcome.BROKEN_BY_ALIGNMENT)    # (m,) bool
outcomes.recall(rows, "R@1")                            # mean and interval per space

Ranks and ties are those of `aad.metrics.exemplar_ranks`. Rows of m queries come in the order of their query ids.
"""

import threading
import weakref
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from aad import Attributor
from aad.metrics import bootstrap_interval, exemplar_ranks
from aad.search import may_be_among
from aad.spaces import SPACES, Space

N_NEIGHBOURS = 10  # the k of k-occurrence, as in Radovanovic et al.
N_CELLS = 4_000_000  # similarities held at a time: 16 MB
LEAST = 16  # queries at a time, whatever that holds: a large gallery is read from disk for each part
MEASURES = ("R@1", "R@5", "MRR")
FACTORS = ("type", "generator", "group", "split")
EVERY = slice(None)  # rows: all of them


class Outcome(StrEnum):
    """What the two steps did to a query, by whether each space's first answer is a true source.

    A query is right everywhere, wrong everywhere, or changed by at least one step. Two of the eight patterns are changed by both
    steps, back and forth; they belong to two classes.
    """

    FIXED_BY_ALIGNMENT = "fixed_by_alignment"
    BROKEN_BY_ALIGNMENT = "broken_by_alignment"
    FIXED_BY_DISENTANGLING = "fixed_by_disentangling"
    BROKEN_BY_DISENTANGLING = "broken_by_disentangling"
    RIGHT_EVERYWHERE = "right_everywhere"
    WRONG_EVERYWHERE = "wrong_everywhere"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Legend: m queries with known sources, n references, 3 spaces in the order of ``SPACES``, k = 10 or n where that is less.

    Attributes:
        query_ids: (m,) int64 ascending.
        exemplar_ids: per query, its true sources.
        best_rank: (3, m) int64, 1-based rank of the best-placed true source.
        n_first_five: (3, m) int64, number of true sources among the first five.
        neighbours: (3, m, k) int32 reference ids, nearest first; ``[:, :, 0]`` is the first answer.
        similarity: (3, m) float32 cosine to the first answer.
        weight: (3, m) float32 attribution weight of the first answer.
        labels: type, generator, split, concept of each query and the group of its first-named source, each (m,) text.
        reference_labels: concept and group of each reference, each (n,) text.
    """

    query_ids: np.ndarray
    exemplar_ids: tuple[tuple[int, ...], ...]
    best_rank: np.ndarray
    n_first_five: np.ndarray
    neighbours: np.ndarray
    similarity: np.ndarray
    weight: np.ndarray
    labels: dict[str, np.ndarray]
    reference_labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def right(self) -> np.ndarray:
        """(3, m) bool: the first answer is a true source."""
        return self.best_rank == 1

    def members(self, outcome: Outcome | str) -> np.ndarray:
        """(m,) bool: the queries of one class."""
        backbone, aligned, disentangled = self.right
        return {
            Outcome.FIXED_BY_ALIGNMENT: ~backbone & aligned,
            Outcome.BROKEN_BY_ALIGNMENT: backbone & ~aligned,
            Outcome.FIXED_BY_DISENTANGLING: ~aligned & disentangled,
            Outcome.BROKEN_BY_DISENTANGLING: aligned & ~disentangled,
            Outcome.RIGHT_EVERYWHERE: self.right.all(0),
            Outcome.WRONG_EVERYWHERE: ~self.right.any(0),
        }[Outcome(outcome)]

    def figures(self, measure: str) -> np.ndarray:
        """(3, m) float64 of one of ``MEASURES``, as aad.metrics defines them for one query."""
        n_sources = np.array([len(ids) for ids in self.exemplar_ids])
        found = {"R@1": self.right / n_sources, "R@5": self.n_first_five / n_sources}
        return found.get(measure, 1 / self.best_rank)

    def recall(self, rows: np.ndarray | slice, measure: str) -> dict[str, Any]:
        """Means of the queries in ``rows`` ((m,) bool), with bootstrap 95 % intervals over concepts.

        Returns:
            ``n`` queries, ``n_concepts`` (of few, an interval says little), and ``[mean, low, high]`` for each of ``spaces`` and
            for each of ``steps``, the paired difference that a step makes.

        Raises:
            ValueError: no query is left.
        """
        figures, concepts = self.figures(measure)[:, rows], self.labels["concept"][rows].tolist()

        def triples(values: np.ndarray) -> list[list[float]]:
            return [[round(part, 6) for part in bootstrap_interval(one, concepts)] for one in values]

        told = {"spaces": triples(figures), "steps": triples(np.diff(figures, axis=0))}
        return {"n": len(concepts), "n_concepts": len(set(concepts)), **told}

    def occurrence(self, space: Space | str, rows: np.ndarray | slice = EVERY) -> tuple[np.ndarray, np.ndarray]:
        """k-occurrence of each reference, (n,): among the ten nearest of how many queries; of how many of them as a source."""
        n, chosen = len(self.reference_labels["group"]), np.arange(len(self))[rows]
        near = self.neighbours[SPACES.index(Space(space)), chosen]
        found = zip(chosen, near.tolist(), strict=True)
        deserved = [i for row, ids in found for i in ids if i in self.exemplar_ids[row]]
        return np.bincount(near.ravel(), minlength=n), np.bincount(np.array(deserved, dtype=np.int64), minlength=n)

    def retrieving(self, space: Space | str, reference_id: int) -> np.ndarray:
        """(m,) bool: the queries that have a reference among their ten nearest."""
        return (self.neighbours[SPACES.index(Space(space))] == reference_id).any(1)


def skewness(counts: np.ndarray) -> float:
    """Third standardised moment, with the moments of the population; 0 where all counts are alike.

    Of N_10 over references it is 0 for a symmetric spread, large and positive where a few hubs are near everything (Radovanovic,
    Nanopoulos, Ivanovic, JMLR 2010; they count within one set, here queries retrieve references). A gallery in which only some
    references are true sources is skewed somewhat by right answers too.

    >>> skewness(np.array([1, 1, 1, 1, 6])), skewness(np.array([2, 2, 2]))
    (1.5, 0.0)
    """
    gaps = counts - counts.mean() if len(counts) else np.zeros(1)
    spread = np.sqrt((gaps**2).mean())
    return float((gaps**3).mean() / spread**3) if spread > 0 else 0.0


def compute_outcomes(attributor: Attributor) -> Outcomes:
    """Search every bundled query with known sources in every space; some queries at a time, which changes no result."""
    known = [query for query in attributor.queries if query.exemplar_ids]
    references, n = attributor.references, len(attributor.references)
    m, k = len(known), min(N_NEIGHBOURS, n)
    best_rank, n_first_five = np.zeros((2, len(SPACES), m), np.int64)
    neighbours = np.zeros((len(SPACES), m, k), np.int32)
    similarity, weight = np.zeros((2, len(SPACES), m), np.float32)
    step = max(LEAST, N_CELLS // max(1, n))
    for s, space in enumerate(SPACES):
        for start in range(0, m, step):
            part = known[start : start + step]
            cosines = attributor.similarities([query.query_id for query in part], space)
            for row, (query, own) in enumerate(zip(part, cosines, strict=True), start):
                ranks = exemplar_ranks(own, query.exemplar_ids)
                best_rank[s, row], n_first_five[s, row] = ranks[0], (ranks <= 5).sum()
                near = may_be_among(own, k)
                neighbours[s, row] = near[np.argsort(-own[near], kind="stable")[:k]]  # ties by id
                similarity[s, row] = own[neighbours[s, row, 0]]
                calibration = attributor.calibration[space]
                weight[s, row] = calibration.shares(similarity[s, [row]], calibration.log_mass(own))[0][0]
    labels = {key: _text(getattr(query, key) for query in known) for key in ("type", "generator", "split", "concept")}
    labels["group"] = _text(references[query.exemplar_ids[0]].group for query in known)
    return Outcomes(
        query_ids=np.array([query.query_id for query in known], np.int64),
        exemplar_ids=tuple(query.exemplar_ids for query in known),
        best_rank=best_rank,
        n_first_five=n_first_five,
        neighbours=neighbours,
        similarity=similarity,
        weight=weight,
        labels=labels,
        reference_labels={key: _text(references.words(key)) for key in ("concept", "group")},
    )


_KEPT: weakref.WeakKeyDictionary[Attributor, Outcomes] = weakref.WeakKeyDictionary()
_COMPUTING = threading.Lock()


def outcomes_of(attributor: Attributor) -> Outcomes:
    """The outcomes of an attributor, computed when first asked for and kept as long as it lives; threads wait for one another."""
    with _COMPUTING:
        if (kept := _KEPT.get(attributor)) is None:
            kept = _KEPT[attributor] = compute_outcomes(attributor)
        return kept


def _text(values: Any) -> np.ndarray:
    return np.array([str(value or "") for value in values], dtype=object)
