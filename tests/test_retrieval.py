"""Exact search against a full sort."""

import numpy as np
import pytest

from aad.backbones import l2_normalise
from aad.retrieval import EmbeddingIndex


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return l2_normalise(np.random.default_rng(seed).normal(size=(n, d)))


def test_search_equals_a_full_sort():
    gallery, queries = rows(300, 16), rows(20, 16, 1)
    result = EmbeddingIndex(gallery).search(queries, 10)
    for row, query in enumerate(queries):
        expected = sorted(range(300), key=lambda i: -float(query @ gallery[i]))[:10]
        assert result.ids[row].tolist() == expected
    assert np.all(np.diff(result.similarities, axis=1) <= 0)


def test_equal_similarities_are_ordered_by_reference_id():
    gallery = np.tile(rows(1, 8), (5, 1))
    assert EmbeddingIndex(gallery).search(gallery[:1], 5).ids[0].tolist() == [0, 1, 2, 3, 4]


def test_k_beyond_the_gallery_gives_the_whole_gallery():
    assert EmbeddingIndex(rows(3, 4)).search(rows(1, 4), 50).ids.shape == (1, 3)


def test_bad_k_and_bad_dimension_are_refused():
    index = EmbeddingIndex(rows(3, 4))
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(rows(1, 4), 0)
    with pytest.raises(ValueError, match=r"queries must be \(m, 4\)"):
        index.search(rows(1, 5), 1)
