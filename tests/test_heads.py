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
    head = Head(dict.fromkeys(Domain, np.full(64, 0.01, np.float32)), dict.fromkeys(Domain, weight))
    stored = Head.from_tensors(head.to_tensors("aligned"), "aligned")
    before, after = (h.embed(rows, "synthetic") @ h.embed(rows, "real").T for h in (head, stored))
    assert 0 < np.abs(before - after).max() < 1e-3


@pytest.mark.parametrize("rows", [np.zeros((3, 5)), np.zeros(6)])
def test_features_of_another_backbone_are_refused(rows):
    with pytest.raises(ValueError, match=r"takes \(n, 6\) features"):
        some_head(shared=True).embed(rows, Domain.REAL)
