"""A gallery in shards against the same gallery in one piece."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aad.retrieval import ExactIndex, SearchResult, ShardedIndex
from aad.vectors import l2_normalise


class Gone(ExactIndex):
    """A shard that does not answer."""

    def search(self, *_: object, **__: object) -> SearchResult:
        raise TimeoutError("nobody there")


def gallery(n: int = 90, d: int = 24) -> np.ndarray:
    made = l2_normalise(np.random.default_rng(0).normal(size=(n, d)))
    made[60:63] = made[5:8]  # the same rows in two shards
    return made


QUERIES = l2_normalise(np.random.default_rng(1).normal(size=(7, 24)))
EDGES = {"a": (0, 20), "b": (20, 21), "c": (21, 90)}


def shards(rows: np.ndarray, gone: str = "") -> dict[str, ExactIndex]:
    return {name: (Gone if name in gone else ExactIndex)(rows[a:b]) for name, (a, b) in EDGES.items()}


def test_shards_give_the_answer_of_one_index() -> None:
    rows = gallery()
    whole, parts = ExactIndex(rows), ShardedIndex(shards(rows))
    among = np.random.default_rng(2).random(90) < 0.3
    asked: list[dict] = [{}, {"among": among}, {"without": 20}, {"without": 61, "among": among}]
    for more in asked:
        for k in (1, 10, 200):
            one = whole.search(QUERIES, k, inverse_temperature=12.0, **more)
            many = parts.search(QUERIES, k, inverse_temperature=12.0, **more)
            assert np.array_equal(one.ids, many.ids)
            assert one.similarities.tobytes() == many.similarities.tobytes()
            assert many.log_mass == pytest.approx(one.log_mass, abs=1e-6)
            assert (many.estimated, many.missing) == (False, ())
    assert parts.similarities(QUERIES) == pytest.approx(whole.similarities(QUERIES), abs=1e-6)
    assert np.array_equal(parts.rows(np.array([89, 0, 20])), rows[[89, 0, 20]])
    assert (len(parts), parts.dim) == (90, 24)


def test_ties_across_shards_go_by_id() -> None:
    rows = gallery()
    backwards = dict(reversed(shards(rows).items()))  # their order is that of the offsets
    found = ShardedIndex(backwards, {name: a for name, (a, _) in EDGES.items()}).search(rows[[6]], 2)
    assert found.ids.tolist() == [[6, 61]]


def test_a_missing_shard_is_named_and_the_rest_is_exact() -> None:
    rows = gallery()
    found = ShardedIndex(shards(rows, gone="b")).search(QUERIES, 10, inverse_temperature=12.0)
    left = ExactIndex(rows).search(QUERIES, 10, without=20, inverse_temperature=12.0)
    assert (found.missing, found.estimated) == (("b",), True)
    assert np.array_equal(found.ids, left.ids)
    assert found.log_mass == pytest.approx(left.log_mass, abs=1e-6)
    assert ShardedIndex(shards(rows, gone="ac")).search(QUERIES, 10).ids.shape == (7, 1)


def test_no_answer_at_all_is_an_error_and_so_is_a_wrong_question() -> None:
    with pytest.raises(ConnectionError, match="no shard answered: a: nobody there; b: nobody there"):
        ShardedIndex(shards(gallery(), gone="abc")).search(QUERIES, 3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        ShardedIndex(shards(gallery())).search(QUERIES, 0)


def test_a_mass_that_is_partly_an_estimate_is_one() -> None:
    class Estimated(ExactIndex):
        def search(self, *args: Any, **how: Any) -> SearchResult:
            return replace(super().search(*args, **how), estimated=True)

    parts = ShardedIndex({"left": Estimated(gallery()), "right": ExactIndex(gallery())})
    assert parts.search(QUERIES, 3, inverse_temperature=12.0).estimated


def test_a_question_about_what_no_shard_holds_is_refused() -> None:
    parts = ShardedIndex(shards(gallery()))
    for ids in ([90], [-1, 5]):
        with pytest.raises(ValueError, match="0 to 89"):
            parts.rows(np.array(ids))
    with pytest.raises(ValueError, match=r"queries must be \(m, 24\)"):
        parts.similarities(QUERIES[:, 1:])


def test_shards_within_shards_name_what_is_missing() -> None:
    rows = gallery()
    inner = ShardedIndex(shards(rows, gone="c"))
    found = ShardedIndex({"left": inner, "right": ExactIndex(rows)}).search(QUERIES, 3)
    assert found.missing == ("c",)


def test_shards_that_do_not_fit_are_refused() -> None:
    rows = gallery()
    with pytest.raises(ValueError, match="at least one shard"):
        ShardedIndex({})
    with pytest.raises(ValueError, match="shard b must start at reference 20"):
        ShardedIndex(shards(rows), {"a": 0, "b": 22, "c": 23})
    with pytest.raises(ValueError, match="longer"):
        ShardedIndex(shards(rows), [0, 20, 21, 90])
    with pytest.raises(ValueError, match="offsets must name the shards"):
        ShardedIndex(shards(rows), {"a": 0})
    with pytest.raises(ValueError, match=r"one dimension, got \[24, 25\]"):
        ShardedIndex({"a": ExactIndex(rows), "b": ExactIndex(np.zeros((1, 25), np.float32))})
