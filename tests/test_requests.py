"""What the page's parts may ask: the one checker at every door, explanations of a match, answers to many files, and reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad.backbones import BackboneError
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
    parts = (inspection, takeaway, explain)
    return {function.__name__: function for part in parts for function in part.functions(attributor)}


def test_a_whole_number_within_its_bounds_is_taken_as_one() -> None:
    assert [whole("k", value, 1, 100) for value in (1, 100, 8.0)] == [1, 100, 8]
    assert type(whole("k", 8.0, 1, 100)) is int


@pytest.mark.parametrize(
    "value", [0, 101, -1, 2.5, True, None, "8", [1], {}, float("nan"), float("inf"), 10**400, -(10**400), "9" * 5000]
)
def test_anything_else_is_refused_in_short_words(value: Any) -> None:
    with pytest.raises(Refused, match="k must be a whole number from 1 to 100, got ") as refusal:
        whole("k", value, 1, 100)
    assert len(str(refusal.value)) < 200


def test_a_filter_leaves_something_or_is_refused(attributor: FakeAttributor) -> None:
    gallery, among = filtered(attributor, {"group": ["birds"], "source": []})
    assert gallery == {"filter": {"group": ["birds"]}, "n": 2} and among is not None and among.sum() == 2
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


@pytest.mark.parametrize(
    "attack",
    ["outside", "dots", "link", "folder", "gone", "bare", "relative", "nul", "long", "number", "none", "list", "empty"],
)
def test_no_other_file_is_opened_and_none_is_told_apart(
    attributor: FakeAttributor,
    doors: Doors,
    uploads: Path,
    tmp_path: Path,
    attack: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 30)).save(secret)
    (uploads / "link.png").symlink_to(secret)
    address: Any = {
        "outside": pictures.file_url(secret),
        "dots": f"{SERVED}{uploads}/../../secret.png",
        "link": f"{SERVED}{uploads}/link.png",
        "folder": f"{SERVED}{uploads}",
        "gone": f"{SERVED}{uploads}/gone.png",
        "bare": str(secret),
        "relative": "../../etc/passwd",
        "nul": f"{SERVED}{uploads}/%00.png",
        "long": SERVED + str(uploads) + "/./" * 3000,
        "number": 7,
        "none": None,
        "list": ["a"],
        "empty": "",
    }[attack]
    for name in ("explain", "attribute"):
        monkeypatch.setattr(attributor, name, lambda *_, **__: pytest.fail("the file was handed on"))
    words = "This file is not, or no longer, on the server: upload it again, or choose it once more."
    case = {"kind": "upload", "path": address}
    assert doors["explain_match"]({**case, "reference": 0}) == {"error": words}
    assert doors["takeaway_answer"]({"path": address, "k": 3}) == {"error": words}
    assert doors["takeaway_report"]({"k": 3, "cases": [case]}) == {"error": words}


@pytest.mark.parametrize("request_", [None, [], "text", 7, {}])
def test_what_is_no_request_is_answered_in_words_at_every_door(doors: Doors, request_: Any) -> None:
    for name, ask in doors.items():
        if name != "inspect_outcomes":  # takes nothing
            assert list(ask(request_)) == ["error"], name


@pytest.mark.parametrize(
    ("door", "change", "words"),
    [
        ("inspect_recall", {"measure": "accuracy" * 600}, "R@1, R@5, MRR"),
        ("inspect_recall", {"measure": ["R@1"]}, "R@1, R@5, MRR"),
        ("inspect_recall", {"by": "concept"}, "type, generator, group, split"),
        ("inspect_retrieving", {"space": "moon"}, "backbone, aligned, disentangled"),
        ("inspect_retrieving", {"reference": 26}, "Reference must be a whole number from 0 to 25, got 26"),
        ("explain_match", {"reference": 26}, "Reference must be a whole number from 0 to 25"),
        ("explain_match", {"id": 12}, "Query must be a whole number from 0 to 11"),
        ("explain_match", {"kind": "reference", "id": None}, "Reference must be a whole number from 0 to 25"),
        ("explain_match", {"kind": ["query"]}, "about a query, a reference or an upload"),
        ("takeaway_report", {"k": 101}, "K must be a whole number from 1 to 100"),
        ("takeaway_report", {"filter": ["birds"]}, "filter names fields"),
        ("takeaway_report", {"filter": {"group": ["none such"]}}, "passes this filter"),
        ("takeaway_report", {"cases": "all"}, "Cases must be a list of at most 100, got str"),
        ("takeaway_report", {"cases": [{}] * 101}, "at most 100, got 101"),
        ("takeaway_report", {"cases": []}, "at least one picture"),
        ("takeaway_report", {"cases": [{"kind": "query", "id": -1}]}, "Query must be a whole number"),
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
    for fault in (KeyError, *requests.FAULTS):

        def failing(request: dict[str, Any], fault: type[Exception] = fault) -> dict[str, Any]:
            raise fault("the words")

        if fault is KeyError:
            with pytest.raises(KeyError):
                told(failing)({})
        else:
            assert told(failing)({}) == {"error": "The words"}


def test_heat_travels_as_whole_numbers_and_arrives_as_it_was(attributor: FakeAttributor, doors: Doors) -> None:
    answer = json.loads(json.dumps(doors["explain_match"]({"kind": "query", "id": 1, "reference": 4})))
    expected = attributor.explain(1, 4)
    assert answer["side"] == 7 and list(answer["spaces"]) == [str(space) for space in SPACES]
    for space in SPACES:
        part = answer["spaces"][space]
        assert part["similarity"] == pytest.approx(expected[space].similarity, abs=1e-5)
        for key, heat in (("query", expected[space].heat_query), ("reference", expected[space].heat_reference)):
            assert all(isinstance(number, int) for number in part[key])
            arrived = np.reshape(part[key], (7, 7)) * answer["unit"]
            assert np.allclose(arrived, heat, atol=answer["unit"] / 2 + 1e-12)


def test_what_cannot_be_explained_gives_its_reason(attributor: FakeAttributor, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(one: Any) -> dict[str, Any]:
        (explain_match,) = explain.functions(one)
        return explain_match({"kind": "query", "id": 0, "reference": 0})

    def without_weights(*_: Any) -> None:
        raise BackboneError("the weights are not installed: run pip install")

    known = {"references": attributor.references, "queries": attributor.queries}
    plain: Any = SimpleNamespace(stamp={"backbone": "dino_vits16"}, **known)  # a backbone without regions
    assert explain.value(attributor) == {"reason": None}
    assert "dino_vits16" in (reason := explain.value(plain)["reason"]) and ask(plain) == {"error": reason}
    monkeypatch.setattr(attributor, "explain", without_weights)
    assert ask(attributor) == {"error": "The weights are not installed: run pip install"}


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


def test_one_file_at_a_time_is_answered(
    doors: Doors, attributor: FakeAttributor, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, original, overlaps = threading.Lock(), attributor.attribute, []

    def slow(*arguments: Any, **named: Any) -> Any:
        overlaps.append(not working.acquire(blocking=False))
        threading.Event().wait(0.02)
        working.release()
        return original(*arguments, **named)

    monkeypatch.setattr(attributor, "attribute", slow)
    asked = [{"path": str(uploads / "mine.png"), "k": k} for k in range(11, 17)]
    at_once(doors["takeaway_answer"], asked)
    assert overlaps == [False] * 6
