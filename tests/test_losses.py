"""The two terms against closed forms, independent loops, and what they are for."""

import math

import numpy as np
import pytest
import torch

from aad.losses import info_nce, infomax


def test_info_nce_of_indistinguishable_embeddings_is_log_n():
    same = torch.ones(7, 3)
    assert info_nce(same, same, 0.1).item() == pytest.approx(math.log(7), abs=1e-6)


def test_info_nce_of_a_confident_match_tends_to_zero():
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


def test_info_nce_ignores_the_length_of_embeddings():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, generator=generator)
    assert info_nce(a, b, 0.2).item() == pytest.approx(info_nce(9 * a, 0.1 * b, 0.2).item(), abs=1e-6)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((1, 8), (1, 8)), ((8,), (8,))])
def test_info_nce_refuses_views_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="views must share one"):
        info_nce(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 0.1)


def white(n: int, d: int) -> torch.Tensor:
    left, _, _ = np.linalg.svd(np.random.default_rng(0).normal(size=(n, d)) - 0.0, full_matrices=False)
    left = left - left.mean(0)
    left, _, _ = np.linalg.svd(left, full_matrices=False)
    return torch.tensor(left * math.sqrt(n))


def test_infomax_of_a_white_embedding_is_zero():
    assert infomax(white(50, 4), 0.0).item() == pytest.approx(0, abs=1e-9)


def test_infomax_is_the_gaussian_divergence_in_closed_form():
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    expected = sum((s**2 - math.log(s**2) - 1) / 2 for s in scales.tolist()) / 3
    assert infomax(white(60, 3) * scales, 0.0).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [6, 40])
@pytest.mark.parametrize("shrinkage", [0.2, 0.9])
def test_infomax_with_shrinkage_equals_a_sum_over_eigenvalues(n, shrinkage):
    rows = np.random.default_rng(3).normal(size=(n, 10)) * np.linspace(0.2, 2, 10)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    power = eigenvalues.mean()
    shrunk = [(1 - shrinkage) * value + shrinkage * power for value in eigenvalues]
    expected = sum(value - math.log(value) - 1 for value in shrunk) / 20
    assert infomax(torch.tensor(rows), shrinkage).item() == pytest.approx(expected, abs=1e-9)


def test_infomax_penalises_redundancy_between_dimensions():
    independent = white(60, 2)
    redundant = torch.stack([independent[:, 0], 0.9 * independent[:, 0] + math.sqrt(1 - 0.81) * independent[:, 1]], 1)
    assert infomax(redundant, 0.0).item() > infomax(independent, 0.0).item() + 0.3


def test_infomax_ignores_the_mean():
    assert infomax(white(60, 3) + 5, 0.1).item() == pytest.approx(infomax(white(60, 3), 0.1).item(), abs=1e-9)


def test_shrinkage_keeps_infomax_finite_where_a_set_has_fewer_images_than_dimensions():
    few = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(infomax(few, 0.3).item())
    assert infomax(few, 0.3).item() < infomax(few, 0.01).item()


def test_descending_infomax_whitens():
    mixed = white(200, 3) @ torch.tensor([[1.6, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.8]], dtype=torch.float64)
    weight = torch.eye(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.2)
    for _ in range(1500):
        optimiser.zero_grad()
        infomax(mixed @ weight.T, 0.0).backward()
        optimiser.step()
    output = (mixed @ weight.T).detach()
    covariance = output.T @ output / len(output)
    assert torch.allclose(covariance, torch.eye(3, dtype=torch.float64), atol=0.02)
    assert torch.allclose(weight, weight.T, atol=0.02)  # ZCA: a symmetric map, so two domains stay parallel
