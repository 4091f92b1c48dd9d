"""The facade on a tiny bundle: shapes, sums, ranks, and the promises that outside scripts rely on."""

import json

import numpy as np
import pytest

from aad import SPACES, Attributor, Domain, Space
from tests.factory import N_QUERIES, N_REFERENCES, tiny_bundle


@pytest.fixture(scope="module")
def attributor(tmp_path_factory):
    return Attributor.load(tiny_bundle(tmp_path_factory.mktemp("tiny")))


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


def test_an_uploaded_example_finds_what_the_stored_one_finds_and_a_copy_of_a_source_finds_it_first(shipped):
    for query_id in shipped.examples[:4]:
        uploaded, stored = shipped.attribute(shipped.queries[query_id].path, 5), shipped.attribute_query(query_id, 5)
        for space in SPACES:
            found, known = uploaded[space].matches[0], stored[space].matches[0]
            assert found.reference_id == known.reference_id
            assert found.similarity == pytest.approx(known.similarity, abs=2e-3)
    (otter,) = (reference for reference in shipped.references if reference.title == "Otter")
    first = shipped.attribute(otter.path, 1)["backbone"].matches[0]
    assert first.reference_id == otter.reference_id and first.similarity > 0.999


def test_the_answer_is_plain_json(attributor):
    answer = attributor.attribute_query(1, 3).to_dict()
    assert json.loads(json.dumps(answer)) == answer
    assert set(answer) == set(SPACES)
    assert set(answer["aligned"]) == {"space", "matches", "remainder", "elsewhere", "position"}
    assert set(answer["aligned"]["matches"][0]) == {"reference_id", "rank", "similarity", "weight"}


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


def test_the_demos_near_copies_show_one_view_each_and_are_few(shipped):
    titles = [reference.path.stem for reference in shipped.references]
    folded = shipped.near_copies(range(len(titles)))
    pairs = {frozenset((titles[i], titles[head])) for i, head in enumerate(folded) if head is not None}
    assert pairs == {
        frozenset(("gcompris-solar-system-neptune", "tuxpaint-planets-8-neptune")),
        frozenset(("gcompris-solar-system-earth", "tuxpaint-planets-3-earth")),
    }


def test_a_filtered_answer_is_the_whole_ranking_without_what_is_filtered_out(attributor):
    among = np.arange(N_REFERENCES) % 2 == 0
    everything, filtered = attributor.attribute_query(1, N_REFERENCES), attributor.attribute_query(1, 3, among=among)
    for space in SPACES:
        kept = [match for match in everything[space].matches if among[match.reference_id]][:3]
        shown = filtered[space].matches
        assert [match.reference_id for match in shown] == [match.reference_id for match in kept]
        assert [match.rank for match in shown] == [1, 2, 3]
        np.testing.assert_allclose([m.weight for m in shown], [m.weight for m in kept], rtol=1e-5)
        total = sum(match.weight for match in shown) + filtered[space].elsewhere + filtered[space].remainder
        assert total == pytest.approx(1, abs=1e-9)
        # a filter moves nothing on the map: 10 placed by k = 3, so the same 3 nearest count
        assert filtered[space].position == pytest.approx(attributor.attribute_query(1, 3)[space].position)


def test_a_reference_searched_again_is_not_among_its_answers_and_lies_at_its_own_place(attributor):
    for reference_id in (0, 7):
        answer = attributor.attribute_reference(reference_id, N_REFERENCES)
        for space in SPACES:
            embeddings = attributor._index[space].embeddings
            others = [i for i in range(N_REFERENCES) if i != reference_id]
            expected = sorted(others, key=lambda i: (-float(embeddings[i] @ embeddings[reference_id]), i))
            assert [match.reference_id for match in answer[space].matches] == expected
            assert sum(m.weight for m in answer[space].matches) + answer[space].remainder == pytest.approx(1, abs=1e-9)
            assert answer[space].position == tuple(attributor.coordinates[space][reference_id].tolist())
