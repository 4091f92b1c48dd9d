"""Alignment and Infomax together find the directions that CCA would find from pairs; half of it does not. See tests/recovery.py."""

from dataclasses import replace

import numpy as np
import pytest

from aad.method import Head, TrainConfig, Views, fit_head
from aad.spaces import Domain
from tests.recovery import N_SOURCES, matched, nuisance, oracle, recovered, two_domains, whitened, whitened_apart

SHRINKAGE = 1e-3  # enough images here to see every direction


@pytest.fixture(scope="module", params=[0, 1, 2])
def data(request):
    return two_domains(request.param)


def centred(views: Views) -> Head:
    """Features as they are but for the domains' means."""
    return fit_head(views, TrainConfig(n_steps=0))[0]


def infomax_alone(views: Views) -> Head:
    """Whitening of all views: where training with Infomax starts."""
    return fit_head(views, TrainConfig(infomax_weight=1.0, shrinkage=SHRINKAGE, n_steps=0))[0]


def attraction_alone(views: Views) -> Head:
    """Alignment without Infomax, kept from collapsing by an orthonormal frame: the directions of least view variance."""
    quietest = np.linalg.eigh(nuisance(views.real) + nuisance(views.synthetic))[1].T[:N_SOURCES]
    return Head(centred(views).centre, dict.fromkeys(Domain, quietest.astype(np.float32)))


def test_alignment_and_infomax_recover_the_directions_of_cca_without_pairs_and_neither_does_alone(data):
    views = data.views
    for head, least, most in (
        (whitened(views, SHRINKAGE), 0.97, 1.01),
        (whitened_apart(views, SHRINKAGE), 0.97, 1.01),
        (attraction_alone(views), 0, 0.5),
        (infomax_alone(views), 0, 0.6),
        (centred(views), 0, 0.3),
    ):
        assert least < recovered(head, data) < most


def test_the_trained_losses_recover_them_too():
    """So does in-batch contrast alone, as its negatives are an Infomax of their own.

    Wang and Isola, arXiv:2005.10242: InfoNCE is attraction plus a spreading term. So the claim "alignment alone does not" holds for
    the attraction, not for InfoNCE.
    """
    data = two_domains()
    for config in (TrainConfig(infomax_weight=10.0, shrinkage=SHRINKAGE), TrainConfig()):
        head, _ = fit_head(data.views, replace(config, gains_only=False, n_steps=150, learning_rate=5e-3))
        assert recovered(head, data) > 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_views_that_keep_what_the_generator_replaces_mislead(seed):
    broken = two_domains(seed, n_private=N_SOURCES)
    assert recovered(whitened(broken.views, SHRINKAGE), broken) < 0.6


def test_domains_that_are_turned_against_each_other_keep_their_directions_and_lose_their_match():
    turned = two_domains(0, turned=True)
    head = whitened_apart(turned.views, SHRINKAGE)
    assert recovered(head, turned) > 0.97
    assert matched(head, turned) < 0.02 and matched(oracle(turned), turned) > 0.3
