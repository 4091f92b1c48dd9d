"""Cosine search over the references of one space: every row is looked at, and what is named is compared once more.

    found = ExactIndex(rows).search(queries, k=10)      # found.ids, found.similarities

A product in float32 finds the rows that may be among the k best. Those few are compared again one by one, in float64 rounded to
float32: a matrix product gives equal rows other last bits in other places of the matrix, and a product of two rows does not.
So the same stored row has the same similarity in every index, equal rows tie, and ties go by id. Galleries too large for memory
are searched behind the same three methods by ``aad.scale``, which is imported by name where one is opened.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 1e-5  # of cosine, far beyond what float32 loses in a product of unit rows (about 1e-6)
CHUNK_BYTES = 64 << 20  # of float32 rows compared at a time; larger is no faster
WORTH_A_SCAN = 8  # picking one row in so many here and there takes as long as reading them all in order
WIDEN = 1024  # rows read, and held in float64, at a time
N_EXACT = 200_000  # up to here rows fit in memory; beyond, memory and time favour the codes of ``aad.scale``
NEAR_COPY = 0.96  # cosine of backbone features from which two references are one picture, where a backbone's record says no other
ReadRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The k nearest references of m queries, best first.

    Attributes:
        ids: (m, k') int64 reference ids, ties by id; k' is k, or all that may be named when those are fewer.
        similarities: (m, k') float32, the exact cosine of the stored rows.
        log_mass: (m,) float64, log of the sum of ``exp(beta * similarity)`` over the whole gallery; None when not asked for.
        estimated: whether ``log_mass`` is an estimate.
    """

    ids: np.ndarray
    similarities: np.ndarray
    log_mass: np.ndarray | None = None
    estimated: bool = False


class Index(ABC):
    """The references of one space, ready for questions. Read-only, and safe to share between threads.

    Args:
        n: how many references.
        dim: columns of a query.
    """

    def __init__(self, n: int, dim: int) -> None:
        self._n, self.dim = n, dim

    def __len__(self) -> int:
        return self._n

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        among: np.ndarray | None = None,
        without: int | None = None,
        inverse_temperature: float | None = None,
    ) -> SearchResult:
        """The k nearest references of each query.

        Args:
            queries: (m, d) float32 rows of unit length.
            k: how many, at least 1.
            among: (n,) bool, the references that may be named; the ranking is then exact among them.
            without: id of a reference that is not in the gallery: neither named nor in the mass.
            inverse_temperature: ``beta``, which asks for ``log_mass``; that of the whole gallery even under ``among``.

        Raises:
            ValueError: an argument of another shape, type or range.
        """
        queries, n = check_queries(queries, self.dim), len(self)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if without is not None and not 0 <= without < n:
            raise ValueError(f"without must be the id of a reference, 0 to {n - 1}, got {without}")
        if among is not None:
            among = np.array(among)
            if among.shape != (n,) or among.dtype != bool:
                raise ValueError(f"among must be ({n},) bool, got {among.shape} {among.dtype}")
            if without is not None:
                among[without] = False
        return self._find(queries, k, among, without, inverse_temperature)

    @abstractmethod
    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32, by a full scan."""

    @abstractmethod
    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32, the stored rows of these ids, of unit length."""

    @abstractmethod
    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        """``search`` of checked arguments; ``allowed`` never holds ``without``."""


