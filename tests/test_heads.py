"""Heads: identity start, domains, storage."""

import numpy as np
import pytest

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import l2_normalise


def features(n: int = 30, d: int = 6) -> np.ndarray:
    return l2_normalise(np.random.default_rng(0).normal(size=(n, d)))


def some_head(shared: bool) -> Head:
    generator = np.random.default_rng(1)
    real, synthetic = (generator.normal(size=(5, 6)).astype(np.float16).astype(np.float32) for _ in range(2))
    return Head(
        {domain: 0.1 * generator.normal(size=6).astype(np.float32) for domain in Domain},
        {Domain.REAL: real, Domain.SYNTHETIC: real if shared else synthetic},
    )


def leading_head(rank: int = 3, d: int = 6) -> Head:
    """Maps ``rank`` of d directions, each domain with a matrix of its own."""
    generator = np.random.default_rng(2)
    basis = np.linalg.qr(generator.normal(size=(d, rank)))[0].T.astype(np.float32)
    return Head(
        {domain: 0.1 * generator.normal(size=d).astype(np.float32) for domain in Domain},
        {domain: generator.normal(size=(rank, rank)).astype(np.float32) for domain in Domain},
        basis,
    )


def test_untrained_square_head_keeps_backbone_ranking():
    head = Head.identity(6)
    for domain in Domain:
        assert np.allclose(head.embed(features(), domain), features(), atol=1e-6)


def test_a_head_centres_then_maps_then_normalises():
    head = some_head(shared=False)
    for domain in Domain:
        for row, feature in zip(head.embed(features(), domain), features(), strict=True):
            expected = head.weight[domain] @ (feature - head.centre[domain])
            assert np.allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("rank", [0, 3, 6])
def test_a_head_of_leading_directions_equals_its_dense_form(rank):
    head = leading_head(rank)
    assert (head.dim, head.n_out) == (6, 6)
    for domain in Domain:
        for row, feature in zip(head.apply(features(), domain), features(), strict=True):
            y = feature - head.centre[domain]
            inside = head.basis.T @ head.basis @ y
            assert np.allclose(row, y - inside + head.basis.T @ head.weight[domain] @ head.basis @ y, atol=1e-5)


def test_the_heads_of_a_file_share_its_basis_and_a_file_without_one_holds_dense_heads():
    head, other = leading_head(), leading_head()
    tensors = head.to_tensors("aligned") | other.to_tensors("disentangled")
    assert [key for key in tensors if "basis" in key] == ["basis"]
    for name in ("aligned", "disentangled"):
        back = Head.from_tensors(tensors, name)
        assert np.abs(back.embed(features(), "real") - head.embed(features(), "real")).max() < 2e-3
    assert Head.from_tensors(some_head(shared=True).to_tensors("aligned"), "aligned").basis is None


@pytest.mark.parametrize("shared", [True, False])
def test_tensors_carry_a_head_and_a_shared_matrix_is_stored_once(shared):
    head = some_head(shared)
    tensors = head.to_tensors("aligned")
    assert len(tensors) == (3 if shared else 4)
    back = Head.from_tensors(tensors, "aligned")
    for domain in Domain:
        assert np.array_equal(back.embed(features(), domain), head.embed(features(), domain))


def test_half_precision_moves_a_cosine_by_less_than_a_thousandth():
    rows, generator = features(50, 64), np.random.default_rng(2)
    weight = (np.eye(64) + 0.3 * generator.normal(size=(64, 64))).astype(np.float32)
    centre, basis = dict.fromkeys(Domain, np.full(64, 0.01, np.float32)), leading_head(16, 64).basis
    for head in (
        Head(centre, dict.fromkeys(Domain, weight)),
        Head(centre, dict.fromkeys(Domain, weight[:16, :16]), basis),
    ):
        stored = Head.from_tensors(head.to_tensors("aligned"), "aligned")
        before, after = (h.embed(rows, "synthetic") @ h.embed(rows, "real").T for h in (head, stored))
        assert 0 < np.abs(before - after).max() < 1e-3


@pytest.mark.parametrize("rows", [np.zeros((3, 5)), np.zeros(6)])
def test_features_of_another_backbone_are_refused(rows):
    with pytest.raises(ValueError, match=r"takes \(n, 6\) features"):
        some_head(shared=True).embed(rows, Domain.REAL)
