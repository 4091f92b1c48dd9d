"""Retrieval measures against loops and hand-worked cases."""

import math

import numpy as np
import pytest

from aad.metrics import bootstrap_interval, exemplar_ranks
from precompute.common.figures import average_precision, score


def test_ranks_equal_a_sort_by_similarity_then_id():
    generator = np.random.default_rng(0)
    for _ in range(50):
        similarities = generator.integers(0, 6, 20) / 6  # many ties
        exemplars = generator.choice(20, 4, replace=False)
        order = sorted(range(20), key=lambda i: (-similarities[i], i))
        expected = sorted(order.index(i) + 1 for i in exemplars)
        assert exemplar_ranks(similarities, exemplars.tolist()).tolist() == expected


@pytest.mark.parametrize("ids", [[], [5], [-1], [-1, 3], [2, 5], [-2, 7]])
def test_ranks_refuse_ids_outside_the_gallery(ids):
    with pytest.raises(ValueError, match="exemplar ids"):
        exemplar_ranks(np.zeros(5), ids)


def test_recall_is_the_share_of_exemplars_found():
    found = score([-np.arange(20)], [[0, 2, 7, 19]], (1, 5, 10, 100))
    assert [found[f"recall@{k}"].item() for k in (1, 5, 10, 100)] == [0.25, 0.5, 0.75, 1.0]


def test_average_precision_equals_a_walk_down_the_list():
    generator = np.random.default_rng(1)
    for _ in range(20):
        ranks = np.sort(generator.choice(np.arange(1, 40), 5, replace=False))
        hits, total = 0, 0.0
        for position in range(1, 40):
            if position in ranks:
                hits += 1
                total += hits / position
        assert average_precision(ranks) == pytest.approx(total / 5)


def test_bootstrap_draws_concepts_not_queries():
    values = np.repeat([0.0, 1.0] * 5, 50)  # ten concepts, each wholly right or wholly wrong
    by_concept = bootstrap_interval(values, np.repeat(np.arange(10), 50).astype(str).tolist())
    by_query = bootstrap_interval(values, [str(i) for i in range(500)])
    assert by_concept.high - by_concept.low > 4 * (by_query.high - by_query.low)


def test_a_mean_is_taken_in_double_precision():
    values = np.random.default_rng(3).random(1000).astype(np.float32)
    found = bootstrap_interval(values, [str(i) for i in range(1000)], 10)
    assert found.mean == pytest.approx(math.fsum(values.tolist()) / 1000, abs=1e-14)
