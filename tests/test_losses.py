"""The terms against closed forms, independent loops, and what they are for."""

import math

import numpy as np
import pytest
import torch

from aad.method import info_nce, infomax_gaussian
from aad.method.training import two_views
from precompute.experiments.alignment import MoCo, infomax_bell_sejnowski, self_distillation


def test_info_nce_of_indistinguishable_embeddings_is_log_n_and_of_a_confident_match_tends_to_zero():
    same = torch.ones(7, 3)
    assert info_nce(same, same, 0.1).item() == pytest.approx(math.log(7), abs=1e-6)
    assert info_nce(torch.eye(2), torch.eye(2), 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)
    assert info_nce(torch.eye(5), torch.eye(5), 0.01).item() < 1e-6


def test_info_nce_equals_a_loop_over_pairs():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 6, 4))
    cosine = [[float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for y in b] for x in a]
    total = 0.0
    for i in range(6):
        row = sum(math.exp(cosine[i][j] / 0.3) for j in range(6))
        column = sum(math.exp(cosine[j][i] / 0.3) for j in range(6))
        total -= (
            math.log(math.exp(cosine[i][i] / 0.3) / row) / 12 + math.log(math.exp(cosine[i][i] / 0.3) / column) / 12
        )
    assert info_nce(torch.tensor(a), torch.tensor(b), 0.3).item() == pytest.approx(total, abs=1e-9)
    assert info_nce(9 * torch.tensor(a), 0.1 * torch.tensor(b), 0.3).item() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((1, 8), (1, 8)), ((8,), (8,))])
def test_info_nce_refuses_views_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="views must share one"):
        info_nce(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 0.1)


def test_a_queue_replaces_the_batch_as_negatives():
    generator = np.random.default_rng(1)
    images, queue = generator.normal(size=(5, 2, 4)), generator.normal(size=(9, 4))
    moco = MoCo(0.2)
    moco.queue = torch.tensor(queue)
    found = moco(torch.eye(4, dtype=torch.float64), torch.tensor(images), np.random.default_rng(2))

    def cosine(x, y):
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    expected = 0.0
    for x, y in zip(*(view.numpy() for view in two_views(torch.tensor(images), np.random.default_rng(2))), strict=True):
        own = math.exp(cosine(x, y) / 0.2)
        expected -= math.log(own / (own + sum(math.exp(cosine(x, z) / 0.2) for z in queue))) / 5
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_self_distillation_of_indifferent_scores_is_log_of_the_prototypes():
    flat = torch.zeros(4, 11)
    assert self_distillation(flat, flat, torch.zeros(11), 0.1, 0.04).item() == pytest.approx(math.log(11), abs=1e-6)


def test_self_distillation_equals_a_loop_and_lets_no_gradient_into_the_teacher():
    generator = np.random.default_rng(2)
    student, teacher, centre = generator.normal(size=(3, 5)), generator.normal(size=(3, 5)), generator.normal(size=5)
    expected = 0.0
    for s, t in zip(student, teacher, strict=True):
        target = [math.exp((v - c) / 0.4) for v, c in zip(t, centre, strict=True)]
        normaliser = sum(math.exp(v / 0.5) for v in s)
        expected -= sum(w / sum(target) * (v / 0.5 - math.log(normaliser)) for w, v in zip(target, s, strict=True)) / 3
    student, teacher = torch.tensor(student, requires_grad=True), torch.tensor(teacher, requires_grad=True)
    loss = self_distillation(student, teacher, torch.tensor(centre), 0.5, 0.4)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    assert teacher.grad is None and student.grad is not None


def test_gaussian_infomax_is_zero_where_the_output_is_white_and_only_there():
    root = torch.diag(torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64))  # of the covariance of what comes in
    whitening = torch.diag(torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64))
    assert infomax_gaussian(whitening @ root).item() == pytest.approx(0, abs=1e-12)
    assert infomax_gaussian(torch.eye(3, dtype=torch.float64)).item() == pytest.approx(0, abs=1e-12)
    assert infomax_gaussian(1.1 * whitening @ root).item() > 0.005


def test_gaussian_infomax_is_the_divergence_summed_over_eigenvalues():
    generator = np.random.default_rng(3)
    weight = generator.normal(size=(6, 6))
    expected = sum(value - math.log(value) - 1 for value in np.linalg.eigvalsh(weight @ weight.T)) / 12
    assert infomax_gaussian(torch.tensor(weight)).item() == pytest.approx(expected, abs=1e-9)


def test_gaussian_infomax_penalises_redundancy_between_dimensions():
    redundant = torch.linalg.cholesky(torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64))
    assert infomax_gaussian(redundant).item() > 0.3


def test_bell_sejnowski_is_minus_the_log_slope_of_the_squashed_map():
    generator = np.random.default_rng(4)
    weight, rows = generator.normal(size=(3, 3)), generator.normal(size=(7, 3))
    outputs = rows @ weight.T
    entropy = math.log(abs(np.linalg.det(weight)))
    for row in outputs:
        entropy += sum(math.log((1 / (1 + math.exp(-u))) * (1 - 1 / (1 + math.exp(-u)))) for u in row) / 7
    found = infomax_bell_sejnowski(torch.tensor(weight), torch.tensor(outputs))
    assert found.item() == pytest.approx(-entropy / 3, abs=1e-9)


def test_bell_sejnowski_separates_independent_sources_where_whitening_leaves_a_rotation_open():
    sources = torch.tensor(np.random.default_rng(5).laplace(size=(4000, 2)))
    angle = 0.6
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    mixed = sources @ turn.T
    weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.02)
    for _ in range(400):
        optimiser.zero_grad()
        infomax_bell_sejnowski(weight, mixed @ weight.T).backward()
        optimiser.step()
    unmixed = (weight @ turn).detach().abs()
    assert (unmixed.min(1).values / unmixed.max(1).values).max() < 0.1, unmixed


def test_alignment_and_infomax_in_second_order_meet_at_the_inverse_root_of_the_nuisance():
    nuisance = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    root = torch.linalg.cholesky(nuisance)
    weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.1)
    for _ in range(2000):
        optimiser.zero_grad()
        infomax_gaussian(weight @ root).backward()  # tr(W N W') - 2 log|det W|, but for constants
        optimiser.step()
    assert torch.allclose(weight.detach() @ nuisance @ weight.detach().T, torch.eye(2, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(weight, weight.T, atol=1e-6)  # from the identity it stays symmetric: ZCA, nothing turns
