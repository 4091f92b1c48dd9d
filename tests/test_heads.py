"""Heads: identity start, domains, storage."""

import numpy as np
import pytest

from aad.backbones import l2_normalise
from aad.heads import LinearHead
from aad.spaces import Domain


def features(n: int = 30, d: int = 6) -> np.ndarray:
    return l2_normalise(np.random.default_rng(0).normal(size=(n, d)))


def test_untrained_square_head_keeps_backbone_ranking():
    head = LinearHead.identity(6)
    for domain in Domain:
        assert np.allclose(head.embed(features(), domain), features(), atol=1e-6)


def test_embeddings_have_unit_length_and_zero_stays_zero():
    head = LinearHead(dict.fromkeys(Domain, np.eye(6, dtype=np.float32)), dict.fromkeys(Domain, features()[0]))
    embedded = head.embed(features(), Domain.REAL)
    assert embedded[0].tolist() == [0] * 6  # the centre itself resembles nothing
    assert np.allclose(np.linalg.norm(embedded[1:], axis=1), 1, atol=1e-5)


def test_domains_have_their_own_maps():
    eye = np.eye(6, dtype=np.float32)
    head = LinearHead({Domain.REAL: eye, Domain.SYNTHETIC: -eye}, dict.fromkeys(Domain, np.zeros(6, np.float32)))
    assert np.allclose(head.embed(features(), "real"), -head.embed(features(), "synthetic"))


def test_a_head_survives_storage():
    generator = np.random.default_rng(1)
    head = LinearHead(
        {domain: generator.normal(size=(4, 6)).astype(np.float32) for domain in Domain},
        {domain: generator.normal(size=6).astype(np.float32) for domain in Domain},
    )
    again = LinearHead.from_tensors(head.to_tensors("aligned"), "aligned")
    assert np.array_equal(again.embed(features(), "synthetic"), head.embed(features(), "synthetic"))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"takes \(n, 6\) features"):
        LinearHead.identity(6).embed(np.zeros((2, 5), np.float32), "real")
    tensors = LinearHead.identity(6).to_tensors("aligned")
    tensors["aligned.synthetic.centre"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="expected weight"):
        LinearHead.from_tensors(tensors, "aligned")
