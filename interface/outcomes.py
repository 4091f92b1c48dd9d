"""What each space made of every bundled query with known sources: what it gets right, what it confuses, which hubs it has.

outcomes = outcomes_of(Attributor.load())               # computed once per attributor
rows = outcomes.members(Outcome.BROKEN_BY_ALIGNMENT)    # (m,) bool
outcomes.recall(rows)                                   # mean and interval per space

Ranks and ties are those of `aad.metrics.exemplar_ranks`. Rows of m queries come in the order of their query ids.
"""

import threading
import weakref
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from aad import Attributor
from aad.metrics import Interval, bootstrap_interval, exemplar_ranks
from aad.references import words_of
from aad.search import may_be_among
from aad.spaces import SPACES, Space

N_NEIGHBOURS = 10  # the k of k-occurrence, as in Radovanovic et al.
N_CELLS = 4_000_000  # similarities held at a time: 16 MB
LEAST = 16  # queries at a time, whatever that holds: a large gallery is read from disk for each part
MEASURES = ("R@1", "R@5", "MRR")
FACTORS = ("type", "generator", "group", "split")
STEPS = ((Space.BACKBONE, Space.ALIGNED), (Space.ALIGNED, Space.DISENTANGLED))


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
class Recall:
    """A measure over some queries: its mean per space, and the paired difference that each step makes."""

    n_queries: int
    n_concepts: int  # of few concepts, an interval says little
    spaces: dict[Space, Interval]
    steps: dict[Space, Interval]  # by the step's later space


@dataclass(frozen=True, slots=True)
class Hubness:
    """How evenly a space hands out its first ten places.

    Attributes:
        counts: (n,) k-occurrence N_10: among the ten nearest references of how many queries each reference is.
        deserved: (n,) how many of these queries it is a true source of.
        skewness: third standardised moment of N_10 over references. 0 for a symmetric spread, large and positive where a few hubs
            are near everything (Radovanovic, Nanopoulos, Ivanovic, JMLR 2010; they count within one set, here queries retrieve
            references). A gallery in which only some references are true sources is skewed somewhat by right answers too.
    """

    counts: np.ndarray
    deserved: np.ndarray
    skewness: float


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

    def figures(self, measure: str = "R@1") -> np.ndarray:
        """(3, m) float64 of one of ``MEASURES``, as aad.metrics defines them for one query."""
        n_sources = np.array([len(ids) for ids in self.exemplar_ids])
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
        found = {"R@1": self.right / n_sources, "R@5": self.n_first_five / n_sources}
        return found.get(measure, 1 / self.best_rank)

    def recall(self, rows: np.ndarray | None = None, measure: str = "R@1") -> Recall:
        """Means with bootstrap 95 % intervals over concepts, of the queries in ``rows`` ((m,) bool; all of them by default).

        Raises:
            ValueError: no query is left, or there is no such measure.
        """
        rows = self._rows(rows)
        figures, concepts = self.figures(measure)[:, rows], self.labels["concept"][rows].tolist()
        by_space = dict(zip(SPACES, figures, strict=True))
        return Recall(
            n_queries=len(concepts),
            n_concepts=len(set(concepts)),
            spaces={space: bootstrap_interval(values, concepts) for space, values in by_space.items()},
            steps={
                later: bootstrap_interval(by_space[later] - by_space[earlier], concepts) for earlier, later in STEPS
            },
        )

    def recall_by(self, factor: str, rows: np.ndarray | None = None, measure: str = "R@1") -> dict[str, Recall]:
        """``recall`` for each value of one of ``FACTORS``, in the order of their names."""
        rows = self._rows(rows)
        values = self.labels[factor]
        return {str(v): self.recall(rows & (values == v), measure) for v in np.unique(values[rows])}

    def hubness(self, space: Space | str, rows: np.ndarray | None = None) -> Hubness:
        """k-occurrence of every reference over the queries in ``rows``."""
        s, n = SPACES.index(Space(space)), len(self.reference_labels["group"])
        chosen = np.flatnonzero(self._rows(rows))
        near = self.neighbours[s, chosen]
        counts = np.bincount(near.ravel(), minlength=n)
        deserved = [
            i for row, ids in zip(chosen, near.tolist(), strict=True) for i in ids if i in self.exemplar_ids[row]
        ]
        return Hubness(counts, np.bincount(np.array(deserved, dtype=np.int64), minlength=n), skewness(counts))

    def retrieving(self, space: Space | str, reference_id: int) -> np.ndarray:
        """(m,) bool: the queries that have a reference among their ten nearest."""
        return (self.neighbours[SPACES.index(Space(space))] == reference_id).any(1)

    def _rows(self, rows: np.ndarray | None) -> np.ndarray:
        return np.ones(len(self), bool) if rows is None else rows


def skewness(counts: np.ndarray) -> float:
    """Third standardised moment, with the moments of the population; 0 where all counts are alike.

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
        reference_labels={key: _text(words_of(references, key)) for key in ("concept", "group")},
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
