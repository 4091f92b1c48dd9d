"""The closed forms of both terms: what each must do exactly, and what it must leave alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh

from aad.method import ALIGNED, DISENTANGLED, Head, Views, fit_head, leading_directions, nuisance_whitening
from aad.method.whitening import whitening
from aad.spaces import Domain
from precompute.experiments.theory import principal_directions, subspace_agreement
from tests.recovery import nuisance

D = 12


def mixed(seed: int, n: int, v: int, offset: float = 0.0) -> np.ndarray:
    """Views (n, v, D) with content and nuisance in directions of their own and of unequal loudness."""
    rng = np.random.default_rng([seed, 7])
    content = rng.normal(size=(n, 1, D)) * np.linspace(0.2, 2, D)
    noise = rng.normal(size=(n, v, D)) * np.linspace(1, 0.1, D) @ np.linalg.qr(rng.normal(size=(D, D)))[0]
    return (content + noise + offset).astype(np.float32)


@pytest.fixture(scope="module")
def views() -> Views:
    return Views(mixed(0, 60, 5, 3.0), mixed(1, 40, 4, -2.0))


def mean_nuisance(views: Views) -> np.ndarray:
    return (nuisance(views.real) + nuisance(views.synthetic)) / 2


def whitened(views: Views, shrinkage: float, rank: int = D) -> Head:
    return nuisance_whitening(views, shrinkage, leading_directions(views, rank))


@pytest.mark.parametrize("rank", [4, D, 99])
def test_leading_directions_are_the_loudest_of_all_views_whose_domains_count_alike(views, rank):
    spread = sum(np.cov(views.of(domain).reshape(-1, D).T.astype(float), bias=True) for domain in Domain) / 2
    found, kept = leading_directions(views, rank), min(rank, D)
    values = np.linalg.eigvalsh(spread)
    assert found.basis.shape == (kept, D) and np.allclose(found.basis @ found.basis.T, np.eye(kept), atol=1e-6)
    assert np.allclose(found.basis @ spread @ found.basis.T, found.spread, atol=1e-5)
    assert np.allclose(found.spread, np.diag(values[::-1][:kept]))
    assert found.rest == pytest.approx(values[:-kept].mean() if kept < D else values.mean())


def test_many_rows_are_gone_through_in_parts_and_give_the_same(views, monkeypatch):
    def found():
        head = whitened(views, 0.1, rank=4)
        centre = head.centre[Domain.REAL]
        return head.apply(views.real, "real"), views.moved(Domain.REAL, centre, np.eye(D, dtype=np.float32)[:3])

    whole = found()
    for module in ("vectors", "method.views"):
        monkeypatch.setattr(f"aad.{module}.CHUNK", 7)
    assert whole[1].shape == (60, 5, 3 + D)
    assert all(np.allclose(*both, atol=1e-4) for both in zip(whole, found(), strict=True))


def test_whitening_makes_leading_directions_as_loud_as_the_rest(views):
    leading = leading_directions(views, 4)
    root = whitening(leading, 0.0)
    assert np.allclose(root @ leading.spread @ root.T, leading.rest * np.eye(4), atol=1e-5)
    head, _ = fit_head(views, replace(DISENTANGLED, rank=4, shrinkage=0.0, n_steps=0))  # where training starts
    assert np.allclose(head.weight[Domain.REAL], root)


def test_full_shrinkage_whitens_nothing(views):
    assert np.allclose(whitening(leading_directions(views, 4), 1.0), np.eye(4), atol=1e-6)
    centred, _ = fit_head(views, replace(ALIGNED, n_steps=0))
    for domain in Domain:
        rows = views.of(domain)[:, 0]
        assert np.allclose(whitened(views, 1.0).embed(rows, domain), centred.embed(rows, domain), atol=1e-5)


def test_nuisance_whitening_of_some_directions_brings_their_nuisance_to_the_rests_and_leaves_the_rest(views):
    head = whitened(views, 0.0, rank=4)
    inside = head.basis
    outside = np.linalg.svd(inside)[2][4:]
    before = mean_nuisance(views)
    after = sum(nuisance(head.apply(views.of(domain), domain)) for domain in Domain) / 2
    level = np.trace(outside @ before @ outside.T) / (D - 4)
    assert np.allclose(inside @ after @ inside.T, level * np.eye(4), atol=1e-4)
    assert np.allclose(outside @ after @ outside.T, outside @ before @ outside.T, atol=1e-5)


def test_nuisance_whitening_is_the_minimum_of_alignment_plus_infomax(views):
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

    head = whitened(views, 0.0)
    best = head.basis.T @ head.weight[Domain.REAL] @ head.basis / np.sqrt(np.trace(mean_nuisance(views)) / D)
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 1.0):
        for _ in range(20):
            assert loss(best) < loss(best + size * rng.normal(size=(D, D)))
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    assert loss(turn @ best) == pytest.approx(loss(best), abs=1e-4)  # the rotation is left open


def test_cca_between_two_views_has_the_principal_directions_of_the_nuisance_whitened_views(views):
    total, within = (views.spread(Domain.REAL) + views.spread(Domain.SYNTHETIC)) / 2, mean_nuisance(views)
    variates = eigh(total - within, total)[1][:, -3:]  # (C - N) w = r C w
    head = whitened(views, 0.0)
    both = [head.apply(views.of(domain), domain).reshape(-1, D) for domain in Domain]
    pooled = np.concatenate([(rows - rows.mean(0)) / np.sqrt(len(rows)) for rows in both])
    scores = both[0] @ principal_directions(pooled, 3).T
    assert subspace_agreement(scores, views.real.reshape(-1, D) @ variates) > 0.999


def test_a_direction_without_variance_is_refused_rather_than_blown_up(views):
    flat = views.real.copy()
    flat[..., 0] = 1.0
    dull = Views(flat, flat[:40])
    for rank in (D, D - 1):  # the flat one among those that are mapped, or all that is left
        leading = leading_directions(dull, rank)
        for fit in (
            lambda s, known=leading: nuisance_whitening(dull, s, known),
            lambda s, known=leading: whitening(known, s),
        ):
            with pytest.raises(ValueError, match="singular"):
                fit(0.0)
            fit(0.1)
    with pytest.raises(ValueError, match=r"shrinkage must be within 0\.\.1, got 1\.5"):
        whitening(leading, 1.5)
