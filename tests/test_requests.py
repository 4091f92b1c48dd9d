"""What the page's parts may ask: the one checker at every door, explanations of a match, answers to many files, and reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad.spaces import SPACES
from interface import explain, handlers, inspection, pictures, requests, takeaway
from interface.requests import MISFIT, SERVED, Refused, filtered, told, uploaded, whole
from tests.fakes import FakeAttributor
from tests.pages import at_once

Doors = dict[str, Callable[..., Any]]


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=2)


@pytest.fixture(scope="module")
def doors(attributor: FakeAttributor) -> Doors:
    """Every function that a page's parts may call, by its name."""
    parts = (handlers, inspection, takeaway, explain)
    return {function.__name__: function for part in parts for function in part.functions(attributor)}


def test_a_whole_number_within_its_bounds_is_taken_as_one_and_anything_else_refused_in_short_words() -> None:
    assert [whole("k", value, 1, 100) for value in (1, 100, 8.0)] == [1, 100, 8]
    assert type(whole("k", 8.0, 1, 100)) is int
    odd = (0, 101, -1, 2.5, True, None, "8", [1], {}, float("nan"), float("inf"), 10**400, -(10**400), "9" * 5000)
    for value in odd:
        with pytest.raises(Refused, match="k must be a whole number from 1 to 100, got ") as refusal:
            whole("k", value, 1, 100)
        assert len(str(refusal.value)) < 200


def test_a_filter_leaves_something_or_is_refused(attributor: FakeAttributor) -> None:
    gallery, among = filtered(attributor, {"group": ["birds", "animals"], "licence": ["CC0-1.0"], "source": []})
    assert gallery == {"filter": {"group": ["animals", "birds"], "licence": ["CC0-1.0"]}, "n": 2}
    assert among is not None and among.tolist() == [row.group == "animals" for row in attributor.references]
    assert filtered(attributor, None) == filtered(attributor, {"group": []}) == (None, None)
    for wanted, words, title in (
        (["birds"], "a filter names fields and values", MISFIT),
        ("birds", "a filter names fields and values", MISFIT),
        ({"path": ["x"]}, "a filter is by", MISFIT),
        ({"group": "birds"}, "must be a list of texts", MISFIT),
        ({"group": ["none such"]}, "passes this filter", "Nothing to search in"),
    ):
        with pytest.raises(Refused, match=words) as refusal:
            filtered(attributor, wanted)
        assert refusal.value.title == title


def test_an_upload_is_found_by_its_path_and_by_every_address_the_page_has(uploads: Path) -> None:
    path = uploads / "my cat & more, 50 %.png"
    (uploads / "mine.png").rename(path)
    for address in (str(path), pictures.file_url(path), "http://127.0.0.1:7860/" + pictures.file_url(path)):
        assert uploaded(address) == path.resolve()


def test_no_other_file_is_opened_and_none_is_told_apart(
    attributor: FakeAttributor, doors: Doors, uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 30)).save(secret)
    (uploads / "link.png").symlink_to(secret)
    for name in ("explain", "attribute"):
        monkeypatch.setattr(attributor, name, lambda *_, **__: pytest.fail("the file was handed on"))
    told = {"error": "This file is not, or no longer, on the server: upload it again, or choose it once more."}
    served = f"{SERVED}{uploads}"
    for address in (
        *(pictures.file_url(secret), str(secret), "../../etc/passwd", f"{served}/../../secret.png"),
        *(served, f"{served}/link.png", f"{served}/gone.png", f"{served}/%00.png", served + "/./" * 3000),
        *(7, None, ["a"], ""),
    ):
        case = {"kind": "upload", "path": address}
        assert doors["explain_match"]({**case, "reference": 0}) == told, address
        assert doors["takeaway_answer"]({"path": address, "k": 3}) == told, address
        assert doors["takeaway_report"]({"k": 3, "cases": [case]}) == told, address


@pytest.mark.parametrize("request_", [None, [], "text", 7, {}])
def test_what_is_no_request_is_answered_in_words_at_every_door(doors: Doors, request_: Any) -> None:
    for name, ask in doors.items():
        if name != "inspect_outcomes":  # takes nothing
            assert list(ask(request_)) == ["error"], name


