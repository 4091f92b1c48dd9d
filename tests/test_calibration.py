"""Attribution weights: a partition of one, fitted where it can be checked."""

import math

import numpy as np
import pytest
import scipy.optimize

from aad.calibration import Calibration
from precompute.calibrate import condense, fit_calibration
from precompute.evaluate import expected_calibration_error


def weights_of(calibration: Calibration, similarities: np.ndarray) -> tuple[np.ndarray, float]:
    """Over the whole gallery."""
    return calibration.shares(similarities, calibration.log_mass(similarities))


def test_very_large_logits_do_not_overflow():
    weights, remainder = weights_of(Calibration(1e5, -1e5), np.array([1.0, -1.0]))
    assert weights.tolist() == [1.0, 0.0] and remainder == 0.0


def test_the_best_of_the_starts_is_kept(monkeypatch):
    inputs = concepts()
    fitted, search, starts = fit_calibration(*inputs), scipy.optimize.minimize, []

    def lost_but_once(function, start, **how):
        starts.append(start)
        return search(function, start, **how, options={} if len(starts) == 2 else {"maxiter": 1})

    monkeypatch.setattr(scipy.optimize, "minimize", lost_but_once)
    again = fit_calibration(*inputs)
    assert again.inverse_temperature == pytest.approx(fitted.inverse_temperature, rel=1e-2)
    assert len(starts) == 3


def test_the_error_is_over_ten_bins_of_equally_many():
    weights, correct = np.arange(1, 101) / 100, np.random.default_rng(3).random(100) < 0.5
    order = np.random.default_rng(4).permutation(100)
    gaps = [abs(weights[i : i + 10].mean() - correct[i : i + 10].mean()) for i in range(0, 100, 10)]
    assert expected_calibration_error(weights[order], correct[order]) == pytest.approx(np.mean(gaps))


def test_shares_of_some_references_are_their_weights_in_the_whole_gallery():
    calibration, similarities = Calibration(30.0, 20.0), np.random.default_rng(3).normal(0, 0.3, 50)
    weights, remainder = weights_of(calibration, similarities)
    some, rest = calibration.shares(similarities[[7, 9]], calibration.log_mass(similarities))
    np.testing.assert_allclose(some, weights[[7, 9]], rtol=1e-9)
    assert rest == pytest.approx(remainder) and calibration.log_mass(np.zeros(0)) == -np.inf


def test_a_fit_on_counted_similarities_is_that_on_all_of_them():
    generator = np.random.default_rng(4)
    gallery, queries = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in generator.normal(size=(2, 400, 8))
    )
    queries = queries[:20] + 0.8 * gallery[:20]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    sources = [[i] for i in range(20)]
    absent = [sorted({i, *range(100, 100 + i % 5), 149, 150, 399}) for i in range(20)]  # at both sides of an edge
    chunks = ((start, gallery[start : start + 150]) for start in range(0, 400, 150))
    similarities, counts, columns = condense(chunks, queries, absent)
    np.testing.assert_allclose(counts.sum(1), 400)
    exact = queries @ gallery.T
    for beta in (5.0, 80.0):
        mass = (counts * np.exp(beta * similarities)).sum(1)
        np.testing.assert_allclose(mass, np.exp(beta * exact).sum(1), rtol=1e-3)
    named = [
        [[column[i] for i in ids] for column, ids in zip(columns, lists, strict=True)] for lists in (sources, absent)
    ]
    for row in range(20):
        np.testing.assert_allclose(similarities[row, named[1][row]], exact[row, absent[row]])
    ours, theirs = fit_calibration(similarities, *named, counts), fit_calibration(exact, sources, absent)
    assert ours.inverse_temperature == pytest.approx(theirs.inverse_temperature, rel=1e-3)
    assert ours.null_logit == pytest.approx(theirs.null_logit, rel=1e-3)


def concepts(seed: int = 5):
    """Twelve queries among thirty references: one source each, and a concept of which it is one of three."""
    generator = np.random.default_rng(seed)
    similarities = generator.normal(0, 0.1, (12, 30))
    for i in range(12):
        similarities[i, i] += 0.3 * (i % 4 > 0)
        similarities[i, [i + 6, i + 12]] += 0.2
    return similarities, [[i] for i in range(12)], [[i, i + 6, i + 12] for i in range(12)]


def test_a_fit_is_where_a_loop_finds_the_data_most_likely_by_the_shares_that_a_query_is_told():
    similarities, sources, absent = concepts()

    def surprise(beta, gamma):
        total = 0.0
        for row, own, gone in zip(similarities, sources, absent, strict=True):
            masses = [math.exp(beta * s) for s in row]
            none = math.exp(gamma)
            total -= math.log(sum(masses[i] for i in own) / (sum(masses) + none))
            total -= math.log(none / (sum(m for i, m in enumerate(masses) if i not in gone) + none))
        return total

    fitted = fit_calibration(similarities, sources, absent)
    beta, gamma = fitted.inverse_temperature, fitted.null_logit
    least = surprise(beta, gamma)
    for other in [(beta * 1.02, gamma), (beta / 1.02, gamma), (beta, gamma + 0.05), (beta, gamma - 0.05)]:
        assert least < surprise(*other)
    masses, none = [math.exp(beta * s) for s in similarities[0]], math.exp(gamma)
    weights, remainder = weights_of(fitted, similarities[0])
    assert [*weights, remainder] == pytest.approx([mass / (sum(masses) + none) for mass in (*masses, none)])


def test_cosines_that_rounding_took_past_one_are_counted_too_and_nothing_asked_is_nothing_counted():
    chunks = [(0, np.array([[1.01], [-1.01], [1.0], [-1.0]]))]
    similarities, counts, columns = condense(chunks, np.array([[1.0]]), [[]])
    assert sorted(similarities[0]) == pytest.approx([-1.005, 1.005]) and counts.tolist() == [[2, 2]]
    assert columns == [{}]
    similarities, counts, columns = condense([(0, np.eye(3))], np.zeros((0, 3)), [])
    assert similarities.shape == counts.shape == (0, 0) and columns == []
