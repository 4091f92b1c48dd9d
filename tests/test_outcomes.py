"""Outcomes of bundled queries against loops over single queries, and figures small enough to count by hand."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aad.calibration import Calibration
from aad.metrics import bootstrap_interval, exemplar_ranks
from aad.references import References
from aad.spaces import SPACES, Space
from interface import outcomes as module
from interface.outcomes import EVERY, Outcome, Outcomes, compute_outcomes, outcomes_of, skewness


class Small:
    """An attributor that only knows its similarities, given as (3, m, n)."""

    def __init__(self, cosines: np.ndarray, sources: Sequence[tuple[int, ...]], groups: Sequence[str]) -> None:
        self.cosines = np.asarray(cosines, np.float32)
        self.n_searches = 0
        entries = [{"path": "a", "group": group, "concept": f"{group} {i}"} for i, group in enumerate(groups)]
        self.references = References(entries, Path())
        self.queries = [
            SimpleNamespace(
                query_id=i, exemplar_ids=ids, type="ab"[i % 2], generator="g", split="test", concept=f"c{i // 3}"
            )
            for i, ids in enumerate(sources)
        ]
        self.calibration = {
            space: Calibration(4.0 + i, (3.0, -2.0, 900.0)[i]) for i, space in enumerate(SPACES)
        }  # the last would overflow a bare exponential

    def similarities(self, query_ids: Sequence[int], space: Space | str) -> np.ndarray:
        self.n_searches += 1
        return self.cosines[SPACES.index(Space(space)), list(query_ids)]


@pytest.fixture(scope="module")
def tied() -> Small:
    """60 queries, 47 references, cosines on a coarse grid so that ties are everywhere; every fifth source is unknown."""
    rng = np.random.default_rng(3)
    sources = [() if i % 5 == 4 else tuple(rng.choice(47, size=1 + i % 4, replace=False).tolist()) for i in range(60)]
    groups = [f"group {i % 4}" for i in range(47)]
    return Small(rng.integers(-4, 5, (3, 60, 47)) / 4, sources, groups)


def test_outcomes_equal_a_loop_over_single_queries(tied: Small) -> None:
    found = compute_outcomes(tied)
    known = [query for query in tied.queries if query.exemplar_ids]
    assert found.query_ids.tolist() == [query.query_id for query in known]
    for s, space in enumerate(SPACES):
        for row, query in enumerate(known):
            cosines = tied.cosines[s, query.query_id]
            ranks = exemplar_ranks(cosines, query.exemplar_ids)
            order = sorted(range(47), key=lambda i: (-cosines[i], i))
            assert found.best_rank[s, row] == ranks[0]
            assert found.n_first_five[s, row] == (ranks <= 5).sum()
            assert found.neighbours[s, row].tolist() == order[:10]
            assert found.right[s, row] == (order[0] in query.exemplar_ids)
            assert found.similarity[s, row] == cosines[order[0]]
            calibration = tied.calibration[space]
            weights, _ = calibration.shares(cosines, calibration.log_mass(cosines))
            assert found.weight[s, row] == np.float32(weights[order[0]])
            expected = [(ranks <= 1).mean(), (ranks <= 5).mean(), 1 / ranks[0]]
            assert [found.figures(one)[s, row] for one in ("R@1", "R@5", "MRR")] == pytest.approx(expected)
    assert found.labels["group"].tolist() == [tied.references[query.exemplar_ids[0]].group for query in known]


def test_chunks_change_nothing(tied: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compute_outcomes(tied)
    monkeypatch.setattr(module, "LEAST", 1)
    for n_cells in (1, 47, 100, 47 * 7):
        monkeypatch.setattr(module, "N_CELLS", n_cells)
        np.testing.assert_equal(asdict(compute_outcomes(tied)), asdict(whole), str(n_cells))


def test_a_gallery_smaller_than_ten_and_a_bundle_without_known_sources_are_no_special_cases() -> None:
    found = compute_outcomes(Small(np.random.default_rng(0).random((3, 4, 3)), [(0,), (1,), (2,), (0, 1)], "aab"))
    assert found.neighbours.shape == (3, 4, 3)
    assert found.occurrence("aligned")[0].tolist() == [4, 4, 4]
    found = compute_outcomes(Small(np.zeros((3, 2, 3)), [(), ()], "abc"))
    assert len(found) == 0 and found.right.shape == (3, 0)
    assert found.occurrence("backbone")[0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="at least one value"):
        found.recall(EVERY, "R@1")


def test_classes_cover_every_query_and_overlap_only_where_it_changed_twice() -> None:
    patterns = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    cosines = np.array([[[0.5, 0.9 if right[s] else 0.1] for right in patterns] for s in range(3)])
    found = compute_outcomes(Small(cosines, [(1,)] * 8, "ab"))
    assert found.right.T.astype(int).tolist() == [list(right) for right in patterns]
    classes = {right: {str(one) for one in Outcome if found.members(one)[row]} for row, right in enumerate(patterns)}
    assert classes == {
        (0, 0, 0): {"wrong_everywhere"},
        (0, 0, 1): {"fixed_by_disentangling"},
        (0, 1, 0): {"fixed_by_alignment", "broken_by_disentangling"},
        (0, 1, 1): {"fixed_by_alignment"},
        (1, 0, 0): {"broken_by_alignment"},
        (1, 0, 1): {"broken_by_alignment", "fixed_by_disentangling"},
        (1, 1, 0): {"broken_by_disentangling"},
        (1, 1, 1): {"right_everywhere"},
    }


def test_a_constructed_hub_is_found_and_skews_the_counts() -> None:
    rng = np.random.default_rng(5)
    cosines = rng.random((3, 40, 60)) * 0.5
    cosines[0, :, 17] = 0.99  # nearest to every query in the backbone only, though the source of one
    found = compute_outcomes(Small(cosines, [(i,) for i in range(40)], "a" * 60))
    counts, deserved = found.occurrence("backbone")
    assert counts.argmax() == 17 and counts[17] == 40 and deserved[17] == 1
    assert counts.sum() == 40 * 10
    assert skewness(counts) > 3 > 1.5 > skewness(found.occurrence("aligned")[0])
    assert found.retrieving("backbone", 17).all()
    some = np.arange(40) < 5
    assert found.occurrence("backbone", some)[0][17] == 5
    by_hand = sum(1 for row in range(40) if 3 in np.argsort(-cosines[1, row])[:10])
    assert found.occurrence("aligned")[0][3] == by_hand == found.retrieving("aligned", 3).sum()


def test_recall_has_the_intervals_of_the_metrics_and_pairs_its_steps(tied: Small) -> None:
    found = compute_outcomes(tied)
    rows = found.labels["type"] == "a"
    concepts = found.labels["concept"][rows].tolist()
    figures = found.figures("R@5")[:, rows]
    told = found.recall(rows, "R@5")
    assert told["n"] == rows.sum() and told["n_concepts"] == len(set(concepts))
    assert told["spaces"][1] == pytest.approx(bootstrap_interval(figures[1], concepts), abs=1e-6)
    assert told["steps"][1] == pytest.approx(bootstrap_interval(figures[2] - figures[1], concepts), abs=1e-6)


def test_threads_share_one_computation_which_goes_with_its_attributor(
    monkeypatch: pytest.MonkeyPatch, tied: Small
) -> None:
    attributor = Small(tied.cosines, [query.exemplar_ids for query in tied.queries], ["g"] * 47)
    calls, compute = [], compute_outcomes

    def slow(one: Any) -> Outcomes:
        calls.append(id(one))
        time.sleep(0.1)
        return compute(one)

    monkeypatch.setattr(module, "compute_outcomes", slow)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(outcomes_of, [attributor] * 4))
    assert len(calls) == 1 and len({id(result) for result in results}) == 1
    assert outcomes_of(attributor) is results[0]
    before = len(module._KEPT)
    del attributor
    gc.collect()
    assert len(module._KEPT) < before


def test_shipped_bundle_gives_the_figures_of_its_metrics(shipped: Any) -> None:
    attributor = shipped
    found = outcomes_of(attributor)
    assert len(found) == sum(1 for query in attributor.queries if query.exemplar_ids)
    assert attributor.metrics is not None
    recall = found.recall((found.labels["split"] == "test") & (found.labels["type"] == "scene"), "R@1")
    for space, told in zip(SPACES, recall["spaces"], strict=True):
        stored = attributor.metrics["spaces"][space]["test"]["scene"]
        assert recall["n"] == stored["n_queries"]
        assert told == pytest.approx([stored["recall"]["1"][key] for key in ("mean", "low", "high")], abs=2e-6)
    query_id = int(found.query_ids[7])
    answer = attributor.attribute_query(query_id, k=10)
    for s, space in enumerate(SPACES):
        assert found.best_rank[s, 7] == attributor.true_ranks(query_id)[space][0]
        assert found.neighbours[s, 7].tolist() == [match.reference_id for match in answer[space].matches]
        assert found.weight[s, 7] == pytest.approx(answer[space].matches[0].weight, rel=1e-4)
