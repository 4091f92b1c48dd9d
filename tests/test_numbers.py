"""What the numbers promise where they could differ: threads, repeats, nothing, and one; ties and k: `tests.test_search`."""

import json
from pathlib import Path

import numpy as np
import pytest

from aad import Attributor
from aad.answers import SpaceAttribution
from aad.bundle import DEFAULT_BUNDLE
from aad.spaces import Domain
from tests.factory import written
from tests.small import python

# What one process answers about one bundle, to the last bit of every number.
ANSWERS = """
import json, sys
from aad import SPACES, Attributor
attributor = Attributor.load(sys.argv[1])
m = 6
every = [attributor.attribute_query(i, 7).spaces[s] for i in range(m) for s in SPACES]
told = {
    "named": [[one.reference_id for one in answer.matches] for answer in every],
    "similarities": [[one.similarity for one in answer.matches] for answer in every],
    "ranks": [attributor.true_ranks(i) for i in range(m)],
    "shares": [[one.weight for one in answer.matches] + [answer.remainder, answer.elsewhere] for answer in every],
}
print(json.dumps(told))
"""


def answers(bundle: Path, threads: int) -> dict:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return json.loads(python(ANSWERS, bundle, **dict.fromkeys(names, str(threads))))


def test_every_run_answers_the_same_bits_and_threads_move_no_rank() -> None:
    """The bundle is the shipped one: 611 rows of 5,304 dimensions, whose products a BLAS shares out to its threads."""
    first, again, single = (answers(DEFAULT_BUNDLE, threads) for threads in (2, 2, 1))
    assert first == again
    for name, rtol in {"similarities": 1e-5, "shares": 1e-4}.items():  # sums over dimensions, and over the gallery
        np.testing.assert_allclose(*(np.array(told.pop(name)) for told in (first, single)), rtol=rtol, atol=0)
    assert first == single  # names, and ranks of the true sources


def small(folder: Path, references: np.ndarray, queries: np.ndarray) -> Attributor:
    """A bundle of these very features, untrained heads and centres at zero: its similarities can be said in advance."""
    tables = {
        "references.json": [
            {"path": f"r{i}.png", "title": "T", "source": "s", "licence": "CC0"} for i in range(len(references))
        ],
        "queries.json": [{"path": f"q{i}.png", "type": "t", "exemplar_ids": []} for i in range(len(queries))],
    }
    rows, centre = dict(zip(Domain, (references, queries), strict=True)), dict.fromkeys(Domain, 0 * AXES[0])
    about = {"name": "small", "images": "pictures", "examples": []}
    return Attributor.load(written(folder, tables, rows, centre, 10.0, np.random.default_rng(0), **about))


AXES = np.eye(8, dtype=np.float32)


def total(answer: SpaceAttribution) -> float:
    return sum(match.weight for match in answer.matches) + answer.elsewhere + answer.remainder


def test_a_gallery_of_one_gives_it_and_the_remainder(tmp_path: Path) -> None:
    attributor = small(tmp_path / "one", AXES[:1], AXES[:2])
    for query, similarity in ((0, 1.0), (1, 0.0)):
        for answer in attributor.attribute_query(query, 10).spaces.values():
            (match,) = answer.matches
            assert (match.reference_id, match.rank, match.similarity) == (0, 1, similarity)
            weight = np.exp(20 * similarity) / (np.exp(20 * similarity) + np.exp(10))
            assert [match.weight, total(answer)] == pytest.approx([weight, 1]) and answer.elsewhere < 1e-12
            assert answer.position == tuple(attributor.coordinates[answer.space][0])
    alone = attributor.attribute_reference(0, 5)["aligned"]  # without it there is nothing left
    assert alone.matches == () and alone.remainder == 1 and alone.elsewhere == 0
    assert attributor.near_copies([0]) == [None] and attributor.near_copies([]) == []


def test_an_empty_gallery_names_nothing_and_all_is_remainder(tmp_path: Path) -> None:
    attributor = small(tmp_path / "none", AXES[:0], AXES[:1])
    for answer in attributor.attribute_query(0, 3).spaces.values():
        assert answer.matches == () and answer.remainder == 1 and answer.elsewhere == 0
        assert answer.position == (0.5, 0.5)  # the middle of the map
    assert attributor.similarities([0], "aligned").shape == (1, 0)
    with pytest.raises((ValueError, IndexError)):
        attributor.attribute_reference(0, 3)


def test_a_vector_of_zeros_resembles_nothing_and_weighs_as_such(tmp_path: Path) -> None:
    attributor = small(tmp_path / "zeros", np.stack([AXES[0], 0 * AXES[0]]), np.stack([AXES[0], 0 * AXES[0]]))
    like, unlike = attributor.attribute_query(0, 2)["aligned"].matches
    assert (like.reference_id, like.similarity, unlike.similarity) == (0, 1, 0)
    answer = attributor.attribute_query(1, 2)["aligned"]
    assert [(match.reference_id, match.similarity) for match in answer.matches] == [(0, 0), (1, 0)]
    assert answer.matches[0].weight == answer.matches[1].weight and total(answer) == pytest.approx(1)
