"""The oracle, which is given the pairs: what it must do exactly."""

import numpy as np
import pytest

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import covariance
from precompute.experiments.baselines import cca
from precompute.experiments.theory import correlations, cross_covariance, linear_cka

D = 12


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """120 pairs that share four of twelve dimensions, each domain mixed and shifted on its own."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(120, 4)) * [2, 1, 1, 0.5]
    sides = [np.hstack([shared + 0.3 * rng.normal(size=(120, 4)), rng.normal(size=(120, D - 4))]) for _ in range(2)]
    real, synthetic = (side @ (np.eye(D) + 0.3 * rng.normal(size=(D, D))) + rng.normal(size=D) for side in sides)
    return real.astype(np.float32), synthetic.astype(np.float32)


def recall(head: Head, real: np.ndarray, synthetic: np.ndarray) -> float:
    similarities = head.embed(synthetic, Domain.SYNTHETIC) @ head.embed(real, Domain.REAL).T
    return float((similarities.argmax(1) == np.arange(len(real))).mean())


def test_cca_gives_white_variates_that_correlate_with_their_own_partner_only(pairs):
    head = cca(*pairs, 0.0, D)
    real, synthetic = (head.apply(rows, domain) for rows, domain in zip(pairs, Domain, strict=True))
    for rows in (real, synthetic):
        assert np.allclose(covariance(rows), np.eye(D), atol=1e-3)
    crossed = cross_covariance(real, synthetic)
    assert np.allclose(crossed, np.diag(correlations(real, synthetic)), atol=1e-3)
    assert (np.diff(np.diag(crossed)) < 1e-3).all() and crossed[0, 0] > 0.5


def test_cca_finds_the_shared_dimensions_and_matches_what_the_features_do_not(pairs):
    head = cca(*pairs, 0.01, 4)
    assert correlations(head.apply(pairs[0], "real"), head.apply(pairs[1], "synthetic")).min() > 0.5
    assert recall(head, *pairs) > recall(Head.identity(D), *pairs) + 0.2
    again = cca(*pairs, 0.01, D, weighting=1.0)
    assert np.allclose(linear_cka(again.apply(pairs[0], "real")[:, :4], head.apply(pairs[0], "real")), 1, atol=0.05)


def test_cca_of_shuffled_pairs_finds_nothing_that_holds_up(pairs):
    order = np.random.default_rng(0).permutation(120)
    head = cca(pairs[0], pairs[1][order], 0.01, 4)
    assert correlations(head.apply(pairs[0], "real"), head.apply(pairs[1], "synthetic")).max() < 0.5
