"""Codes in memory and rows on disk: what they find, against all rows; the mass of a gallery of which only some were looked at."""

from pathlib import Path

import numpy as np
import pytest

from aad import search as search_module
from aad.scale.building import build_index, open_index
from aad.scale.compressed import CompressedIndex, ScanIndex
from aad.scale.mass import TailSample
from aad.scale.stored import StoredRows
from aad.search import ExactIndex
from tests.galleries import Built, grouped, on_disk

N = 6000


def test_what_is_found_is_exact_to_the_bit(stored: StoredRows, index: CompressedIndex, queries: np.ndarray) -> None:
    exact, found = ExactIndex(stored[:]).search(queries, 10), index.search(queries, 10)
    same = exact.ids == found.ids
    assert same.mean() > 0.97
    assert found.similarities[same].tobytes() == exact.similarities[same].tobytes()
    assert not found.estimated and found.log_mass is None
    assert np.array_equal(index.similarities(queries), ScanIndex(stored).similarities(queries))


def test_one_candidate_is_enough_ten_are_compared_for_each_and_an_eighth_of_the_rows_is_all(
    stored: StoredRows, built: Built, index: CompressedIndex
) -> None:
    arrays, settings = built
    for rerank, everything in ((1, False), (N // 8 - 1, False), (N // 8, True)):
        opened = open_index(stored, arrays, settings | {"rerank": rerank})
        assert isinstance(opened, CompressedIndex) and opened.reads_all(1) is everything
    assert (index.n_candidates(1), index.n_candidates(2000)) == (index.rerank, 20_000)
    with pytest.raises(ValueError, match="rerank must be at least 1, got 0"):
        CompressedIndex(stored, index._codes, index._sample, 0)


def test_only_what_may_be_among_the_named_is_compared_twice(
    index: CompressedIndex, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    way = search_module.nearest_exactly
    monkeypatch.setattr(
        search_module,
        "nearest_exactly",
        lambda query, ids, *more: compared.append(len(ids)) or way(query, ids, *more),
    )
    found = index.search(queries, 20)
    assert found.ids.shape == (30, 20) and min(compared) >= 20 and max(compared) < 30


def test_a_gallery_that_is_easy_to_tell_apart_is_searched_as_if_exactly(tmp_path: Path) -> None:
    gallery = grouped(4000, 32)
    stored = on_disk(tmp_path, gallery)
    arrays, settings = build_index(stored, gallery[:40], method="compressed", target=1)
    assert (settings["recall_at_10"], settings["stepped_up"]) == (1.0, [])
    index = open_index(stored, arrays, settings)
    exact, found = ScanIndex(stored).search(gallery[:40], 3), index.search(gallery[:40], 3)
    assert np.array_equal(exact.ids, found.ids)
    assert exact.similarities.tobytes() == found.similarities.tobytes()


def test_filters_are_exact(stored: StoredRows, index: CompressedIndex, queries: np.ndarray) -> None:
    exact = ScanIndex(stored)
    for share in (0.01, 0.7):
        among = np.random.default_rng(3).random(N) < share
        for more in ({}, {"without": 17}):
            wanted, found = exact.search(queries, 8, among=among, **more), index.search(queries, 8, among=among, **more)
            assert np.array_equal(wanted.ids, found.ids)
            assert wanted.similarities.tobytes() == found.similarities.tobytes()
    assert index.search(queries, 8, among=np.zeros(N, bool)).ids.shape == (30, 0)


def test_a_row_left_out_is_not_named(stored: StoredRows, index: CompressedIndex) -> None:
    itself = stored[np.array([123])]
    assert index.search(itself, 1).ids.tolist() == [[123]]
    found = index.search(itself, 5, without=123, inverse_temperature=20.0)
    exact = ScanIndex(stored).search(itself, 5, without=123, inverse_temperature=20.0)
    assert np.array_equal(found.ids, exact.ids)
    assert found.log_mass == pytest.approx(exact.log_mass, abs=0.2)


@pytest.mark.parametrize("beta", [5.0, 20.0, 60.0])
def test_the_mass_is_near_and_called_an_estimate(
    stored: StoredRows, index: CompressedIndex, queries: np.ndarray, beta: float
) -> None:
    exact = ScanIndex(stored).search(queries, 5, inverse_temperature=beta)
    few = ScanIndex(stored).search(queries, 5, among=np.arange(N) < 50)
    found = index.search(queries, 5, inverse_temperature=beta)
    among = index.search(queries, 5, among=np.arange(N) < 50, inverse_temperature=beta)
    assert found.estimated and among.estimated and not exact.estimated
    assert found.log_mass == pytest.approx(exact.log_mass, abs=0.15)  # 15 % of the mass
    assert found.log_mass is not None and among.log_mass is not None
    assert np.array_equal(found.log_mass, among.log_mass)  # a filter moves no weight
    assert np.array_equal(among.ids, few.ids) and np.array_equal(among.similarities, few.similarities)


def test_nearly_all_rows_wanted_are_read_and_the_mass_is_exact(
    stored: StoredRows, index: CompressedIndex, queries: np.ndarray
) -> None:
    found = index.search(queries[:2], N + 5, inverse_temperature=9.0)
    exact = ScanIndex(stored).search(queries[:2], N + 5, inverse_temperature=9.0)
    assert found.ids.shape == (2, N) and np.array_equal(found.ids, exact.ids)
    assert not found.estimated and np.array_equal(found.log_mass, exact.log_mass)


def test_a_sample_that_is_the_gallery_gives_the_exact_mass_whatever_is_a_candidate() -> None:
    gallery, beta = grouped(300), 7.0
    sample = TailSample(gallery, np.arange(300), 300)
    for without in (None, 4):
        exact = ExactIndex(gallery).search(gallery[:1], 20, without=without, inverse_temperature=beta)
        ids, near = exact.ids[0], exact.similarities[0]
        assert exact.log_mass is not None
        for more in (0, 0 if without is None else 1):  # a row that is left out may be among the candidates
            given = np.append(ids, [4][:more]), np.append(near, np.float32([1])[:more])
            assert sample.log_mass(gallery[0], beta, *given, without) == pytest.approx(exact.log_mass[0], abs=1e-6)


def test_candidates_that_are_the_gallery_have_no_tail() -> None:
    gallery = grouped(30)
    everything = ExactIndex(gallery).search(gallery[:1], 30, inverse_temperature=7.0)
    ids, near, mass = everything.ids[0], everything.similarities[0], everything.log_mass
    sample = TailSample(gallery[:3], np.arange(3), 30)
    assert mass is not None and sample.log_mass(gallery[0], 7.0, ids, near) == pytest.approx(mass[0], abs=1e-6)
    last = TailSample(gallery[ids[-1:]], ids[-1:], 30)  # the one row of the tail
    assert last.log_mass(gallery[0], 7.0, ids[:-1], near[:-1]) == pytest.approx(mass[0], abs=1e-6)


def test_a_sample_that_is_all_near_is_bounded_by_the_last_that_is() -> None:
    gallery = grouped(300)
    near = ExactIndex(gallery).search(gallery[:1], 20)
    sample = TailSample(gallery[near.ids[0, :5]], near.ids[0, :5], 300)
    found = sample.log_mass(gallery[0], 7.0, near.ids[0], near.similarities[0])
    each = np.exp(7.0 * near.similarities[0].astype(float))
    assert found == pytest.approx(np.log(each.sum() + 280 * each.min()), abs=1e-5)


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(s, d\) rows with \(s,\) ids"):
        TailSample(grouped(4), np.arange(3), 9)
    for ids in ([0, 1, 1], [0, 1, 9], [-1, 0, 1]):
        with pytest.raises(ValueError, match="ids of a sample must be different and within 0 to 8"):
            TailSample(grouped(3), np.array(ids), 9)
