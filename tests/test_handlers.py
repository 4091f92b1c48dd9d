"""What the page's events answer: examples, references, uploads, filters, faults in words; and what the page is told once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aad.backbones import BackboneError
from aad.spaces import SPACES
from interface import handlers, words
from interface.requests import MISFIT
from tests.fakes import FakeAttributor


def test_example_answer_holds_ids_numbers_true_ranks_and_a_serial_of_its_own(attributor: FakeAttributor) -> None:
    answer, again = (handlers.answer(attributor, "query", 2, 5) for _ in range(2))
    assert answer["serial"] != again["serial"] and answer | {"serial": 0} == again | {"serial": 0}
    result = attributor.attribute_query(2, 5)
    assert answer["query"]["truth"] == list(attributor.queries[2].exemplar_ids)
    for space in SPACES:
        part = answer["spaces"][space]
        assert part["matches"] == [
            {"id": m.reference_id, "rank": m.rank, "similarity": round(m.similarity, 5), "weight": round(m.weight, 5)}
            for m in result[space].matches
        ]
        assert answer["query"]["ranks"][space] == attributor.true_ranks(2)[space]
        total = sum(match["weight"] for match in part["matches"]) + part["elsewhere"] + part["remainder"]
        assert total == pytest.approx(1, abs=1e-3)
    json.dumps(answer)


@pytest.mark.parametrize("change", [{"k": 0}, {"wanted": ["birds"]}, {"which": -1}, {"which": 117}])
def test_what_cannot_be_asked_is_answered_in_words(
    attributor: FakeAttributor, picture: Path, change: dict[str, Any]
) -> None:
    for kind, which in (("query", 0), ("reference", 0), *(() if "which" in change else [("upload", str(picture))])):
        answer = handlers.answer(attributor, kind, **({"which": which, "k": 8} | change))
        assert (answer["status"], answer["title"]) == ("error", MISFIT)
        assert answer["text"]


def test_a_verdict_is_told_in_words_and_set_against_the_truth(attributor: FakeAttributor) -> None:
    (truth,) = attributor.queries[3].exemplar_ids
    result, title = attributor.attribute_query(3, 5), attributor.references[truth].title
    other = next(match.reference_id for match in result["backbone"].matches if match.reference_id != truth)
    for level, named, known, standing in (
        ("found", truth, [truth], "Right"),
        ("possible", truth, [truth], "Right, but not sure"),
        ("found", truth, [other], "Wrong"),
        ("none", None, [other], "Not found"),
        ("none", None, [truth], "The closest is right, but not sure"),
        ("found", truth, [], ""),
    ):
        judged = {"level": level, "reference": named, "probability": 0.25, "reasons": ["close-rivals"]}
        told = words.verdict_words(judged, [other, other, truth], ["Another", "Another", title], known)
        assert told["standing"] == standing and told["about"] == truth and "25%" in told["line"]
        assert (title in told["title"]) == (level != "none")
    agreed = handlers.answer(attributor, "query", 3, 5)["verdict"]
    assert agreed["level"] is None and agreed["about"] in {result[space].matches[0].reference_id for space in SPACES}


@pytest.mark.parametrize(
    ("lost", "fault", "title"),
    [
        *((name, ConnectionError, handlers.LOST) for name in ("attribute_query", "true_ranks", "near_copies")),
        ("attribute_query", BackboneError, None),
    ],
)
def test_what_is_lost_is_an_answer_in_words(
    attributor: FakeAttributor, monkeypatch: Any, lost: str, fault: type[Exception], title: str | None
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise fault("the server at http://host:6333 does not answer; start it again")

    monkeypatch.setattr(attributor, lost, fail)
    answer = handlers.answer(attributor, "query", 0, 8)
    assert (answer["status"], answer.get("title")) == ("error", title)
    assert answer["text"].startswith("The server at http://host:6333 does not answer")
