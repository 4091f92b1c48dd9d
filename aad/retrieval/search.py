"""What every index answers, and what it refuses to be asked."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The k nearest references of m queries, best first.

    Attributes:
        ids: (m, k') int64 reference ids, ties by id; k' is k, or all that may be named when those are fewer.
        similarities: (m, k') float32, the exact cosine of the stored rows.
        log_mass: (m,) float64, log of the sum of ``exp(beta * similarity)`` over the whole gallery; None when not asked for.
        estimated: whether ``log_mass`` is an estimate.
        missing: names of the shards that did not answer; the rest is exact for those that did.
    """

    ids: np.ndarray
    similarities: np.ndarray
    log_mass: np.ndarray | None = None
    estimated: bool = False
    missing: tuple[str, ...] = ()


class Index(Protocol):
    """The references of one space, ready for questions. Read-only, and safe to share between threads."""

    @property
    def dim(self) -> int:
        """Columns of a query."""

    def __len__(self) -> int:
        """How many references."""

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

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32, by a full scan."""

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """(r, d) float32, the stored rows of these ids, of unit length."""


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


def check_search(
    queries: np.ndarray, k: int, index: Index, among: np.ndarray | None, without: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The queries as float32, and which rows may be named: (n,) bool, or None for all.

    Raises:
        ValueError: an argument of another shape, type or range.
    """
    n = len(index)
    queries = check_queries(queries, index.dim)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if without is not None and not 0 <= without < n:
        raise ValueError(f"without must be the id of a reference, 0 to {n - 1}, got {without}")
    if among is None:
        return queries, None
    among = np.asarray(among)
    if among.shape != (n,) or among.dtype != bool:
        raise ValueError(f"among must be ({n},) bool, got {among.shape} {among.dtype}")
    if without is not None:
        among = among.copy()
        among[without] = False
    return queries, among


def check_ids(ids: np.ndarray, n: int) -> np.ndarray:
    """Ids as (r,) int64.

    Raises:
        ValueError: not whole numbers of references that exist.
    """
    ids = np.asarray(ids)
    if ids.size == 0:
        return np.zeros(0, np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= n:
        raise ValueError(f"ids must be a list of whole numbers, 0 to {n - 1}, got {ids.dtype} of shape {ids.shape}")
    return ids.astype(np.int64)
