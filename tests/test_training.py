"""The training loop on data whose structure is known: what alignment and Infomax must each achieve, and what they must not see."""

from dataclasses import replace

import numpy as np
import pytest

from aad.backbones import l2_normalise
from aad.heads import LinearHead
from aad.spaces import Domain
from aad.training import TrainConfig, fit_head, principal_start

CONFIG = TrainConfig(dim=24, n_steps=200, learning_rate=5e-3, anchor_weight=0.05, shrinkage=0.05, batch_size=200)


def two_domains(seed: int = 0, n: int = 200, v: int = 4):
    """Concepts shared by two domains, drowned in a few loud directions: view noise, and content of unequal power per domain."""
    generator = np.random.default_rng(seed)
    concept = generator.normal(size=(n, 12))
    loudness = np.linspace(0.3, 3, 12)
    real, synthetic = concept * loudness, concept * loudness[::-1]  # what is loud in one domain is quiet in the other

    def views(rows):
        noise = np.concatenate(
            [3 * generator.normal(size=(len(rows), v, 4)), 0.3 * generator.normal(size=(len(rows), v, 8))], 2
        )
        return l2_normalise(np.concatenate([np.repeat(rows[:, None], v, 1), noise], 2))

    return views(real), views(synthetic)


def recall(head: LinearHead, real: np.ndarray, synthetic: np.ndarray) -> float:
    similarities = head.embed(synthetic[:, 0], Domain.SYNTHETIC) @ head.embed(real[:, 0], Domain.REAL).T
    return float((similarities.argmax(1) == np.arange(len(real))).mean())


@pytest.fixture(scope="module")
def fitted():
    real, synthetic = two_domains()
    views, is_synthetic = np.concatenate([real, synthetic]), np.repeat([False, True], 200)
    aligned, _ = fit_head(views, is_synthetic, CONFIG)
    disentangled, _ = fit_head(views, is_synthetic, replace(CONFIG, infomax_weight=1.0), aligned)
    return views, is_synthetic, aligned, disentangled


def test_alignment_helps_and_infomax_helps_more_on_unseen_images(fitted):
    _, _, aligned, disentangled = fitted
    real, synthetic = two_domains(seed=7)
    scores = [recall(head, real, synthetic) for head in (LinearHead.identity(24), aligned, disentangled)]
    assert scores[1] > scores[0] + 0.1, scores
    assert scores[2] > scores[1] + 0.1, scores


def test_without_its_weight_infomax_does_nothing(fitted):
    views, is_synthetic, aligned, _ = fitted
    again, _ = fit_head(views, is_synthetic, CONFIG, aligned)
    real, synthetic = two_domains(seed=7)
    assert recall(again, real, synthetic) < recall(aligned, real, synthetic) + 0.1
    assert np.array_equal(again.weight[Domain.REAL], again.weight[Domain.SYNTHETIC])


def test_infomax_makes_each_domain_nearly_white(fitted):
    views, is_synthetic, aligned, disentangled = fitted

    def spread(head, domain, rows):
        mapped = (rows - head.centre[domain]) @ head.weight[domain].T
        eigenvalues = np.linalg.eigvalsh(np.cov(mapped.reshape(-1, mapped.shape[-1]).T))
        return eigenvalues[-1] / np.median(eigenvalues)

    for domain, rows in ((Domain.REAL, views[~is_synthetic]), (Domain.SYNTHETIC, views[is_synthetic])):
        assert spread(disentangled, domain, rows) < 0.6 * spread(aligned, domain, rows)


def test_training_repeats_exactly(fitted):
    views, is_synthetic, aligned, _ = fitted
    again, _ = fit_head(views, is_synthetic, CONFIG)
    assert np.array_equal(again.weight[Domain.REAL], aligned.weight[Domain.REAL])


def test_zero_steps_keep_the_cosine_of_the_backbone():
    real, synthetic = two_domains()
    views = np.concatenate([real, synthetic])
    head, _ = fit_head(views, np.repeat([False, True], 200), replace(CONFIG, n_steps=0))
    rows = views[:50, 0]
    assert np.allclose(head.embed(rows, "real") @ head.embed(rows, "real").T, rows @ rows.T, atol=1e-5)


def test_fewer_images_than_dimensions_shorten_the_head():
    head = principal_start(l2_normalise(np.random.default_rng(0).normal(size=(5, 24))), 16)
    assert head.dim == 5


@pytest.mark.parametrize(
    ("n_real", "n_views", "message"), [(1, 3, "two images of each domain"), (5, 1, "views must be")]
)
def test_too_little_to_train_on_is_refused(n_real, n_views, message):
    views = l2_normalise(np.random.default_rng(0).normal(size=(n_real + 5, n_views, 8)))
    with pytest.raises(ValueError, match=message):
        fit_head(views, np.arange(n_real + 5) >= n_real, CONFIG)
