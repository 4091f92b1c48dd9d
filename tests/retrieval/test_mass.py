"""The mass of a gallery of which only some rows were looked at."""

import numpy as np
import pytest

from aad.retrieval import (
    ExactIndex,
    TailSample,
)
from tests.retrieval.invented import grouped


def test_a_sample_that_is_the_gallery_gives_the_exact_mass() -> None:
    gallery = grouped(300)
    query, beta = gallery[:1], 7.0
    exact = ExactIndex(gallery).search(query, 20, without=4, inverse_temperature=beta)
    found = TailSample(gallery, np.arange(300), 300).log_mass(query, beta, exact.ids, exact.similarities, without=4)
    assert found == pytest.approx(exact.log_mass, abs=1e-6)


def test_places_without_a_candidate_count_for_nothing() -> None:
    gallery = grouped(300)
    sample = TailSample(gallery, np.arange(300), 300)
    near = ExactIndex(gallery).search(gallery[:1], 20, without=4)
    more = np.append(near.ids, [[-1, 4]], axis=1), np.append(near.similarities, [[1, 1]], axis=1).astype(np.float32)
    for without in (None, 4):
        kept = slice(0, 21 if without is None else 22)  # a row that is left out may be among the candidates
        found = sample.log_mass(gallery[:1], 7.0, more[0][:, kept], more[1][:, kept], without)
        assert found == pytest.approx(sample.log_mass(gallery[:1], 7.0, near.ids, near.similarities, without), abs=1e-9)


def test_candidates_that_are_the_gallery_have_no_tail() -> None:
    gallery = grouped(30)
    everything = ExactIndex(gallery).search(gallery[:2], 30, inverse_temperature=7.0)
    sample = TailSample(gallery[:3], np.arange(3), 30)
    found = sample.log_mass(gallery[:2], 7.0, everything.ids, everything.similarities)
    assert found == pytest.approx(everything.log_mass, abs=1e-6)
    last = everything.ids[:, -1:]
    sample = TailSample(gallery[last[0]], last[0], 30)  # the one row of the first query's tail
    found = sample.log_mass(gallery[:1], 7.0, everything.ids[:1, :-1], everything.similarities[:1, :-1])
    assert everything.log_mass is not None and found == pytest.approx(everything.log_mass[:1], abs=1e-6)


def test_a_sample_that_is_all_near_is_bounded_by_the_last_that_is() -> None:
    gallery = grouped(300)
    near = ExactIndex(gallery).search(gallery[:1], 20)
    sample = TailSample(gallery[near.ids[0, :5]], near.ids[0, :5], 300)
    found = sample.log_mass(gallery[:1], 7.0, near.ids, near.similarities)
    each = np.exp(7.0 * near.similarities[0].astype(float))
    assert found == pytest.approx(np.log(each.sum() + 280 * each.min()), abs=1e-5)


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(s, d\) rows with \(s,\) ids"):
        TailSample(grouped(4), np.arange(3), 9)
    for ids in ([0, 1, 1], [0, 1, 9], [-1, 0, 1]):
        with pytest.raises(ValueError, match="ids of a sample must be different and within 0 to 8"):
            TailSample(grouped(3), np.array(ids), 9)
