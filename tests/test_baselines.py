"""The baselines: what each must do exactly, and what it must not see."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.method import Head, Views, nuisance_whitening
from aad.method.whitening import inverse_root, nuisance
from aad.spaces import Domain
from aad.vectors import covariance
from precompute.experiments.baselines import (
    SupervisedConfig,
    cca,
    centring,
    supervised,
    view_cca,
    whitening,
)
from precompute.experiments.theory import (
    correlations,
    cross_covariance,
    linear_cka,
    principal_directions,
    subspace_agreement,
)

D = 12
QUICK = SupervisedConfig(temperature=0.2, decay=0, n_steps=150, learning_rate=1e-2)


def mixed(seed: int, n: int, v: int, offset: float = 0.0) -> np.ndarray:
    """Views (n, v, D) with content and nuisance in directions of their own and of unequal loudness."""
    rng = np.random.default_rng([seed, 7])
    content = rng.normal(size=(n, 1, D)) * np.linspace(0.2, 2, D)
    noise = rng.normal(size=(n, v, D)) * np.linspace(1, 0.1, D) @ np.linalg.qr(rng.normal(size=(D, D)))[0]
    return (content + noise + offset).astype(np.float32)


@pytest.fixture(scope="module")
def views() -> Views:
    return Views(mixed(0, 60, 5, 3.0), mixed(1, 40, 4, -2.0))


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """120 pairs that share four of twelve dimensions, each domain mixed and shifted on its own."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(120, 4)) * [2, 1, 1, 0.5]
    sides = [np.hstack([shared + 0.3 * rng.normal(size=(120, 4)), rng.normal(size=(120, D - 4))]) for _ in range(2)]
    real, synthetic = (side @ (np.eye(D) + 0.3 * rng.normal(size=(D, D))) + rng.normal(size=D) for side in sides)
    return real.astype(np.float32), synthetic.astype(np.float32)


def cosines(head: Head, views: Views) -> np.ndarray:
    return head.embed(views.synthetic[:, 0], Domain.SYNTHETIC) @ head.embed(views.real[:, 0], Domain.REAL).T


def recall(head: Head, real: np.ndarray, synthetic: np.ndarray) -> float:
    similarities = head.embed(synthetic, Domain.SYNTHETIC) @ head.embed(real, Domain.REAL).T
    return float((similarities.argmax(1) == np.arange(len(real))).mean())


def test_every_head_without_pairs_is_centred_on_the_images_of_each_domain(views):
    for head in (centring(views), whitening(views, 0.1), nuisance_whitening(views, 0.1), view_cca(views, 0.1)):
        for domain in Domain:
            assert np.allclose(head.apply(views.of(domain)[:, 0], domain).mean(0), 0, atol=1e-4)
            assert head.weight[domain].dtype == head.centre[domain].dtype == np.float32
    rows = views.real[:, 0]  # and centring does nothing else
    assert np.allclose(centring(views).apply(rows, Domain.REAL), rows - rows.mean(0), atol=1e-5)


@pytest.mark.parametrize("kind", ["zca", "pca"])
@pytest.mark.parametrize("on", ["images", "views"])
def test_whitening_per_domain_makes_each_domain_white(views, kind, on):
    head = whitening(views, 0.0, "per_domain", kind, on)
    for domain in Domain:
        rows = views.of(domain)[:, 0] if on == "images" else views.of(domain)
        assert np.allclose(covariance(head.apply(rows, domain)), np.eye(D), atol=1e-3)


def test_joint_whitening_makes_the_mean_of_both_domains_white_and_is_shared(views):
    head = whitening(views, 0.0)
    spreads = [covariance(head.apply(views.of(domain)[:, 0], domain)) for domain in Domain]
    assert np.allclose((spreads[0] + spreads[1]) / 2, np.eye(D), atol=1e-3)
    assert head.weight[Domain.REAL] is head.weight[Domain.SYNTHETIC]


def test_whitening_fitted_on_real_images_does_not_see_how_synthetic_ones_vary(views):
    louder = Views(views.real, views.synthetic * 3)
    assert np.array_equal(whitening(views, 0.1, "real").weight["real"], whitening(louder, 0.1, "real").weight["real"])
    assert not np.allclose(whitening(views, 0.1).weight["real"], whitening(louder, 0.1).weight["real"])


def test_both_kinds_of_whitening_give_the_same_cosines_only_where_the_matrix_is_shared(views):
    for fitted_on, same in (("real", True), ("joint", True), ("per_domain", False)):
        zca, pca = (cosines(whitening(views, 0.1, fitted_on, kind), views) for kind in ("zca", "pca"))
        assert np.allclose(zca, pca, atol=1e-4) == same


