"""The terms against closed forms, independent loops, and what they are for."""

import math

import numpy as np
import pytest
import torch

from aad.method import info_nce, infomax_gaussian


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
        total -= sum(math.log(math.exp(cosine[i][i] / 0.3) / everyone) for everyone in (row, column)) / 12
    assert info_nce(torch.tensor(a), torch.tensor(b), 0.3).item() == pytest.approx(total, abs=1e-9)
    assert info_nce(9 * torch.tensor(a), 0.1 * torch.tensor(b), 0.3).item() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((1, 8), (1, 8)), ((8,), (8,))])
def test_info_nce_refuses_views_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="views must share one"):
        info_nce(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 0.1)


def test_gaussian_infomax_is_the_divergence_summed_over_eigenvalues():
    generator = np.random.default_rng(3)
    weight = generator.normal(size=(6, 6))
    expected = sum(value - math.log(value) - 1 for value in np.linalg.eigvalsh(weight @ weight.T)) / 12
    assert infomax_gaussian(torch.tensor(weight)).item() == pytest.approx(expected, abs=1e-9)


def test_alignment_and_infomax_in_second_order_meet_at_the_inverse_root_of_the_nuisance():
    nuisance = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    root = torch.linalg.cholesky(nuisance)
    weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        infomax_gaussian(weight @ root).backward()  # tr(W N W') - 2 log|det W|, but for constants
        optimiser.step()
    assert torch.allclose(weight.detach() @ nuisance @ weight.detach().T, torch.eye(2, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(weight, weight.T, atol=1e-6)  # from the identity it stays symmetric: ZCA, nothing turns
