"""Measures on matched embeddings against closed forms and independent loops."""

import numpy as np
import pytest

from aad.spaces import Domain
from aad.vectors import covariance
from precompute.experiments.theory import (
    cca,
    correlations,
    cross_correlation,
    cross_covariance,
    cross_spectrum,
    diagonal_share,
    effective_rank,
    linear_cka,
    principal_directions,
    redundancy,
    subspace_agreement,
)


def white(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Rows whose sample mean is exactly 0 and whose sample covariance is exactly the identity."""
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return np.linalg.qr(rows - rows.mean(0))[0] * np.sqrt(n)


def pairs_of_known_correlations(rho: np.ndarray, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two white blocks whose sample canonical correlations are exactly ``rho``, each then mixed by a map of its own."""
    d = len(rho)
    both = white(n, 2 * d)
    first, second = both[:, :d], both[:, :d] * rho + both[:, d:] * np.sqrt(1 - rho**2)
    rng = np.random.default_rng(3)
    return first @ rng.normal(size=(d, d)) + 5, second @ rng.normal(size=(d, d)) - 2


def test_cross_covariance_and_correlation_agree_with_numpy_and_are_zero_without_variance():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(30, 3)) * [1, 10, 0.1] + 7
    synthetic = real[:, ::-1] + rng.normal(size=(30, 3))
    assert np.allclose(cross_covariance(real, synthetic), np.cov(real.T, synthetic.T, bias=True)[:3, 3:])
    expected = np.corrcoef(real.T, synthetic.T)[:3, 3:]
    assert np.allclose(cross_correlation(real, synthetic), expected)
    assert np.allclose(correlations(real, synthetic), np.diag(expected))
    real[:, 1] = 0.1  # a constant that has no exact binary form
    assert np.array_equal(cross_correlation(real, synthetic)[1], np.zeros(3))
    assert correlations(real, synthetic)[1] == 0


@pytest.mark.parametrize(("n", "d"), [(9, 30), (30, 9), (8, 8)])
def test_few_rows_of_many_dimensions_give_what_the_full_matrices_give(n, d):
    rng = np.random.default_rng(2)
    real, synthetic = rng.normal(size=(n, d)) + 3, rng.normal(size=(n, d - 2))
    expected = np.linalg.svd(cross_covariance(real, synthetic), compute_uv=False)
    found = cross_spectrum(real, synthetic)
    assert len(found) == min(n, d - 2) and np.allclose(found, expected[: len(found)])
    assert np.allclose(expected[len(found) :], 0)
    directions = np.linalg.eigh(np.cov(real.T))[1].T[::-1][:3]
    found = principal_directions(real, 3)  # the loudest in order
    assert np.allclose(np.abs(found @ directions.T), np.eye(3), atol=1e-7)
    assert (found[np.arange(3), np.abs(found).argmax(1)] > 0).all()
    real[:, 1] = 0.1  # a constant has no correlation, and is not counted as one with itself
    squared = np.square(cross_correlation(real, real))
    assert redundancy(real) == pytest.approx((squared.sum() - np.trace(squared)) / (d * (d - 1)))


def test_diagonal_share_is_one_for_a_diagonal_and_one_over_d_for_equal_entries():
    assert diagonal_share(np.diag([3.0, -1.0, 0.0])) == 1
    assert diagonal_share(np.full((4, 4), -0.3)) == pytest.approx(0.25)
    assert diagonal_share(np.eye(3)[::-1] + 0.0) == pytest.approx(1 / 3)


def test_correlations_of_the_variates_of_cca_are_the_canonical_ones_through_any_mixing():
    rho = np.array([0.9, 0.6, 0.2])
    pairs = pairs_of_known_correlations(rho)
    head = cca(*pairs, shrinkage=0.0, rank=3)
    variates = [head.apply(rows, domain) for rows, domain in zip(pairs, Domain, strict=True)]
    assert np.allclose(correlations(*variates), rho, atol=1e-4)
    assert np.allclose(cross_covariance(*variates), np.diag(rho), atol=1e-4), "none goes with another's partner"
    for rows in variates:
        assert np.allclose(covariance(rows), np.eye(3), atol=1e-4)
    louder = cca(*pairs, shrinkage=0.0, rank=3, weighting=2.0).apply(pairs[0], Domain.REAL)
    assert np.allclose(louder, variates[0] * rho**2, atol=1e-4)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="singular"):  # fewer pairs than dimensions: all would be one
        cca(rng.normal(size=(10, 20)), rng.normal(size=(10, 20)), 0.0, 3)


def test_full_shrinkage_of_cca_leaves_the_cross_covariance_in_units_of_mean_power():
    real, synthetic = pairs_of_known_correlations(np.array([0.8, 0.1]))
    head = cca(real, synthetic, shrinkage=1.0, rank=2)
    variates = head.apply(real, Domain.REAL), head.apply(synthetic, Domain.SYNTHETIC)
    power = np.sqrt(real.var(0).mean() * synthetic.var(0).mean())
    expected = np.linalg.svd(cross_covariance(real, synthetic), compute_uv=False) / power
    assert np.allclose(cross_covariance(*variates), np.diag(expected), atol=1e-4)


def test_effective_rank_is_the_exponential_of_the_spectral_entropy_and_reads_low_for_few_images():
    rows = white(40, 3) * np.sqrt([2, 1, 1])
    assert effective_rank(rows) == pytest.approx(np.exp(-0.5 * np.log(0.5) - 2 * 0.25 * np.log(0.25)))
    rows = np.random.default_rng(0).normal(size=(300, 300))
    assert effective_rank(rows) / 300 == pytest.approx(0.6, abs=0.02)


def test_subspace_agreement_is_the_mean_squared_cosine_of_the_principal_angles_through_any_mixing():
    rows, angles = white(60, 4), np.array([0.3, 1.1])
    tilted = rows[:, :2] * np.cos(angles) + rows[:, 2:] * np.sin(angles)
    mixed = tilted @ np.random.default_rng(0).normal(size=(2, 2)) * 100 + 7
    assert subspace_agreement(mixed, rows[:, :2]) == pytest.approx((np.cos(angles) ** 2).mean())
    assert subspace_agreement(rows[:, :2], rows) == pytest.approx(0.5)  # half of the target is captured
    assert subspace_agreement(rows, rows[:, :2]) == pytest.approx(1)


def test_cka_equals_the_estimator_written_as_a_sum_over_four_different_rows():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    second[:, 0] += first[:, 0]

    def hsic(a, b):  # the U-statistic of Song et al., equation 4, term by term
        k, m = a @ a.T, b @ b.T
        ids = range(len(a))
        pair = np.mean([k[i, j] * m[i, j] for i in ids for j in ids if i != j])
        four = [k[i, j] * m[p, q] for i in ids for j in ids for p in ids for q in ids if len({i, j, p, q}) == 4]
        three = [k[i, j] * m[i, q] for i in ids for j in ids for q in ids if len({i, j, q}) == 3]
        return pair + np.mean(four) - 2 * np.mean(three)

    expected = hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))
    assert linear_cka(first, second) == pytest.approx(expected)
