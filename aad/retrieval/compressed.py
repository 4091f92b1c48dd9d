"""Search by codes in memory for candidates, compared exactly with their rows on disk."""

from typing import Protocol

import numpy as np

from aad.retrieval.exact import MARGIN, WORTH_A_SCAN, ScanIndex, nearest_exactly, stacked
from aad.retrieval.mass import TailSample
from aad.retrieval.search import SearchResult, check_search
from aad.retrieval.stored import StoredRows

PER_NAMED = 10  # candidates for each row to be named, at least


class Candidates(Protocol):
    """Codes that can be searched: see ``aad.retrieval.codes``."""

    def candidates(self, queries: np.ndarray, c: int) -> np.ndarray:
        """(m, c) ids of the rows most similar to (m, d) queries as far as codes tell; -1 where there are fewer."""


class CompressedIndex:
    """Codes of all rows in memory, the rows themselves on disk.

    Similarities and their order are exact for the rows that were candidates; a nearest row may have been none of them, at the rate
    that ``build_index`` measured. Under ``among`` the ranking is exact. The mass is an estimate: exact for the candidates, and a
    sample stands for the rest.

    Args:
        rows: the gallery.
        codes: its codes.
        sample: some of its rows, for the mass.
        rerank: candidates of a query, at least; ten times k where that is more.
    """

    def __init__(self, rows: StoredRows, codes: Candidates, sample: TailSample, rerank: int) -> None:
        if rerank < 1:
            raise ValueError(f"rerank must be at least 1, got {rerank}")
        self.stored, self._codes, self._sample, self.rerank = rows, codes, sample, rerank
        self._scan = ScanIndex(rows)

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
        """As ``Index.search``; the mass is an estimate, unless so many candidates are wanted that all rows are read."""
        queries, allowed = check_search(queries, k, self, among, without)
        if self.reads_all(k):
            return self._scan.search(queries, k, among=among, without=without, inverse_temperature=inverse_temperature)
        if allowed is not None and inverse_temperature is None:
            return self._scan.search(queries, k, among=among, without=without)
        found = self._codes.candidates(queries, self.n_candidates(k))
        ranked = []
        log_mass = None if inverse_temperature is None else np.empty(len(queries))
        for row, (query, ids) in enumerate(zip(queries, found, strict=True)):
            ids = np.sort(ids[ids >= 0])
            if without is not None:
                ids = ids[ids != without]
            about = self.stored.similarities(ids, query)
            if log_mass is not None and inverse_temperature is not None:
                log_mass[row] = self._sample.log_mass(
                    query[None], inverse_temperature, ids[None], about[None], without
                )[0]
            if len(ids) > k:
                ids = ids[about >= np.partition(about, -k)[-k] - MARGIN]
            near, similarities = nearest_exactly(query, ids, self.rows, k)
            if len(near) < k and allowed is None:  # cells that held too few
                exact = self._scan.search(query[None], k, without=without)
                near, similarities = exact.ids[0], exact.similarities[0]
            ranked.append((near, similarities))
        estimated = inverse_temperature is not None
        if allowed is not None:
            named = self._scan.search(queries, k, among=among, without=without)
            return SearchResult(named.ids, named.similarities, log_mass, estimated)
        return stacked(ranked, log_mass, estimated)

    def n_candidates(self, k: int) -> int:
        """How many rows a search for k compares exactly."""
        return max(self.rerank, PER_NAMED * k)

    def reads_all(self, k: int) -> bool:
        """Whether those are so many that a search looks at all rows instead."""
        return self.n_candidates(k) * WORTH_A_SCAN >= len(self)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32, by a full scan of the disk."""
        return self._scan.similarities(queries)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32 rows of these ids."""
        return self.stored[ids]
