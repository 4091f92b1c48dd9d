"""The facade on a tiny bundle: shapes, sums, ranks, and the promises that outside scripts rely on."""

import json
import subprocess
import sys

import numpy as np
import pytest

from aad import SPACES, Attributor, Domain, Space
from tests.factory import N_QUERIES, N_REFERENCES, tiny_bundle


@pytest.fixture(scope="module")
def attributor(tmp_path_factory):
    return Attributor.load(tiny_bundle(tmp_path_factory.mktemp("tiny")))


def test_three_spaces_in_order(attributor):
    assert attributor.spaces == SPACES == ("backbone", "aligned", "disentangled")


def test_weights_elsewhere_and_remainder_sum_to_one(attributor):
    for k in (1, 3, N_REFERENCES, 99):
        for answer in attributor.attribute_query(0, k).spaces.values():
            total = sum(match.weight for match in answer.matches) + answer.elsewhere + answer.remainder
            assert total == pytest.approx(1, abs=1e-9)
            assert len(answer.matches) == min(k, N_REFERENCES)


def test_matches_are_ranked_by_the_cosine_they_show(attributor):
    answer = attributor.attribute_query(2, 10)["aligned"]
    queries = np.load(attributor.queries[0].path.parent.parent / "bundle" / "queries_backbone.npy").astype(np.float32)
    own = queries[2] - attributor.heads[Space.ALIGNED].centre[Domain.SYNTHETIC]  # the factory's head only centres
    similarities = attributor._index[Space.ALIGNED].embeddings @ (own / np.linalg.norm(own))
    assert [match.rank for match in answer.matches] == list(range(1, 11))
    assert [match.reference_id for match in answer.matches] == np.argsort(-similarities, kind="stable").tolist()
    assert answer.matches[0].similarity == pytest.approx(float(similarities.max()), abs=1e-6)
    assert attributor.true_ranks(2)[Space.BACKBONE] == [1]


def test_an_image_and_its_embedding_agree(attributor):
    path = attributor.references[4].path
    embedded = attributor.embed([path], space="aligned", domain="synthetic")
    assert embedded.shape == (1, attributor.heads["backbone"].dim) and embedded.dtype == np.float32
    assert np.linalg.norm(embedded) == pytest.approx(1, abs=1e-5)
    answer = attributor.attribute(str(path), k=10)["aligned"]
    stored = attributor._index[Space.ALIGNED].embeddings
    assert answer.matches[0].similarity == pytest.approx(float((embedded @ stored.T).max()), abs=1e-5)


def test_the_answer_is_plain_json(attributor):
    answer = attributor.attribute_query(1, 3).to_dict()
    assert json.loads(json.dumps(answer)) == answer
    assert set(answer) == set(SPACES)
    assert set(answer["aligned"]) == {"space", "matches", "remainder", "elsewhere", "position"}
    assert set(answer["aligned"]["matches"][0]) == {"reference_id", "rank", "similarity", "weight"}


def test_references_carry_what_a_visitor_asks(attributor):
    reference = attributor.references[3]
    assert (reference.title, reference.source, reference.licence) == ("Picture 3", "factory", "CC0")
    assert reference.path.exists() and len(attributor.queries) == N_QUERIES


def test_a_query_that_is_not_there_is_an_error(attributor):
    with pytest.raises(IndexError):
        attributor.attribute_query(N_QUERIES, 3)


def test_bad_k_domain_and_space_are_refused(attributor):
    with pytest.raises(ValueError, match="k must be at least 1"):
        attributor.attribute_query(0, 0)
    with pytest.raises(ValueError, match="nowhere"):
        attributor.embed([], space="nowhere")
    with pytest.raises(ValueError, match="imaginary"):
        Domain("imaginary")


def test_bundled_queries_need_no_torch(tmp_path):
    bundle = tiny_bundle(tmp_path)
    code = (
        "import sys; from aad import Attributor; a = Attributor.load(sys.argv[1]); a.attribute_query(0, 5); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'umap', 'matplotlib', 'gradio')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bundle)]).returncode == 0
