"""The classroom exercise in docs/: what it says will be seen is what the shipped collection gives."""

import re
from pathlib import Path

import pytest

from aad import SPACES
from aad.bundle import Bundle
from interface import present, why
from interface.outcomes import Outcome, outcomes_of
from interface.words import SPACE_WORDS, TYPE_WORDS

ROOT = Path(__file__).resolve().parent.parent
SHEET = (ROOT / "docs" / "exercise.md").read_text("utf-8")
QUESTIONS, ANSWERS = (
    {
        number: " ".join(words.split())
        for number, words in re.findall(r"^(\d+)\. ((?:.+\n?)+?)(?=^\d+\. |^$|\Z)", part, re.M)
    }
    for part in SHEET.split("## Answers")
)
TASKS = " ".join(SHEET.split("## Answers")[0].split())


@pytest.fixture(scope="module")
def outcomes(shipped):
    return outcomes_of(shipped)


@pytest.fixture(scope="module")
def tested(outcomes):
    return outcomes.labels["split"] == "test"


def example(shipped, place):
    return shipped.queries[shipped.examples[place - 1]]


def best_ranks(shipped, query):
    return [shipped.true_ranks(query.query_id)[space][0] for space in SPACES]


def test_there_is_an_answer_to_every_question():
    assert list(ANSWERS) == list(QUESTIONS) == [str(i) for i in range(1, 14)]


def test_the_first_example_is_a_windmill_that_the_first_glance_takes_for_a_painting_and_that_lands_nearer_at_last(
    shipped,
):
    query = example(shipped, 1)
    assert (query.concept, TYPE_WORDS[query.type]) == ("windmill", "Painted over") and "*Painted over*" in TASKS
    answer = shipped.attribute_query(query.query_id, 3)
    first, second = (answer[space].matches[0].reference_id for space in ("backbone", "aligned"))
    assert f'"{shipped.references[second].title}"' in ANSWERS["3"] and second not in query.exemplar_ids
    assert f'First comes "{shipped.references[first].title}"' in ANSWERS["2"] and first not in query.exemplar_ids
    ranks = best_ranks(shipped, query)
    names = [SPACE_WORDS[space]["name"] for space in SPACES]
    said = ", ".join(f"at rank {rank} in *{name}*" for rank, name in zip(ranks, names, strict=True))
    assert said in ANSWERS["3"].replace("At", "at")
    assert f'The source is "{shipped.references[query.exemplar_ids[0]].title}"' in ANSWERS["3"]

    def distance(space):
        at, there = answer[space].position, shipped.coordinates[space][query.exemplar_ids[0]]
        return ((at[0] - there[0]) ** 2 + (at[1] - there[1]) ** 2) ** 0.5

    assert distance("disentangled") < 0.8 * distance("aligned"), "answer 5"


def test_the_fifth_example_is_one_of_style_where_the_first_glance_does_best(shipped):
    query = example(shipped, 5)
    assert TYPE_WORDS[query.type] == "In the same style"
    first, second, third = best_ranks(shipped, query)
    assert f"at rank {first}, {second} and {third}" in ANSWERS["4"] and first < min(second, third)


def test_the_last_example_is_a_bridge_whose_source_is_not_in_the_collection(shipped):
    (address,) = present.catalogue(shipped)["absent"]
    assert "*Not here*" in TASKS and "tower-bridge" in address
    assert not any("tower-bridge" in path for path in shipped.references.words("path"))
    assert shipped.attribute(shipped.absent[0]).verdict.level == "none"


def test_the_maps_keep_what_the_exercise_says(shipped):
    kept = [f"{shipped.neighbour_preservation[space]:.0%}".replace("%", " %") for space in SPACES]
    assert f"keep {kept[0]}, {kept[1]} and {kept[2]} of" in ANSWERS["6"]
    assert max(shipped.neighbour_preservation.values()) < 0.5, "question 6"


def test_the_counts_of_inspect_are_those_of_the_exercise(outcomes, tested):
    n = {outcome: int((outcomes.members(outcome) & tested).sum()) for outcome in Outcome}
    assert f"Of {tested.sum()} queries, alignment fixes {n[Outcome.FIXED_BY_ALIGNMENT]} and" in ANSWERS["7"]
    assert f"breaks {n[Outcome.BROKEN_BY_ALIGNMENT]};" in ANSWERS["7"]
    assert f"disentangling fixes {n[Outcome.FIXED_BY_DISENTANGLING]} and breaks " in ANSWERS["7"]
    assert f"breaks {n[Outcome.BROKEN_BY_DISENTANGLING]}." in ANSWERS["7"]
    found = [f"{mean:.0%}".replace("%", " %") for mean, *_ in outcomes.recall(tested, "R@1")["spaces"]]
    assert f"{found[0]}, {found[1]} and {found[2]} of sources" in ANSWERS["7"]
    assert f"For {n[Outcome.WRONG_EVERYWHERE]} queries no space is right" in ANSWERS["7"]


def test_the_hub_of_the_first_glance_is_the_one_named(shipped, outcomes, tested):
    (first, deserved), (second, _) = (outcomes.occurrence(space, tested) for space in ("backbone", "aligned"))
    hub = int(first.argmax())
    assert f'"{shipped.references[hub].title}" is among the first ten of {first[hub]} queries' in ANSWERS["8"]
    assert f"a true source of {deserved[hub]} of them" in ANSWERS["8"]
    assert f"the most frequent picture has {second.max()}" in ANSWERS["8"]


def test_the_kinds_without_an_order_are_the_ones_named():
    rows = why.families_of(Bundle.open().read_json("generalisation.json"))["rows"]
    kinds = [row for row in rows if not row["is_sum"] and not row["id"].endswith(", all")]
    ordered = [row for row in kinds if why.rises([row["spaces"][space][0] for space in SPACES])]
    assert f"for {len(ordered)} of {len(kinds)} kinds" in ANSWERS["12"]
    named = set(re.findall(r'"([^"]+)"', ANSWERS["12"]))
    assert named == {row["label"] for row in kinds} - {row["label"] for row in ordered}


def test_every_word_to_click_stands_on_the_page():
    page = "".join(path.read_text("utf-8") for path in (ROOT / "assets" / "ui").rglob("*.js"))
    words = [*TYPE_WORDS.values(), *(words["name"] for words in SPACE_WORDS.values())]
    for name in set(re.findall(r"\*\*?([A-Z][^*]+?)\*", TASKS)):
        assert f'"{name}' in page or f">{name}" in page or name in words or name == "Test", name
