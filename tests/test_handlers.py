"""What the page's events answer: filters, searching again, settings from anybody, and what an answer tells the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aad.spaces import SPACES
from interface import handlers, present
from interface.requests import MISFIT
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"))


def picture(folder: Path, width: int, height: int) -> str:
    path = folder / "picture.png"
    Image.new("RGB", (width, height), (30, 120, 200)).save(path)
    return str(path)


def test_a_filter_keeps_only_what_it_names_and_is_told_back(attributor: FakeAttributor) -> None:
    wanted = {"group": ["birds", "animals"], "licence": ["CC0-1.0"], "source": []}
    answer = handlers.answer_example(attributor, 1, 8, wanted)
    expected = [r.reference_id for r in attributor.references if r.group == "animals"]  # birds are GPL
    assert answer["gallery"] == {"filter": {"group": ["animals", "birds"], "licence": ["CC0-1.0"]}, "n": len(expected)}
    for space in SPACES:
        assert {match[0] for match in answer["spaces"][space]["matches"]} <= set(expected)
    assert answer["query"]["ranks"] == {}, "a rank among everything would contradict the columns"
    assert handlers.answer_example(attributor, 1, 8, {"group": []})["gallery"] is None
    json.dumps(answer)


@pytest.mark.parametrize(
    ("k", "wanted", "title"),
    [
        (0, None, MISFIT),
        (101, None, MISFIT),
        (2.5, None, MISFIT),
        (True, None, MISFIT),
        ("8", None, MISFIT),
        (8, {"path": ["x"]}, MISFIT),
        (8, {"group": "birds"}, MISFIT),
        (8, ["birds"], MISFIT),
        (8, {"group": ["no such group"]}, "Nothing to search in"),
    ],
)
def test_settings_that_cannot_be_are_answered_in_words(
    attributor: FakeAttributor, tmp_path: Path, k: Any, wanted: Any, title: str
) -> None:
    for answer in (
        handlers.answer_example(attributor, 0, k, wanted),
        handlers.answer_reference(attributor, 0, k, wanted),
        handlers.answer_upload(attributor, picture(tmp_path, 20, 20), k, wanted),
    ):
        assert (answer["status"], answer["title"]) == ("error", title)
        assert answer["text"]


@pytest.mark.parametrize("reference_id", [-1, 117, 1.5, None, "3", True])
def test_a_picture_that_is_not_there_is_refused_in_words(attributor: FakeAttributor, reference_id: Any) -> None:
    assert handlers.answer_reference(attributor, reference_id, 5)["title"] == MISFIT
    assert handlers.answer_example(attributor, reference_id, 5)["title"] == MISFIT


def test_searching_again_leaves_the_picture_itself_out_and_wakes_no_network(attributor: FakeAttributor) -> None:
    before = attributor.n_backbone_calls
    answer = handlers.answer_reference(attributor, 40, 30)
    assert answer["query"] == {"reference": 40, "url": present.file_url(attributor.references[40].path)}
    assert all(40 not in [match[0] for match in answer["spaces"][space]["matches"]] for space in SPACES)
    assert answer["domain"] is None and attributor.n_backbone_calls == before


def test_only_uploads_carry_a_hint_of_what_they_look_like(attributor: FakeAttributor, tmp_path: Path) -> None:
    portrait = handlers.answer_upload(attributor, picture(tmp_path, 40, 60), 5)["domain"]
    assert (portrait["photograph"], portrait["unfamiliar"]) == (True, False)
    assert handlers.answer_upload(attributor, picture(tmp_path, 60, 40), 5)["domain"]["photograph"] is False
    assert handlers.answer_example(attributor, 0, 5)["domain"] is None


def test_no_convincing_source_exactly_where_the_remainder_outweighs_what_is_shown(attributor: FakeAttributor) -> None:
    seen = set()
    for query_id in attributor.examples:
        answer, result = handlers.answer_example(attributor, query_id, 5), attributor.attribute_query(query_id, 5)
        for space in SPACES:
            outweighed = result[space].remainder > sum(match.weight for match in result[space].matches)
            assert answer["spaces"][space]["convincing"] is not outweighed
            seen.add(outweighed)
    assert seen == {True, False}


def test_near_copies_are_told_by_place_and_ranks_stay(attributor: FakeAttributor) -> None:
    answer = handlers.answer_example(attributor, 1, 8)
    found = 0
    for space in SPACES:
        part = answer["spaces"][space]
        ids = [match[0] for match in part["matches"]]
        assert ids == [match.reference_id for match in attributor.attribute_query(1, 8)[space].matches]
        for place, head in enumerate(part["copies"]):
            if head is not None:
                assert head < place and abs(ids[head] - ids[place]) == 1
                found += 1
    assert found


@pytest.mark.parametrize("lost", ["attribute_query", "true_ranks", "near_copies"])
def test_a_lost_search_server_is_an_answer_in_words(attributor: FakeAttributor, monkeypatch: Any, lost: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ConnectionError("the server at http://host:6333 does not answer; start it again")

    monkeypatch.setattr(attributor, lost, fail)
    answer = handlers.answer_example(attributor, 0, 8)
    assert (answer["status"], answer["title"]) == ("error", "The collection is out of reach")
    assert answer["text"].startswith("The server at http://host:6333 does not answer")
