"""The baselines, which are given the pairs: what each must do exactly."""

from dataclasses import replace

import numpy as np
import pytest

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import covariance
from precompute.experiments.baselines import SupervisedConfig, cca, supervised
from precompute.experiments.theory import correlations, cross_covariance, linear_cka

D = 12
QUICK = SupervisedConfig(temperature=0.2, decay=0, n_steps=150, learning_rate=1e-2)


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


def test_supervised_learns_the_match_of_other_pairs(pairs):
    head = supervised(pairs[0][:80], pairs[1][:80], QUICK)
    untrained = supervised(pairs[0][:80], pairs[1][:80], SupervisedConfig(n_steps=0))
    held_out = pairs[0][80:], pairs[1][80:]
    assert recall(head, *held_out) > recall(untrained, *held_out) + 0.15


def test_pairs_that_cannot_be_fitted_are_refused(pairs):
    for fit, complaint in (
        (lambda: cca(*pairs, 0.1, 0), "rank"),
        (lambda: cca(*pairs, 0.1, D + 1), "rank"),
        (lambda: cca(np.zeros((5, 3)), np.zeros((4, 3)), 0.1, 2), "pairs must share one"),
        (lambda: supervised(np.zeros((5, 3)), np.zeros((4, 3)), QUICK), "pairs must share one"),
        (lambda: supervised(np.repeat(pairs[0][:1], 3, 0), pairs[1][:3], QUICK), "two different sources"),
    ):
        with pytest.raises(ValueError, match=complaint):
            fit()


def test_supervised_starts_at_the_identity_repeats_exactly_and_follows_its_seed(pairs):
    head = supervised(*pairs, SupervisedConfig(n_steps=0))
    for rows, domain in zip(pairs, Domain, strict=True):
        assert np.allclose(head.apply(rows, domain), rows - rows.mean(0), atol=1e-5)
    few = SupervisedConfig(n_steps=5, batch_size=16)
    first, again, other = (supervised(*pairs, c).weight["real"] for c in (few, few, replace(few, seed=1)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_strong_pull_keeps_the_supervised_maps_near_the_identity(pairs):
    config = SupervisedConfig(n_steps=30, decay=1e4)
    near, far = (supervised(*pairs, c).weight[Domain.REAL] for c in (config, SupervisedConfig(n_steps=30, decay=0)))
    assert np.abs(near - np.eye(D)).mean() < 0.3 * np.abs(far - np.eye(D)).mean()


def test_a_source_is_never_its_own_negative(pairs, monkeypatch):
    from aad.method import losses

    batches = []

    def watched(first, second, temperature):
        batches.append(second.detach().numpy())
        return original(first, second, temperature)

    original = losses.info_nce
    monkeypatch.setattr(losses, "info_nce", watched)
    real = np.repeat(pairs[0][:10], 3, axis=0)
    supervised(real, pairs[1][:30], SupervisedConfig(n_steps=3, learning_rate=0))
    jittered = real + np.float32(np.random.default_rng(0).normal(size=real.shape))  # views: no two rows are equal
    supervised(jittered, pairs[1][:30], SupervisedConfig(n_steps=3), source_ids=np.repeat(np.arange(10), 3))
    assert [len(batch) for batch in batches] == [10] * 6
    assert 10 < len(np.unique(np.concatenate(batches[:3]), axis=0)) <= 30  # but each of its images has its turn
