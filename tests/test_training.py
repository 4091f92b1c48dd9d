"""The training loop on data whose structure is known: what alignment and Infomax must each achieve, and what they must not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aad.backbones import l2_normalise
from aad.heads import Head
from aad.spaces import Domain
from aad.training import TrainConfig, _Change, _two_views, centred_start, fit_head

ALIGNED = TrainConfig(rank=24, n_steps=150, learning_rate=5e-3, anchor_weight=0.3, batch_size=200)
DISENTANGLED = replace(ALIGNED, infomax_weight=1.0, anchor_weight=0.0, shrinkage=0.1)


def two_domains(seed: int = 0, n: int = 200, v: int = 4):
    """Concepts shared by two domains, drowned in a few loud directions: view noise, and content of unequal power per domain."""
    rng = np.random.default_rng(seed)
    concept = rng.normal(size=(n, 12))
    loudness = np.linspace(0.3, 2, 12)
    real, synthetic = (
        concept * loudness + 1,
        concept * loudness[::-1] - 1,
    )  # what is loud in one domain is quiet in the other

    def views(rows):
        noise = np.concatenate([1.5 * rng.normal(size=(len(rows), v, 4)), 0.3 * rng.normal(size=(len(rows), v, 8))], 2)
        return l2_normalise(np.concatenate([np.repeat(rows[:, None], v, 1), noise], 2))

    return views(real), views(synthetic)


def recall(head: Head, real: np.ndarray, synthetic: np.ndarray) -> float:
    similarities = head.embed(synthetic[:, 0], Domain.SYNTHETIC) @ head.embed(real[:, 0], Domain.REAL).T
    return float((similarities.argmax(1) == np.arange(len(real))).mean())


@pytest.fixture(scope="module")
def fitted():
    real, synthetic = two_domains()
    views, is_synthetic = np.concatenate([real, synthetic]), np.repeat([False, True], 200)
    aligned, _ = fit_head(views, is_synthetic, ALIGNED)
    disentangled, _ = fit_head(views, is_synthetic, DISENTANGLED, aligned)
    return views, is_synthetic, aligned, disentangled


def test_alignment_helps_and_infomax_helps_more_on_unseen_images(fitted):
    _, _, aligned, disentangled = fitted
    real, synthetic = two_domains(seed=7)
    scores = [recall(head, real, synthetic) for head in (Head.identity(24), aligned, disentangled)]
    assert scores[1] > scores[0] + 0.1, scores
    assert scores[2] > scores[1] + 0.05, scores


def test_without_its_weight_infomax_does_nothing(fitted):
    views, is_synthetic, aligned, _ = fitted
    again, _ = fit_head(views, is_synthetic, ALIGNED, aligned)
    real, synthetic = two_domains(seed=7)
    assert recall(again, real, synthetic) < recall(aligned, real, synthetic) + 0.05
    assert np.array_equal(again.core[Domain.REAL], again.core[Domain.SYNTHETIC])


def test_infomax_makes_each_domain_nearly_white(fitted):
    views, is_synthetic, aligned, disentangled = fitted

    def spread(head, domain, rows):
        centred = rows - head.centre[domain]
        mapped = head.gain[domain] * centred + centred @ head.basis.T @ head.core[domain].T @ head.basis
        eigenvalues = np.linalg.eigvalsh(np.cov(mapped.reshape(-1, mapped.shape[-1]).T))
        return eigenvalues[-1] / np.median(eigenvalues)

    for domain, rows in ((Domain.REAL, views[~is_synthetic]), (Domain.SYNTHETIC, views[is_synthetic])):
        assert spread(disentangled, domain, rows) < 0.6 * spread(aligned, domain, rows)


def test_maps_per_domain_stretch_but_do_not_turn(fitted):
    views, is_synthetic, _, _ = fitted
    head, _ = fit_head(views, is_synthetic, replace(DISENTANGLED, n_steps=20))
    for core in head.core.values():
        assert np.abs(core).max() > 0.01 and np.allclose(core, core.T, atol=1e-6)


def test_a_change_that_follows_a_head_is_one_head():
    rng = np.random.default_rng(5)
    start = replace(
        centred_start(two_domains()[0][:20], np.arange(20) > 9, 5),
        gain={Domain.REAL: 0.7, Domain.SYNTHETIC: 1.3},
        core={domain: rng.normal(size=(5, 5)).astype(np.float32) for domain in Domain},
    )
    change = _Change(torch.from_numpy(start.basis), symmetric=True)
    change.free.data += torch.from_numpy(rng.normal(size=(5, 5)).astype(np.float32))
    change.log_gain.data += 0.4
    for domain in Domain:
        rows = two_domains(seed=9)[0][:6, 0] - start.centre[domain]
        first = start.gain[domain] * rows + rows @ start.basis.T @ start.core[domain].T @ start.basis
        one_after_the_other = l2_normalise(change(torch.from_numpy(first)).detach().numpy())
        gain, core = change.after(start, domain)
        together = replace(start, gain=dict.fromkeys(Domain, gain), core=dict.fromkeys(Domain, core))
        assert np.allclose(together.embed(rows + start.centre[domain], domain), one_after_the_other, atol=1e-4)


def test_contrast_is_between_two_different_views_of_one_image():
    images = torch.arange(5 * 3).reshape(5, 3, 1)  # image i holds the views 3 i, 3 i + 1, 3 i + 2
    for seed in range(20):
        first, second = _two_views(images, 4, np.random.default_rng(seed))
        assert first.shape == (4, 1) and len(set((first // 3).flatten().tolist())) == 4
        assert torch.equal(first // 3, second // 3) and not (first == second).any()


def test_training_repeats_exactly(fitted):
    views, is_synthetic, aligned, _ = fitted
    again, _ = fit_head(views, is_synthetic, ALIGNED)
    assert np.array_equal(again.core[Domain.REAL], aligned.core[Domain.REAL])


def test_zero_steps_only_take_each_domains_mean_away():
    real, synthetic = two_domains()
    head, history = fit_head(
        np.concatenate([real, synthetic]), np.repeat([False, True], 200), replace(ALIGNED, n_steps=0)
    )
    assert np.allclose(head.embed(real[:9, 0], "real"), l2_normalise(real[:9, 0] - real[:, 0].mean(0)), atol=1e-6)
    assert history == []


@pytest.mark.parametrize(("n_real", "rank"), [(2, 1), (6, 3), (10, 4)])
def test_the_basis_has_at_most_half_as_many_directions_as_the_smaller_domain_has_images(n_real, rank):
    views = l2_normalise(np.random.default_rng(0).normal(size=(n_real + 8, 2, 24)))
    basis = centred_start(views, np.arange(n_real + 8) >= n_real, 16).basis
    assert basis.shape == (rank, 24)
    assert np.allclose(basis @ basis.T, np.eye(rank), atol=1e-5)


@pytest.mark.parametrize(
    ("n_real", "n_views", "message"), [(1, 3, "two images of each domain"), (5, 1, "views must be")]
)
def test_too_little_to_train_on_is_refused(n_real, n_views, message):
    views = l2_normalise(np.random.default_rng(0).normal(size=(n_real + 5, n_views, 8)))
    with pytest.raises(ValueError, match=message):
        fit_head(views, np.arange(n_real + 5) >= n_real, ALIGNED)
