"""What the page's take-away part asks the server for: answers to single files of many, and reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aad.spaces import SPACES
from interface import present, takeaway
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=4)


@pytest.fixture
def ask(attributor: FakeAttributor) -> Callable[..., Any]:
    functions = {function.__name__: function for function in takeaway.functions(attributor)}
    return lambda name, request: functions[f"takeaway_{name}"](request)


def test_value_travels_as_json(attributor: FakeAttributor) -> None:
    assert json.loads(json.dumps(takeaway.value(attributor)))["stamp"]["bundle"] == attributor.stamp["bundle"]


def test_one_of_many_files_is_answered_as_a_single_one_is(
    ask: Callable[..., Any], attributor: FakeAttributor, uploads: Path
) -> None:
    path = uploads / "mine.png"
    reply = ask("answer", {"path": str(path), "k": 6})
    expected = present.answer(attributor.attribute(path, 6), k=6, ready=True, query={})
    for space in SPACES:
        part = expected["spaces"][space]
        assert reply["spaces"][space]["best"] == part["matches"][0]
        assert reply["spaces"][space]["remainder"] == part["remainder"]
        assert reply["spaces"][space]["convincing"] == part["convincing"]
    json.dumps(reply)


def test_a_filter_holds_for_many_files_too(ask: Callable[..., Any], attributor: FakeAttributor, uploads: Path) -> None:
    reply = ask("answer", {"path": str(uploads / "mine.png"), "k": 3, "filter": {"group": ["birds"]}})
    for space in SPACES:
        assert attributor.references[reply["spaces"][space]["best"]["id"]].group == "birds"


def test_broken_file_is_told_in_words(ask: Callable[..., Any], uploads: Path) -> None:
    assert "broken.png" in ask("answer", {"path": str(uploads / "broken.png"), "k": 3})["error"]


def test_report_of_what_is_shown(ask: Callable[..., Any], attributor: FakeAttributor, uploads: Path) -> None:
    cases = [
        {"kind": "query", "id": 2},
        {"kind": "reference", "id": 5},
        {"kind": "upload", "path": str(uploads / "mine.png"), "name": "holiday.png"},
        {"kind": "upload", "path": str(uploads / "broken.png"), "name": "bad.png"},
    ]
    html = ask("report", {"cases": cases, "refused": [["notes.txt", "no picture"], "odd"], "k": 3})["html"]
    assert html.count('class="case"') == 3
    for words in (
        attributor.queries[2].path.name,
        "searched again",
        "holiday.png",
        "bad.png",
        "notes.txt",
        "no picture",
    ):
        assert words in html


def test_an_answer_is_kept_for_the_report(
    attributor: FakeAttributor, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, report = takeaway.functions(attributor)
    path = str(uploads / "mine.png")
    answer({"path": path, "k": 3})
    before = attributor.n_backbone_calls
    assert "html" in report({"cases": [{"kind": "upload", "path": path}], "k": 3})
    assert attributor.n_backbone_calls == before


def test_one_file_at_a_time_is_answered(
    attributor: FakeAttributor, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most, guard = 0, 0, threading.Lock()
    original = attributor.attribute

    def slow(*arguments: Any, **named: Any) -> Any:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with guard:
            now -= 1
        return original(*arguments, **named)

    monkeypatch.setattr(attributor, "attribute", slow)
    answer, _ = takeaway.functions(attributor)
    threads = [
        threading.Thread(target=answer, args=({"path": str(uploads / "mine.png"), "k": k},)) for k in range(1, 7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
