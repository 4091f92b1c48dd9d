"""The story of talk mode: its cases follow a rule, its words fit them, and everything it shows travels with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aad.spaces import SPACES
from interface import talk
from interface.outcomes import Outcomes
from tests.fakes import FakeAttributor

GROUPS = ("birds", "boats", "fish", "trees")


def outcomes(rows: list[dict[str, object]]) -> Outcomes:
    """Made by hand: per query ranks, weights, group of the true source, and of each space's first answer."""

    def text(values: list[object]) -> np.ndarray:
        return np.array([str(value) for value in values], dtype=object)

    m = len(rows)
    first = np.array([[GROUPS.index(str(name)) for name in row["answers"]] for row in rows], np.int32).T  # type: ignore[attr-defined]
    return Outcomes(
        query_ids=np.arange(m) * 10,
        exemplar_ids=tuple((GROUPS.index(str(row["group"])),) * int(row.get("sources", 1)) for row in rows),  # type: ignore[call-overload]
        best_rank=np.array([row["rank"] for row in rows]).T,
        n_first_five=np.zeros((3, m), np.int64),
        neighbours=first[:, :, None],
        similarity=np.zeros((3, m), np.float32),
        weight=np.array([row.get("weight", (0.1, 0.1, 0.1)) for row in rows], np.float32).T,
        labels={
            key: text([row.get(key, default) for row in rows])
            for key, default in (("generator", "g"), ("split", "test"))
        },
        reference_labels={"group": text(list(GROUPS))},
    )


def turn(rank: tuple[int, int, int], **more: object) -> dict[str, object]:
    return {"rank": rank, "group": "birds", "answers": ("boats", "boats", "birds"), **more}


def test_the_turning_case_gains_most_and_in_each_space_and_a_weaker_turn_is_better_than_none() -> None:
    rows = [
        turn((40, 1, 1)),  # nothing left for the last space to do
        turn((5, 2, 1)),
        turn((30, 3, 1)),  # this one
        turn((90, 4, 1), weight=(0, 0, 0.01)),  # farther, and hardly found
        turn((300, 4, 2)),  # not found
        turn((300, 4, 1), split="train", weight=(0, 0, 0.9)),  # seen in training
        turn((300, 4, 1), answers=("birds", "boats", "birds")),  # the wrong answer looks right
    ]
    assert talk.choose(outcomes(rows))["turn"] == 2
    assert talk.choose(outcomes([turn((4, 1, 1), split="train", answers=("birds", "birds", "birds"))]))["turn"] == 0
    assert talk.choose(outcomes([turn((9, 9, 9))])).get("turn") is None


def test_a_generator_never_trained_on_comes_first() -> None:
    rows = [turn((30, 3, 1)), turn((9, 3, 1), generator="unseen")]
    assert talk.choose(outcomes(rows))["turn"] == 0
    assert talk.choose(outcomes(rows), held_out=["unseen"])["turn"] == 1


def test_easy_and_failing_cases_are_of_other_groups() -> None:
    right, wrong = (1, 1, 1), (50, 40, 30)
    rows = [
        turn((30, 3, 1)),
        {"rank": right, "group": "birds", "answers": ("birds",) * 3, "weight": (0.9, 0.9, 0.9)},
        {"rank": right, "group": "fish", "answers": ("fish",) * 3, "weight": (0.2, 0.9, 0.9)},
        {"rank": right, "group": "boats", "answers": ("boats",) * 3, "weight": (0.5, 0.5, 0.5)},
        {"rank": wrong, "group": "trees", "answers": ("fish",) * 3, "weight": (0.9, 0.9, 0.3)},
        {"rank": wrong, "group": "trees", "answers": ("fish",) * 3, "weight": (0.1, 0.1, 0.6)},
        {"rank": wrong, "group": "trees", "answers": ("trees",) * 3, "weight": (0.9, 0.9, 0.9)},
    ]
    assert talk.choose(outcomes(rows)) == {"turn": 0, "easy": 3, "fails": 5}


def test_shares_are_of_the_fairest_queries() -> None:
    rows = [
        turn((2, 1, 1), generator="unseen"),
        turn((2, 2, 1), generator="unseen"),
        turn((1, 1, 1)),
        turn((1, 1, 1), split="train"),
    ]
    found = talk.shares(outcomes(rows), ["unseen"])
    assert found and found["n"] == 2 and "a generator" in found["of"]
    assert [found["spaces"][str(space)] for space in SPACES] == [0, 0.5, 1]
    assert (talk.shares(outcomes(rows)) or {})["n"] == 3, "without one, all of the test split"


def test_bundle_without_known_sources_has_a_shorter_story(tmp_path: Path) -> None:
    attributor = FakeAttributor(tmp_path, n_per_group=2)
    attributor.queries = tuple(replace(query, exemplar_ids=()) for query in attributor.queries)
    story = talk.story(attributor)
    kinds = [step["kind"] for step in story["steps"]]
    assert kinds == ["opening", "case", "case", "case", "maps", "end"]
    assert story["cases"]["turn"]["query"]["id"] == attributor.examples[0]
    assert all("rank" not in step["title"] for step in story["steps"])


def test_bundle_without_queries_still_has_something_to_say(tmp_path: Path) -> None:
    attributor = FakeAttributor(tmp_path, n_per_group=2, n_queries=0)
    (tell,) = talk.functions(attributor)
    story = tell()
    assert story is tell({"anything": 1}), "it is worked out once"
    assert [step["kind"] for step in story["steps"]] == ["opening", "maps", "end"]
    assert story["cases"] == {} and story["figures"] is None


@pytest.mark.parametrize(("n", "wanted"), [(3, [1]), (48, [0]), (500, [499]), (1, [])])
def test_wall_is_spread_and_holds_what_is_wanted(n: int, wanted: list[int]) -> None:
    ids = talk.spread(n, talk.N_WALL, wanted)
    assert len(ids) == len(set(ids)) == min(n, talk.N_WALL)
    assert set(wanted) <= set(ids) and min(ids) >= 0 and max(ids) < n