def test_full_shrinkage_whitens_nothing(views):
    for head in (whitening(views, 1.0), nuisance_whitening(views, 1.0)):
        assert np.allclose(cosines(head, views), cosines(centring(views), views), atol=1e-5)


def test_nuisance_whitening_makes_every_way_of_rendering_equally_loud(views):
    head = nuisance_whitening(views, 0.0)
    within = [nuisance(head.apply(views.of(domain), domain)) for domain in Domain]
    assert np.allclose((within[0] + within[1]) / 2, np.eye(D), atol=1e-3)
    assert np.allclose(head.weight[Domain.REAL], head.weight[Domain.REAL].T)
    per_domain = nuisance_whitening(views, 0.0, per_domain=True)
    for domain in Domain:
        assert np.allclose(nuisance(per_domain.apply(views.of(domain), domain)), np.eye(D), atol=1e-3)


def test_nuisance_whitening_is_the_minimum_of_alignment_plus_infomax(views):
    within = (nuisance(views.real) + nuisance(views.synthetic)) / 2

    def loss(weight):
        alignment = 0.0  # over pairs of views, not through the covariance
        for rows in (views.real, views.synthetic):
            embedded = rows @ weight.T
            gaps = [
                ((embedded[:, i] - embedded[:, j]) ** 2).sum(1).mean()
                for i in range(rows.shape[1])
                for j in range(rows.shape[1])
                if i != j
            ]
            alignment += float(np.mean(gaps)) / 4
        return alignment - 2 * np.linalg.slogdet(weight)[1]

    best = inverse_root(within)
    assert np.allclose(nuisance_whitening(views, 0.0).weight[Domain.REAL], best, atol=1e-4)
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 1.0):
        for _ in range(20):
            assert loss(best) < loss(best + size * rng.normal(size=(D, D)))
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    assert loss(turn @ best) == pytest.approx(loss(best), abs=1e-4)  # the rotation is left open


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
def test_view_cca_weighted_by_its_correlations_is_nuisance_whitening(views, shrinkage):
    weighted = view_cca(views, shrinkage, weighting=0.5)
    assert np.allclose(cosines(weighted, views), cosines(nuisance_whitening(views, shrinkage), views), atol=1e-4)
    unweighted = view_cca(views, shrinkage)
    assert not np.allclose(cosines(unweighted, views), cosines(weighted, views), atol=0.05)


def test_view_cca_has_the_principal_directions_of_the_nuisance_whitened_views(views):
    whitened = nuisance_whitening(views, 0.0)
    both = [whitened.apply(views.of(domain), domain).reshape(-1, D) for domain in Domain]
    pooled = np.concatenate([(rows - rows.mean(0)) / np.sqrt(len(rows)) for rows in both])
    scores = both[0] @ principal_directions(pooled, 3).T
    variates = view_cca(views, 0.0, rank=3).apply(views.real, Domain.REAL).reshape(-1, 3)
    assert subspace_agreement(scores, variates) > 0.999


def test_view_cca_variates_have_unit_variance_and_the_correlations_of_two_views():
    views = Views(mixed(0, 4000, 2), mixed(1, 4000, 2))
    head = view_cca(views, 0.0)
    found = np.mean(
        [
            correlations(head.apply(views.of(domain)[:, 0], domain), head.apply(views.of(domain)[:, 1], domain))
            for domain in Domain
        ],
        0,
    )
    spreads = [covariance(head.apply(views.of(domain), domain)) for domain in Domain]
    assert np.allclose((spreads[0] + spreads[1]) / 2, np.eye(D), atol=1e-3)
    assert (np.diff(found) < 0.02).all() and found[0] > found[-1] + 0.3


def test_a_direction_without_variance_is_refused_rather_than_blown_up(views):
    flat = views.real.copy()
    flat[..., 0] = 1.0
    dull = Views(flat, flat[:40])
    for fit in (whitening, nuisance_whitening):
        with pytest.raises(ValueError, match="singular"):
            fit(dull, 0.0)
        assert np.isfinite(fit(dull, 0.1).weight[Domain.REAL]).all()
    with pytest.raises(ValueError, match="shrinkage"):
        whitening(views, 1.5)


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


def test_closed_forms_need_no_torch():
    code = """
import sys
import numpy as np
from precompute.experiments.baselines import cca, view_cca
from aad.method import Views, nuisance_whitening

x = np.random.default_rng(0).normal(size=(9, 3, 4))
nuisance_whitening(Views(x, x), 0.1), view_cca(Views(x, x), 0.1), cca(x[:, 0], x[:, 1], 0.1, 2)
sys.exit("torch" in sys.modules)
"""
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
