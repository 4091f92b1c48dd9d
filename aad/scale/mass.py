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
        self.rows, self.n = np.ascontiguousarray(rows, dtype=np.float32), n
        self.ids = np.asarray(ids).astype(np.int64)
        if self.rows.ndim != 2 or self.ids.shape != (len(self.rows),):
            raise ValueError(f"a sample must be (s, d) rows with (s,) ids, got {self.rows.shape} and {self.ids.shape}")
        if len(self.ids) and (self.ids.min() < 0 or self.ids.max() >= n or len(np.unique(self.ids)) != len(self.ids)):
            raise ValueError(f"ids of a sample must be different and within 0 to {n - 1}")

    def log_mass(
        self, query: np.ndarray, beta: float, ids: np.ndarray, similarities: np.ndarray, without: int | None = None
    ) -> float:
        """Log of the sum of ``exp(beta * s)`` over the gallery.

        Exact where the candidates are the whole gallery. Otherwise the rows of the sample that are no candidates are taken for
        all such rows.

        Args:
            query: (d,) float32.
            beta: inverse temperature.
            ids: (c,) candidates; ``without`` may be among them.
            similarities: (c,) their exact similarities.
            without: id of a row that is not in the gallery.
        """
        if without is not None:
            ids, similarities = ids[ids != without], similarities[ids != without]
        near = float(log_sum_exp(similarities[None], beta)[0])
        n_tail = self.n - len(ids) - (without is not None)
        if n_tail <= 0:
            return near
        in_tail = ~np.isin(self.ids, ids) & (self.ids != (-1 if without is None else without))
        tail = self.rows[in_tail] @ query
        if not len(tail):  # all of the sample is near; a row that is not is at most as similar as the last that is
            tail = similarities.min(keepdims=True)
        mean = float(log_sum_exp(tail[None], beta)[0]) - np.log(len(tail))
        return float(np.logaddexp(near, np.log(n_tail) + mean))
