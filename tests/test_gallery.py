"""Filters, near-copies and searching again: what is named changes, ranks and weights do not."""

import numpy as np
import pytest

from aad import SPACES, Attributor
from aad.gallery import NEAR_COPY, chosen, fold_near_copies
from tests.factory import N_REFERENCES, tiny_bundle


@pytest.fixture(scope="module")
def attributor(tmp_path_factory):
    return Attributor.load(tiny_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def shipped():
    return Attributor.load()


def test_a_filter_is_any_value_of_a_field_and_every_field(shipped):
    wanted = {"group": ["coins", "birds"], "licence": ["public domain"], "source": []}
    passes = chosen(shipped.references, wanted)
    for reference, passed in zip(shipped.references, passes, strict=True):
        assert passed == (reference.group in ("coins", "birds") and reference.licence == "public domain")
    assert 0 < passes.sum() < len(passes)


@pytest.mark.parametrize(
    "wanted", [{"title": ["x"]}, {"group": "birds"}, {"group": [3]}, {"group": 3}, {"group": None}]
)
def test_a_filter_that_is_none_is_refused(shipped, wanted):
    with pytest.raises(ValueError, match="filter"):
        chosen(shipped.references, wanted)


def test_near_copies_fold_under_the_best_ranked_one_and_never_under_a_folded_one():
    def at(*degrees):
        return np.array([[np.cos(np.radians(d)), np.sin(np.radians(d))] for d in degrees])

    near = np.degrees(np.arccos(NEAR_COPY))
    assert fold_near_copies(at(0, 0.9 * near, 90, 1.8 * near, 90.1)) == [None, 0, None, None, 2]


def test_the_demos_near_copies_show_one_view_each_and_are_few(shipped):
    titles = [reference.path.stem for reference in shipped.references]
    folded = shipped.near_copies(range(len(titles)))
    pairs = {frozenset((titles[i], titles[head])) for i, head in enumerate(folded) if head is not None}
    assert pairs == {
        frozenset(("gcompris-solar-system-neptune", "tuxpaint-planets-8-neptune")),
        frozenset(("gcompris-details-neuschwanstein", "gcompris-germany-neuschwanstein-castle")),
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


def test_searching_again_loads_no_network(attributor):
    attributor.attribute_reference(2, 3, among=np.ones(N_REFERENCES, dtype=bool))
    assert not attributor.ready