@pytest.mark.parametrize(
    ("door", "change", "words"),
    [
        ("inspect_recall", {"rows": "AAAA"}, "one bit for each of 12"),
        ("inspect_recall", {"rows": None}, "one bit for each"),
        ("inspect_recall", {"rows": "?" * 12}, "one bit for each"),
        ("inspect_recall", {"rows": "A" * 5_000_000}, "one bit for each"),
        ("inspect_recall", {"rows": "AAA="}, "at least one query"),
        ("inspect_hubs", {"rows": "AAAA"}, "one bit for each"),
        ("inspect_recall", {"measure": ["R@1"]}, "R@1, R@5, MRR"),
        ("inspect_recall", {"by": "concept"}, "type, generator, group, split"),
        ("inspect_retrieving", {"space": "moon"}, "backbone, aligned, disentangled"),
        ("explain_match", {"reference": 26}, "Reference must be a whole number from 0 to 25"),
        ("explain_match", {"id": 12}, "Query must be a whole number from 0 to 11"),
        ("explain_match", {"kind": "reference", "id": None}, "Reference must be a whole number from 0 to 25"),
        ("explain_match", {"kind": ["query"]}, "about a query, a reference or an upload"),
        ("takeaway_report", {"k": 101}, "K must be a whole number from 1 to 100"),
        ("takeaway_report", {"filter": ["birds"]}, "filter names fields"),
        ("takeaway_report", {"cases": "all"}, "Cases must be a list of at most 100, got str"),
        ("takeaway_report", {"cases": [{}] * 101}, "at most 100, got 101"),
        ("takeaway_report", {"cases": []}, "at least one picture"),
        ("takeaway_report", {"cases": ["query"]}, "about a query, a reference or an upload"),
    ],
)
def test_each_door_checks_what_it_takes(doors: Doors, door: str, change: dict[str, Any], words: str) -> None:
    sound = {
        "rows": inspection.bit_mask(np.ones(12, bool)),
        "measure": "R@1",
        "by": "type",
        "space": "aligned",
        "reference": 1,
        "kind": "query",
        "id": 0,
        "k": 3,
        "cases": [{"kind": "query", "id": 2}],
    }
    assert "error" not in doors[door](sound)
    reply = doors[door]({**sound, **change})
    assert words in reply["error"] and len(reply["error"]) < 400


def test_what_is_a_fault_of_ours_is_not_told_as_the_visitors() -> None:
    def failing(request: dict[str, Any]) -> dict[str, Any]:
        raise request["fault"]("the words")

    for fault in requests.FAULTS:
        assert told(failing)({"fault": fault}) == {"error": "The words"}
    with pytest.raises(KeyError):
        told(failing)({"fault": KeyError})


def test_one_of_many_files_is_answered_as_a_single_one_is(
    doors: Doors, attributor: FakeAttributor, uploads: Path
) -> None:
    path = str(uploads / "mine.png")
    reply = json.loads(json.dumps(doors["takeaway_answer"]({"path": path, "k": 6})))
    expected = handlers.answer(attributor, "upload", path, 6)
    assert reply["verdict"] == expected["verdict"]
    for space in SPACES:
        part = expected["spaces"][space]
        assert reply["spaces"][space]["best"] == part["matches"][0]
        for key in ("remainder", "estimated"):
            assert reply["spaces"][space][key] == part[key]
    reply = doors["takeaway_answer"]({"path": path, "k": 3, "filter": {"group": ["birds"]}})
    for space in SPACES:
        assert attributor.references[reply["spaces"][space]["best"]["id"]].group == "birds"
    assert "broken.png" in doors["takeaway_answer"]({"path": str(uploads / "broken.png"), "k": 3})["error"]
    assert json.loads(json.dumps(takeaway.value(attributor)))["stamp"]["bundle"] == attributor.stamp["bundle"]


def test_a_report_is_of_what_is_shown_and_computes_no_answer_again(
    doors: Doors, attributor: FakeAttributor, uploads: Path
) -> None:
    path = str(uploads / "mine.png")
    doors["takeaway_answer"]({"path": path, "k": 3})
    cases = [
        {"kind": "query", "id": 2},
        {"kind": "reference", "id": 5},
        {"kind": "upload", "path": path, "name": "holiday.png"},
        {"kind": "upload", "path": str(uploads / "broken.png"), "name": "bad.png"},
    ]
    before = attributor.n_backbone_calls
    html = doors["takeaway_report"]({"cases": cases, "refused": [["notes.txt", "no picture"], "odd"], "k": 3})["html"]
    assert attributor.n_backbone_calls == before
    assert html.count('class="case"') == 3
    name = attributor.queries[2].path.name
    for words in (name, "searched again", "holiday.png", "bad.png", "notes.txt", "no picture"):
        assert words in html


@pytest.mark.parametrize(
    ("door", "owner", "work", "asked", "n"),
    [
        ("takeaway_answer", FakeAttributor, "attribute", [{"k": k} for k in (11, 11, 12, 13)], 3),
        ("inspect_recall", inspection, "recalls", [{"measure": one} for one in ("R@1", "R@1", "MRR", "R@5")], 3),
        ("explain_match", explain, "packed", [{"reference": i} for i in (0, 1, 2)], 3),
    ],
)
def test_one_question_at_a_time_is_computed_and_an_equal_one_not_again(
    doors: Doors, uploads: Path, monkeypatch: pytest.MonkeyPatch, door: str, owner: Any, work: str, asked: Any, n: int
) -> None:
    working, original, overlaps = threading.Lock(), getattr(owner, work), []

    def slow(*arguments: Any, **named: Any) -> Any:
        overlaps.append(not working.acquire(blocking=False))
        threading.Event().wait(0.02)
        working.release()
        return original(*arguments, **named)

    monkeypatch.setattr(owner, work, slow)
    rows = inspection.bit_mask(np.ones(12, bool))
    every = {"rows": rows, "by": "group", "kind": "upload", "path": str(uploads / "mine.png")}
    at_once(doors[door], [every | one for one in asked])
    assert overlaps == [False] * n
