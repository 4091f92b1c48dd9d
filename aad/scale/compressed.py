"""Codes in memory find what may be near, and rows on disk say how near it is; a sample stands for the mass of the rest."""

import numpy as np

from aad import search
from aad.scale.codes import FlatCodes
from aad.scale.stored import StoredRows
from aad.search import WORTH_A_SCAN, ExactIndex, SearchResult, log_sum_exp

PER_NAMED = 7  # candidates for each row to be named, at least


class TailSample:
    """A fixed sample of a gallery, kept in memory, that stands for the rows which a search did not look at.

    Args:
        rows: (s, d) float32 rows of unit length, drawn evenly from the gallery.
        ids: (s,) int64, their ids, each once.
        n: rows of the gallery.
    """

    def __init__(self, rows: np.ndarray, ids: np.ndarray, n: int) -> None:
        self.rows, self.ids, self.n = rows, ids, n

    def log_mass(
        self, query: np.ndarray, beta: float, ids: np.ndarray, similarities: np.ndarray, without: int | None = None
    ) -> float:
        """Log of the sum of ``exp(beta * s)`` over the gallery.

        Exact where the candidates are the whole gallery. Otherwise the rows of the sample that are no candidates are taken for
        all such rows.

        Args:
            query: (d,) float32.
            beta: inverse temperature.
            ids: (c,) candidates.
            similarities: (c,) their exact similarities.
            without: id of a row that is not in the gallery, nor among the candidates.
        """
        near = float(log_sum_exp(similarities[None], beta)[0])
        n_tail = self.n - len(ids) - (without is not None)
        if n_tail <= 0:
            return near
        in_tail = ~np.isin(self.ids, ids) & (self.ids != (-1 if without is None else without))
        tail = (self.rows @ query)[in_tail]
        if not len(tail):  # all of the sample is near; a row that is not is at most as similar as the last that is
            tail = similarities.min(keepdims=True)
        mean = float(log_sum_exp(tail[None], beta)[0]) - np.log(len(tail))
        return float(np.logaddexp(near, np.log(n_tail) + mean))


class CompressedIndex(ExactIndex):
    """Codes of all rows in memory, the rows themselves on disk.

    Similarities and their order are exact for the rows that were candidates; a nearest row may have been none of them, at the rate
    that ``build_index`` measured. Under ``among`` the ranking is exact, and so is everything where so many candidates are wanted
    that all rows are read. The mass is an estimate otherwise: exact for the candidates, and a sample stands for the rest.

    Args:
        rows: the gallery.
        codes: its codes.
        sample: some of its rows, for the mass.
        rerank: candidates of a query, at least 1; seven times k where that is more.
    """

    def __init__(self, rows: StoredRows, codes: FlatCodes, sample: TailSample, rerank: int) -> None:
        super().__init__(rows)
        self._stored, self._codes, self._sample, self.rerank = rows, codes, sample, rerank

    def _find(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, without: int | None, beta: float | None
    ) -> SearchResult:
        if self.reads_all(k):
            return super()._find(queries, k, allowed, without, beta)
        ranked, log_mass = [], None if beta is None else np.empty(len(queries))
        named = None if allowed is None else np.flatnonzero(allowed)
        seeks = named is None or beta is not None
        found = self._codes.candidates(queries, self.n_candidates(k)) if seeks else [named] * len(queries)
        for row, (query, ids) in enumerate(zip(queries, found, strict=True)):
            ids = ids[(ids >= 0) & (ids != (-1 if without is None else without))]
            about = self._stored.similarities(ids, query)
            if log_mass is not None and beta is not None:
                log_mass[row] = self._sample.log_mass(query, beta, ids, about, without)
            if named is not None and seeks:
                ids, about = named, self._stored.similarities(named, query)
            ranked.append(search.nearest_exactly(query, ids[search.may_be_among(about, k)], self.rows, k))
        return search.stacked(ranked, log_mass, estimated=beta is not None)

    def n_candidates(self, k: int) -> int:
        """How many rows a search for k compares exactly."""
        return max(self.rerank, PER_NAMED * k)

    def reads_all(self, k: int) -> bool:
        """Whether those are so many that a search looks at all rows instead."""
        return self.n_candidates(k) * WORTH_A_SCAN >= len(self)
