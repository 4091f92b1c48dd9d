"""The training loop on data whose structure is known: what alignment and Infomax must each achieve, and what they must not see."""

import platform
from dataclasses import replace

import numpy as np
import pytest
import torch

from aad.method import ALIGNED, DISENTANGLED, Head, Views, fit_head, leading_directions
from aad.method.training import two_views
from aad.spaces import Domain
from aad.vectors import l2_normalise
from tests.small import python

SMALL = {"gains_only": False, "learning_rate": 5e-3, "temperature": 0.1}
SMALL_ALIGNED = replace(ALIGNED, n_steps=100, **SMALL)
SMALL_DISENTANGLED = replace(DISENTANGLED, n_steps=60, shrinkage=0.03, **SMALL)


def two_domains(seed: int = 0, n: int = 200, v: int = 4) -> Views:
    """Concepts shared by two domains, drowned in a few loud directions of view noise; each domain has a mean of its own."""
    rng = np.random.default_rng(seed)
    loudness = np.geomspace(0.1, 2, 20)
    concept = rng.normal(size=(n, 20)) * loudness

    def views(rows):
        noise = np.concatenate([4 * rng.normal(size=(n, v, 4)), 0.1 * rng.normal(size=(n, v, 6))], 2)
        quiet = 0.4 * loudness * rng.normal(size=(n, v, 20))
        return l2_normalise(np.concatenate([np.repeat(rows[:, None], v, 1) + quiet, noise], 2))

    return Views(views(concept + 0.5), views(concept - 0.5))


def recall(head: Head, views: Views) -> float:
    similarities = head.embed(views.synthetic[:, 0], Domain.SYNTHETIC) @ head.embed(views.real[:, 0], Domain.REAL).T
    return float((similarities.argmax(1) == np.arange(len(views.real))).mean())


@pytest.fixture(scope="module")
def fitted():
    views = two_domains()
    shuffled = replace(views, synthetic=views.synthetic[np.random.default_rng(1).permutation(200)])  # no pairs
    return shuffled, fit_head(shuffled, SMALL_ALIGNED)[0], fit_head(shuffled, SMALL_DISENTANGLED)[0]


def test_alignment_helps_and_infomax_helps_more_on_unseen_images(fitted):
    _, aligned, disentangled = fitted
    unseen = two_domains(seed=7)
    scores = [recall(head, unseen) for head in (Head.identity(30), aligned, disentangled)]
    assert scores[1] > scores[0] + 0.1, scores
    assert scores[2] > scores[1] + 0.02, scores


def test_infomax_makes_the_views_nearly_white_and_without_it_they_stay_as_they_are_loud():
    views = two_domains()

    def evenness(infomax_weight):
        """Loudest of the quietest direction's variances, of all views embedded."""
        config = replace(SMALL_DISENTANGLED, infomax_weight=infomax_weight, shrinkage=0.0, n_steps=30)
        head, _ = fit_head(views, config)
        outputs = np.concatenate([head.apply(views.of(domain), domain).reshape(-1, 30) for domain in Domain])
        eigenvalues = np.linalg.eigvalsh(np.cov(outputs.T))
        return eigenvalues[-1] / eigenvalues[0]

    assert evenness(1000.0) < 2.5 and evenness(0.0) > 50


@pytest.mark.parametrize("config", [SMALL_ALIGNED, SMALL_DISENTANGLED], ids=["aligned", "disentangled"])
def test_what_lies_outside_of_the_leading_directions_stays_as_it_is(config):
    views = two_domains()
    head, _ = fit_head(views, replace(config, rank=5, n_steps=20))
    loudest = np.linalg.eigh((views.spread(Domain.REAL) + views.spread(Domain.SYNTHETIC)) / 2)[1][:, -5:]
    outside = np.eye(30) - loudest @ loudest.T
    rows = views.real[:, 0]
    moved, mapped = rows - rows.mean(0), head.apply(rows, Domain.REAL)
    assert head.basis.shape == (5, 30) and head.weight[Domain.REAL].shape == (5, 5) and head.n_out == 30
    assert np.allclose(mapped @ outside, moved @ outside, atol=1e-5)
    assert np.abs(mapped @ loudest - moved @ loudest).max() > 0.05


def test_alignment_sees_what_the_head_leaves_as_it_is():
    views, still = two_domains(), replace(SMALL_ALIGNED, n_steps=10, learning_rate=0.0)
    few, all_of_them = (fit_head(views, replace(still, rank=rank))[1][0]["alignment"] for rank in (1, 30))
    assert few == pytest.approx(all_of_them, abs=1e-4)


