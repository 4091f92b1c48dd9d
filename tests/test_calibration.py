"""Attribution weights: a partition of one, fitted where it can be checked."""

import numpy as np
import pytest

from aad.calibration import Calibration, expected_calibration_error, fit_calibration


def test_weights_and_remainder_sum_to_one_and_follow_similarity():
    weights, remainder = Calibration(30.0, 20.0).weights(np.array([0.9, 0.2, 0.7]))
    assert weights.sum() + remainder == pytest.approx(1)
    assert weights.argsort().tolist() == [1, 2, 0]


def test_very_large_logits_do_not_overflow():
    weights, remainder = Calibration(1e5, -1e5).weights(np.array([1.0, -1.0]))
    assert weights.tolist() == [1.0, 0.0] and remainder == 0.0


def drawn(n_queries: int, n: int, beta: float, gamma: float, seed: int):
    """Queries whose source is drawn with the very weights that a calibration describes."""
    generator = np.random.default_rng(seed)
    similarities = generator.normal(0, 0.2, (n_queries, n))
    sources = []
    for row in similarities:
        while True:
            weights, _ = Calibration(beta, gamma).weights(row)
            choice = generator.choice(n + 1, p=[*weights, 1 - weights.sum()])
            if choice < n:
                break
            row[:] = generator.normal(0, 0.2, n)
        sources.append([int(choice)])
    return similarities, sources


def test_fit_recovers_the_temperature_that_made_the_data():
    similarities, sources = drawn(1500, 30, 15.0, -20.0, 0)
    fitted = fit_calibration(similarities, sources, sources)
    assert fitted.inverse_temperature == pytest.approx(15, rel=0.15)


def test_remainder_is_larger_when_the_source_is_taken_out():
    generator = np.random.default_rng(1)
    similarities = generator.normal(0, 0.1, (200, 40))
    similarities[np.arange(200), np.arange(200) % 40] += 0.6
    sources = [[i % 40] for i in range(200)]
    fitted = fit_calibration(similarities, sources, sources)
    with_source = np.mean([fitted.weights(row)[1] for row in similarities])
    without = np.mean([fitted.weights(np.delete(row, i % 40))[1] for i, row in enumerate(similarities)])
    assert with_source < 0.2 and without > 0.8


def test_fit_refuses_no_queries():
    with pytest.raises(ValueError, match="at least one validation query"):
        fit_calibration(np.zeros((0, 3)), [], [])


def test_calibration_error_is_zero_when_weights_tell_the_truth_and_large_when_they_boast():
    generator = np.random.default_rng(2)
    weights = generator.random(20000)
    assert expected_calibration_error(weights, (generator.random(20000) < weights).astype(float)) < 0.02
    assert expected_calibration_error(np.ones(100), np.zeros(100)) == 1.0
