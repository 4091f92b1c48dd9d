"""Exact search: every row is looked at.

A scan in float32 finds the rows that may be among the k best. Those few are compared again one by one, in float64 rounded to
float32: a matrix product gives equal rows other last bits in other places of the matrix, and a product of two rows does not.
So the same stored row has the same similarity in every class, equal rows tie, and ties go by id.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from aad.retrieval.search import SearchResult, check_ids, check_queries, check_search
from aad.retrieval.stored import CHUNK_BYTES, StoredRows, rows_in

MARGIN = 1e-5  # of cosine, far beyond what float32 loses in a product of unit rows (about 1e-6)
WORTH_A_SCAN = 8  # reading one row in so many here and there takes as long as reading them all in order
READ, WIDEN = 16_384, 64  # rows read, and rows of them held in float64, at a time
Part = tuple[np.ndarray, np.ndarray]  # (c,) ids, ascending, and their (c, d) rows
ReadRows = Callable[[np.ndarray], np.ndarray]


class ExactIndex:
    """Rows in memory.

    Args:
        embeddings: (n, d) float32 with rows of unit length, one per reference, in reference order.
    """

    def __init__(self, embeddings: np.ndarray) -> None:
        self.embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        if self.embeddings.ndim != 2:
            raise ValueError(f"embeddings must be (n, d), got {self.embeddings.shape}")

    @property
    def dim(self) -> int:
        """Columns of a query."""
        return self.embeddings.shape[1]

    def __len__(self) -> int:
        return len(self.embeddings)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        among: np.ndarray | None = None,
        without: int | None = None,
        inverse_temperature: float | None = None,
    ) -> SearchResult:
        """As ``Index.search``; all is exact."""
        queries, allowed = check_search(queries, k, self, among, without)
        step = rows_in(CHUNK_BYTES, self.dim)
        parts = (
            (np.arange(start, min(start + step, len(self))), self.embeddings[start : start + step])
            for start in range(0, len(self), step)
        )
        return scan(parts, self.rows, queries, k, allowed, without, inverse_temperature)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32."""
        return check_queries(queries, self.dim) @ self.embeddings.T

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids."""
        return self.embeddings[check_ids(ids, len(self))]


class ScanIndex:
    """Rows on disk, all of them read for each search: slow, and of no memory.

    Args:
        rows: the gallery.
    """

    def __init__(self, rows: StoredRows) -> None:
        self.stored = rows

    @property
    def dim(self) -> int:
        """Columns of a query."""
        return self.stored.shape[1]

    def __len__(self) -> int:
        return len(self.stored)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        among: np.ndarray | None = None,
        without: int | None = None,
        inverse_temperature: float | None = None,
    ) -> SearchResult:
        """As ``Index.search``; all is exact."""
        queries, allowed = check_search(queries, k, self, among, without)
        parts = every_row(self.stored)
        if allowed is not None and inverse_temperature is None:
            ids = np.flatnonzero(allowed)
            if WORTH_A_SCAN * len(ids) < len(self):
                parts = some_rows(self.stored, ids)
        return scan(parts, self.rows, queries, k, allowed, without, inverse_temperature)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32."""
        queries = check_queries(queries, self.dim)
        found = np.empty((len(queries), len(self)), np.float32)
        for start, rows in self.stored.chunks():
            found[:, start : start + len(rows)] = queries @ rows.T
        return found

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids."""
        return self.stored[ids]


def every_row(rows: StoredRows) -> Iterator[Part]:
    """All rows for ``scan``, read in order."""
    return ((np.arange(start, start + len(chunk)), chunk) for start, chunk in rows.chunks())


def some_rows(rows: StoredRows, ids: np.ndarray) -> Iterator[Part]:
    """The rows of ascending ids for ``scan``."""
    step = rows_in(CHUNK_BYTES, rows.shape[1])
    return ((ids[start : start + step], rows[ids[start : start + step]]) for start in range(0, len(ids), step))


def scan(
    parts: Iterable[Part],
    read_rows: ReadRows,
    queries: np.ndarray,
    k: int,
    allowed: np.ndarray | None = None,
    without: int | None = None,
    inverse_temperature: float | None = None,
) -> SearchResult:
    """One pass over rows for the k nearest of each query and, where asked for, the mass of all of them.

    Args:
        parts: the rows, each once.
        read_rows: gives rows by id for the second look.
        queries: (m, d) float32.
        k: how many.
        allowed: (n,) bool, which may be named; None for all.
        without: id of a row to leave out of everything.
        inverse_temperature: ``beta`` of the mass.
    """
    best = [_Best(k) for _ in queries]
    log_mass = np.full(len(queries), -np.inf)
    for part_ids, rows in parts:
        similarities, ids = queries @ rows.T, part_ids
        if without is not None:
            similarities, ids = similarities[:, ids != without], ids[ids != without]
        if inverse_temperature is not None:
            log_mass = np.logaddexp(log_mass, log_sum_exp(similarities, inverse_temperature))
        if allowed is not None:
            similarities, ids = similarities[:, allowed[ids]], ids[allowed[ids]]
        for row, one in zip(similarities, best, strict=True):
            one.take(ids, row)
    ranked = [nearest_exactly(query, one.ids, read_rows, k) for query, one in zip(queries, best, strict=True)]
    return stacked(ranked, log_mass if inverse_temperature is not None else None)


def nearest_exactly(query: np.ndarray, ids: np.ndarray, read_rows: ReadRows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar of some rows: their ids, best first and ties by id, and their (k,) float32 similarities."""
    ids = np.sort(ids)
    query = query.astype(np.float64)
    similarities = np.empty(len(ids), np.float32)
    for start in range(0, len(ids), READ):
        rows = read_rows(ids[start : start + READ])
        for a in range(0, len(rows), WIDEN):
            wide = rows[a : a + WIDEN].astype(np.float64)
            similarities[start + a : start + a + WIDEN] = np.einsum("ij,j->i", wide, query)
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


def log_sum_exp(similarities: np.ndarray, inverse_temperature: float) -> np.ndarray:
    """(m,) float64, log of the sum of ``exp(beta * s)`` along (m, c) similarities; minus infinity where c is 0."""
    sums = np.full(len(similarities), -np.inf)
    if similarities.shape[1]:
        for row, values in enumerate(similarities):  # one at a time: the float64 copy of all would be large
            logits = inverse_temperature * values.astype(np.float64)
            sums[row] = (top := logits.max()) + np.log(np.exp(logits - top).sum())
    return sums


class _Best:
    """The rows that may be among the k best of one query, of those seen so far."""

    def __init__(self, k: int) -> None:
        self.k, self.floor = k, -np.inf
        self.ids, self.similarities = np.zeros(0, np.int64), np.zeros(0, np.float32)

    def take(self, ids: np.ndarray, similarities: np.ndarray) -> None:
        near = np.flatnonzero(similarities >= self.floor)
        self.ids = np.concatenate([self.ids, ids[near]])
        self.similarities = np.concatenate([self.similarities, similarities[near]])
        if len(self.ids) > self.k:
            self.floor = np.partition(self.similarities, -self.k)[-self.k] - MARGIN
            kept = self.similarities >= self.floor
            self.ids, self.similarities = self.ids[kept], self.similarities[kept]
