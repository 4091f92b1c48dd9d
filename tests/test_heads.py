"""Heads: identity start, domains, storage."""

from dataclasses import replace

import numpy as np
import pytest

from aad.backbones import l2_normalise
from aad.heads import Head
from aad.spaces import Domain


def features(n: int = 30, d: int = 6) -> np.ndarray:
    return l2_normalise(np.random.default_rng(0).normal(size=(n, d)))


def some_head() -> Head:
    generator = np.random.default_rng(1)
    return Head(
        np.linalg.qr(generator.normal(size=(6, 3)))[0].T.astype(np.float32),
        {domain: 0.1 * generator.normal(size=6).astype(np.float32) for domain in Domain},
        {Domain.REAL: 0.7, Domain.SYNTHETIC: 1.5},
        {domain: generator.normal(size=(3, 3)).astype(np.float32) for domain in Domain},
    )


def test_the_low_rank_form_is_the_matrix_it_says():
    head = some_head()
    for domain in Domain:
        matrix = head.gain[domain] * np.eye(6) + head.basis.T @ head.core[domain] @ head.basis
        expected = (features() - head.centre[domain]) @ matrix.T
        assert np.allclose(head.embed(features(), domain), l2_normalise(expected), atol=1e-5)


def test_untrained_square_head_keeps_backbone_ranking():
    head = Head.identity(6)
    for domain in Domain:
        assert np.allclose(head.embed(features(), domain), features(), atol=1e-6)


def test_embeddings_have_unit_length_and_zero_stays_zero():
    head = replace(Head.identity(6), centre=dict.fromkeys(Domain, features()[0]))
    embedded = head.embed(features(), Domain.REAL)
    assert embedded[0].tolist() == [0] * 6  # the centre itself resembles nothing
    assert np.allclose(np.linalg.norm(embedded[1:], axis=1), 1, atol=1e-5)


def test_domains_have_their_own_maps():
    head = replace(Head.identity(6), gain={Domain.REAL: 1.0, Domain.SYNTHETIC: -1.0})
    assert np.allclose(head.embed(features(), "real"), -head.embed(features(), "synthetic"))


def test_a_head_survives_storage():
    head = some_head()
    again = Head.from_tensors(head.to_tensors("aligned"), "aligned")
    assert np.array_equal(again.embed(features(), "synthetic"), head.embed(features(), "synthetic"))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"takes \(n, 6\) features"):
        Head.identity(6).embed(np.zeros((2, 5), np.float32), "real")
    tensors = Head.identity(6).to_tensors("aligned")
    with pytest.raises(ValueError, match=r"aligned\.synthetic\.centre must be finite and of shape"):
        Head.from_tensors(tensors | {"aligned.synthetic.centre": np.zeros(3, np.float32)}, "aligned")
    with pytest.raises(ValueError, match=r"aligned\.real\.gain must be finite"):
        Head.from_tensors(tensors | {"aligned.real.gain": np.array([np.nan], np.float32)}, "aligned")
    del tensors["aligned.real.core"]
    with pytest.raises(ValueError, match=r"lacks aligned\.real\.core"):
        Head.from_tensors(tensors, "aligned")
