"""Exact cosine retrieval over the references of one space."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The k nearest references of m queries, best first.

    Attributes:
        ids: (m, k) int64 reference ids.
        similarities: (m, k) float32 cosine.
    """

    ids: np.ndarray
    similarities: np.ndarray


class EmbeddingIndex:
    """Inner-product search over unit rows, which is cosine search.

    Args:
        embeddings: (n, d) float32 with rows of unit length, one per reference, in reference order.
    """

    def __init__(self, embeddings: np.ndarray) -> None:
        import faiss

        self.embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        self._index = faiss.IndexFlatIP(self.embeddings.shape[1])
        self._index.add(self.embeddings)

    def __len__(self) -> int:
        return len(self.embeddings)

    def similarities(self, queries: np.ndarray) -> np.ndarray:
        """Cosine of (m, d) queries to every reference, (m, n) float32."""
        return queries.astype(np.float32) @ self.embeddings.T

    def search(self, queries: np.ndarray, k: int) -> SearchResult:
        """The k nearest references of each query; all of them when k exceeds the gallery.

        Equal similarities are ordered by reference id, so that the same query gives the same answer on every machine.

        Raises:
            ValueError: k below 1 or queries of another dimension.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if queries.ndim != 2 or queries.shape[1] != self.embeddings.shape[1]:
            raise ValueError(f"queries must be (m, {self.embeddings.shape[1]}), got {queries.shape}")
        similarities, ids = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), min(k, len(self)))
        order = np.lexsort((ids, -similarities), axis=1)
        return SearchResult(np.take_along_axis(ids, order, 1), np.take_along_axis(similarities, order, 1))