class ExactIndex(Index):
    """All rows are looked at for each search; all is exact.

    Args:
        embeddings: (n, d) float32 with rows of unit length, one per reference, in reference order; or an
            ``aad.scale.stored.StoredRows``, which reads them from disk each time: slow, and of no memory.
    """

    def __init__(self, embeddings: Any) -> None:
        in_memory = isinstance(embeddings, np.ndarray)
        self.embeddings = np.ascontiguousarray(embeddings, dtype=np.float32) if in_memory else embeddings
        super().__init__(*self.embeddings.shape)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32."""
        queries = check_queries(queries, self.dim)
        found = np.empty((len(queries), len(self)), np.float32)
        for ids, rows in self._parts(np.arange(len(self))):
            found[:, ids[0] : ids[-1] + 1] = queries @ rows.T
        return found

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids."""
        return self.embeddings[ids]

    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        wanted = np.arange(len(self))
        if allowed is not None and beta is None and WORTH_A_SCAN * allowed.sum() < len(self):
            wanted = np.flatnonzero(allowed)
        near = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        log_mass = np.full(len(queries), -np.inf)
        for ids, rows in self._parts(wanted):
            similarities = queries @ rows.T
            if without is not None:
                similarities, ids = similarities[:, ids != without], ids[ids != without]
            if beta is not None:
                log_mass = np.logaddexp(log_mass, log_sum_exp(similarities, beta))
            if allowed is not None:
                similarities, ids = similarities[:, allowed[ids]], ids[allowed[ids]]
            for i, (best, their) in enumerate(near):
                both = np.concatenate([best, ids]), np.concatenate([their, similarities[i]])
                kept = may_be_among(both[1], k)
                near[i] = both[0][kept], both[1][kept]
        ranked = [nearest_exactly(query, ids, self.rows, k) for query, (ids, _) in zip(queries, near, strict=True)]
        return stacked(ranked, log_mass if beta is not None else None)

    def _parts(self, ids: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ascending ids and their rows, a chunk at a time."""
        step = rows_in(CHUNK_BYTES, self.dim)
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            yield ids[part], self.embeddings[part if len(ids) == len(self) else ids[part]]


def may_be_among(similarities: np.ndarray, k: int) -> np.ndarray:
    """Places of the (c,) similarities, to about 1e-6, that may be among the k largest; ascending.

    >>> may_be_among(np.array([0.5, 0.9, 0.899999, 0.1]), 1).tolist()
    [1, 2]
    """
    if len(similarities) <= k:
        return np.arange(len(similarities))
    return np.flatnonzero(similarities >= np.partition(similarities, -k)[-k] - MARGIN)


def nearest_exactly(query: np.ndarray, ids: np.ndarray, read_rows: ReadRows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar of some rows: their ids, best first and ties by id, and their (k,) float32 similarities."""
    ids = np.sort(ids)
    similarities = np.empty(len(ids), np.float32)
    for a in range(0, len(ids), WIDEN):
        wide = read_rows(ids[a : a + WIDEN]).astype(np.float64)
        similarities[a : a + WIDEN] = np.einsum("ij,j->i", wide, query.astype(np.float64))
    order = np.lexsort((ids, -similarities))[:k]
    return ids[order], similarities[order]


def stacked(
    ranked: list[tuple[np.ndarray, np.ndarray]], log_mass: np.ndarray | None, estimated: bool = False
) -> SearchResult:
    """One result of the (ids, similarities) of each query, all of one length; (0, 0) of no query."""
    if not ranked:
        return SearchResult(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32), log_mass, estimated)
    ids, similarities = (np.stack(column) for column in zip(*ranked, strict=True))
    return SearchResult(ids, similarities, log_mass, estimated)


def log_sum_exp(similarities: np.ndarray, beta: float) -> np.ndarray:
    """(m,) float64, log of the sum of ``exp(beta * s)`` along (m, c) similarities; minus infinity where c is 0."""
    sums = np.full(len(similarities), -np.inf)
    if similarities.shape[1]:
        for row, values in enumerate(similarities):  # one at a time: the float64 copy of all would be large
            logits = beta * values.astype(np.float64)
            sums[row] = (top := logits.max()) + np.log(np.exp(logits - top).sum())
    return sums


def method_for(n: int) -> str:
    """How a gallery of n references is searched unless a bundle says otherwise.

    >>> [method_for(n) for n in (200_000, 200_001)]
    ['exact', 'compressed']
    """
    return "exact" if n <= N_EXACT else "compressed"


def rows_in(n_bytes: int, d: int) -> int:
    """How many float32 rows of d values fit into some bytes; one where none does.

    >>> rows_in(1000, 3), rows_in(11, 3), rows_in(1000, 0)
    (83, 1, 250)
    """
    return n_bytes // (4 * max(1, d)) or 1


def check_queries(queries: np.ndarray, dim: int) -> np.ndarray:
    """The queries as contiguous float32.

    Raises:
        ValueError: they are not (m, dim), or a value is not finite.
    """
    queries = np.asarray(queries)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must be (m, {dim}), got {queries.shape}")
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if not np.isfinite(queries).all():
        raise ValueError("queries must be finite, got NaN or infinity; was an image embedded that could not be read?")
    return queries
