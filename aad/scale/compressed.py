"""Rows on disk: all of them read for each search, or those that codes in memory find."""

from collections.abc import Iterator

import numpy as np

from aad import search
from aad.scale.codes import FlatCodes
from aad.scale.mass import TailSample
from aad.scale.stored import StoredRows
from aad.search import Index, SearchResult

PER_NAMED = 10  # candidates for each row to be named, at least
WORTH_A_SCAN = 8  # reading one row in so many here and there takes as long as reading them all in order
Parts = Iterator[tuple[np.ndarray, np.ndarray]]  # (c,) ids, ascending, and their (c, d) rows


class ScanIndex(Index):
    """Rows on disk, all of them read for each search: exact, slow, and of no memory.

    Args:
        rows: the gallery.
    """

    def __init__(self, rows: StoredRows) -> None:
        super().__init__(*rows.shape)
        self.stored = rows

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32."""
        queries = search.check_queries(queries, self.dim)
        found = np.empty((len(queries), len(self)), np.float32)
        for start, rows in self.stored.chunks():
            found[:, start : start + len(rows)] = queries @ rows.T
        return found

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids."""
        return self.stored[ids]

    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        parts: Parts = ((np.arange(start, start + len(chunk)), chunk) for start, chunk in self.stored.chunks())
        if allowed is not None and beta is None and WORTH_A_SCAN * allowed.sum() < len(self):
            parts = some_rows(self.stored, np.flatnonzero(allowed))
        return search.scan(parts, self.rows, queries, k, allowed, without, beta)


def some_rows(rows: StoredRows, ids: np.ndarray) -> Parts:
    """The rows of ascending ids for ``scan``."""
    step = search.rows_in(search.CHUNK_BYTES, rows.shape[1])
    return ((ids[start : start + step], rows[ids[start : start + step]]) for start in range(0, len(ids), step))


class CompressedIndex(ScanIndex):
    """Codes of all rows in memory, the rows themselves on disk.

    Similarities and their order are exact for the rows that were candidates; a nearest row may have been none of them, at the rate
    that ``build_index`` measured. Under ``among`` the ranking is exact, and so is everything where so many candidates are wanted
    that all rows are read. The mass is an estimate otherwise: exact for the candidates, and a sample stands for the rest.

    Args:
        rows: the gallery.
        codes: its codes.
        sample: some of its rows, for the mass.
        rerank: candidates of a query, at least; ten times k where that is more.
    """

    def __init__(self, rows: StoredRows, codes: FlatCodes, sample: TailSample, rerank: int) -> None:
        super().__init__(rows)
        if rerank < 1:
            raise ValueError(f"rerank must be at least 1, got {rerank}")
        self._codes, self._sample, self.rerank = codes, sample, rerank

    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        if self.reads_all(k) or (allowed is not None and beta is None):
            return super()._find(queries, k, allowed, without, beta)
        ranked, log_mass = [], None if beta is None else np.empty(len(queries))
        found = self._codes.candidates(queries, self.n_candidates(k))
        for row, (query, ids) in enumerate(zip(queries, found, strict=True)):
            ids = np.sort(ids[(ids >= 0) & (ids != (-1 if without is None else without))])
            about = self.stored.similarities(ids, query)
            if log_mass is not None and beta is not None:
                log_mass[row] = self._sample.log_mass(query, beta, ids, about, without)
            if allowed is None:
                ranked.append(search.nearest_exactly(query, ids[search.may_be_among(about, k)], self.rows, k))
        if allowed is not None:
            named = super()._find(queries, k, allowed, without, None)
            return SearchResult(named.ids, named.similarities, log_mass, estimated=True)
        return search.stacked(ranked, log_mass, estimated=beta is not None)

    def n_candidates(self, k: int) -> int:
        """How many rows a search for k compares exactly."""
        return max(self.rerank, PER_NAMED * k)

    def reads_all(self, k: int) -> bool:
        """Whether those are so many that a search looks at all rows instead."""
        return self.n_candidates(k) * WORTH_A_SCAN >= len(self)
