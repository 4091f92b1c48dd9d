"""The mass of a gallery of which only the nearest rows were looked at: exact for those, estimated for the rest."""

import numpy as np

from aad.search import log_sum_exp


class TailSample:
    """A fixed sample of a gallery, kept in memory, that stands for the rows which a search did not look at.

    Args:
        rows: (s, d) rows of unit length, drawn evenly from the gallery.
        ids: (s,) their ids.
        n: rows of the gallery.

    Raises:
        ValueError: shapes that do not fit, or ids outside the gallery or given twice.
    """

    def __init__(self, rows: np.ndarray, ids: np.ndarray, n: int) -> None:
        self.rows = np.ascontiguousarray(rows, dtype=np.float32)
        self.ids = np.asarray(ids).astype(np.int64)
        self.n = n
        if self.rows.ndim != 2 or self.ids.shape != (len(self.rows),):
            raise ValueError(f"a sample must be (s, d) rows with (s,) ids, got {self.rows.shape} and {self.ids.shape}")
        if len(self.ids) and (self.ids.min() < 0 or self.ids.max() >= n or len(np.unique(self.ids)) != len(self.ids)):
            raise ValueError(f"ids of a sample must be different and within 0 to {n - 1}")

    def log_mass(
        self,
        queries: np.ndarray,
        inverse_temperature: float,
        ids: np.ndarray,
        similarities: np.ndarray,
        without: int | None = None,
    ) -> np.ndarray:
        """Log of the sum of ``exp(beta * s)`` over the gallery, (m,) float64.

        Exact where the candidates are the whole gallery. Otherwise the rows of the sample that are no candidates are taken for
        all such rows.

        Args:
            queries: (m, d) float32.
            inverse_temperature: ``beta``.
            ids: (m, c) candidates of each query; -1 where there are fewer than c.
            similarities: (m, c) their exact similarities.
            without: id of a row that is not in the gallery.
        """
        found = np.empty(len(queries))
        for row, query in enumerate(queries):
            real = ids[row] >= 0
            if without is not None:
                real &= ids[row] != without
            candidates, near = ids[row][real], similarities[row][real]
            found[row] = log_sum_exp(near[None], inverse_temperature)[0]
            n_tail = self.n - len(candidates) - (without is not None)
            if n_tail <= 0:
                continue
            in_tail = ~np.isin(self.ids, candidates)
            if without is not None:
                in_tail &= self.ids != without
            tail = self.rows[in_tail] @ query
            if not len(tail):  # all of the sample is near; a row that is not is at most as similar as the last that is
                tail = near.min(keepdims=True)
            mean = log_sum_exp(tail[None], inverse_temperature)[0] - np.log(len(tail))
            found[row] = np.logaddexp(found[row], np.log(n_tail) + mean)
        return found