def test_a_rank_beyond_the_dimensions_maps_them_all_and_known_directions_are_not_looked_for_again(fitted):
    views, config = fitted[0], replace(SMALL_DISENTANGLED, n_steps=3)
    wanted, given = (fit_head(views, replace(config, rank=rank))[0] for rank in (30, 31))
    assert np.array_equal(wanted.weight[Domain.REAL], given.weight[Domain.REAL]) and len(given.basis) == 30
    known, _ = fit_head(views, config, leading=leading_directions(views, 7))
    asked_for, _ = fit_head(views, replace(config, rank=7))
    assert np.array_equal(known.weight[Domain.REAL], asked_for.weight[Domain.REAL]) and len(known.basis) == 7


def test_an_untrained_aligned_head_only_takes_the_domain_means_away():
    views = two_domains()
    head, history = fit_head(views, replace(SMALL_ALIGNED, n_steps=0))
    assert history == []
    for domain in Domain:
        rows = views.of(domain)[:, 0]
        assert np.allclose(head.embed(rows, domain), l2_normalise(rows - rows.mean(0)), atol=1e-5)


def test_gains_alone_turn_no_direction_and_quieten_what_changes_between_views():
    views = two_domains()
    head, _ = fit_head(views, replace(SMALL_ALIGNED, gains_only=True, learning_rate=0.03))
    gains = np.diag(head.weight[Domain.REAL])
    assert np.array_equal(head.weight[Domain.REAL], np.diag(gains)) and (gains > 0).all()
    noise = np.abs(head.basis[:, 20:24]).sum(1) > 1  # the loud columns that change between the views of an image
    assert noise.sum() == 4 and gains[noise].max() < 0.5 * gains[~noise].max()


def test_training_twice_gives_the_same_head_and_another_seed_another_and_both_tell_the_losses():
    views, config, seen = two_domains(), replace(SMALL_DISENTANGLED, n_steps=20), []
    first, history = fit_head(views, config, lambda step, loss: seen.append((step, loss)))
    again, other = (fit_head(views, c)[0] for c in (config, replace(config, seed=1)))
    assert np.array_equal(first.weight[Domain.REAL], again.weight[Domain.REAL])
    assert not np.array_equal(first.weight[Domain.REAL], other.weight[Domain.REAL])
    assert [step for step, _ in seen] == list(range(1, 21)) and all(np.isfinite(loss) for _, loss in seen)
    assert len(history) == 10 and set(history[0]) == {"step", "alignment", "infomax"}


def test_views_that_cannot_be_trained_on_are_refused():
    for real, synthetic, complaint in (
        ((5, 1, 8), (5, 3, 8), "real views must be"),
        ((5, 3, 8), (5, 3, 7), "synthetic views must be"),
        ((1, 3, 8), (5, 3, 8), "two images of each domain, got 1 real"),
    ):
        with pytest.raises(ValueError, match=complaint):
            Views(np.zeros(real, np.float32), np.zeros(synthetic, np.float32))


def test_two_views_are_of_the_same_image_and_never_the_same_view():
    images = torch.arange(10 * 3 * 1).reshape(10, 3, 1).float()
    first, second = two_views(images, np.random.default_rng(0))
    assert (first != second).all() and torch.equal(first // 3, second // 3)


FITTED = """
import hashlib
from dataclasses import replace
import numpy as np
from aad.method import ALIGNED, DISENTANGLED, Views, fit_head
from aad.spaces import Domain

def invented(seed, n, v, d=24):
    rng = np.random.default_rng(seed)
    content = rng.integers(-8, 9, (n, 1, d)) * np.arange(1, d + 1)
    noise = rng.integers(-8, 9, (n, v, d)) * np.arange(d, 0, -1)
    return np.float32(content + noise + 32 * seed) / 256  # whole numbers, which no machine rounds

views = Views(invented(1, 210, 4), invented(2, 230, 3))
for config in (ALIGNED, DISENTANGLED):
    head, _ = fit_head(views, replace(config, rank=16))  # of 24: some are left as they are
    parts = (head.basis, *head.centre.values(), head.weight[Domain.REAL])
    print(hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest())
"""
ANY_X86 = {  # what every x86-64 machine can do, in one order: other instructions add up in other orders
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "default",
    "OPENBLAS_CORETYPE": "Nehalem",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the sums are those of x86-64")
def test_the_shipped_settings_fit_the_very_heads_that_they_fitted_when_this_was_written():
    """The losses, the loop and the start, to the last bit; a change of the method on purpose writes new values here."""
    assert python(FITTED, **ANY_X86).split() == [
        "4bf1b7f0b0dce7789409a73d8ba834c58c3cd98e58188f2efa158bf65abe86a0",
        "a7d9959784c576a6017fe1b6819ea660635b008b159513a4c39405f63e9e7015",
    ]
