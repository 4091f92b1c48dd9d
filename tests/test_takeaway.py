"""What the page's take-away part asks the server for: answers to single files of many, and reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aad.spaces import SPACES
from interface import present, takeaway
from tests.fakes import FakeAttributor


@pytest.fixture(scope="module")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    return FakeAttributor(tmp_path_factory.mktemp("pictures"), n_per_group=4)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads, with one picture and one broken file in it."""
    folder = tmp_path / "uploads"
    (folder / "abc").mkdir(parents=True)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    Image.new("RGB", (64, 48), (30, 120, 200)).save(folder / "abc" / "mine.png")
    (folder / "abc" / "broken.png").write_bytes(b"no picture at all")
    return folder / "abc"


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


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", None, 7, "", "\0", "x" * 5000, "gradio_api/file=/etc/passwd", ["a"]]
)
def test_what_is_no_upload_is_refused_and_not_even_told_apart(
    ask: Callable[..., Any], uploads: Path, path: Any
) -> None:
    told = {
        ask("answer", {"path": path, "k": 3})["error"],
        ask("answer", {"path": str(uploads / "none.png"), "k": 3})["error"],
    }
    assert len(told) == 1 and "choose it once more" in told.pop()


def test_a_bundled_picture_cannot_be_read_through_the_uploads(
    ask: Callable[..., Any], attributor: FakeAttributor, uploads: Path
) -> None:
    (uploads / "link.png").symlink_to(attributor.references[0].path)
    for path in (attributor.references[0].path, uploads / "link.png", uploads):
        assert "error" in ask("answer", {"path": str(path), "k": 3})


def test_an_upload_is_found_by_the_address_the_page_has(ask: Callable[..., Any], uploads: Path) -> None:
    path = uploads / "a picture & more.png"
    (uploads / "mine.png").rename(path)
    assert "spaces" in ask("answer", {"path": present.file_url(path), "k": 3})
    assert "spaces" in ask("answer", {"path": "http://127.0.0.1:7860/" + present.file_url(path), "k": 3})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (None, "k must be a whole number"),
        ({"k": True}, "k must be a whole number"),
        ({"k": 101}, "k must be a whole number"),
        ({"k": 3, "filter": ["birds"]}, "filter names fields"),
        ({"k": 3, "filter": {"path": ["x"]}}, "filter is by"),
        ({"k": 3, "filter": {"group": ["none such"]}}, "passes this filter"),
        ({"k": 3, "cases": "all"}, "cases must be a list"),
        ({"k": 3, "cases": [{}] * 101}, "at most 100, got 101"),
        ({"k": 3, "cases": []}, "at least one picture"),
        ({"k": 3, "cases": [{"kind": "query", "id": -1}]}, "a case is"),
        ({"k": 3, "cases": [{"kind": "query", "id": True}]}, "a case is"),
        ({"k": 3, "cases": [{"kind": ["query"], "id": 1}]}, "a case is"),
        ({"k": 3, "cases": ["query"]}, "a case is"),
        ({"k": 3, "cases": [{"kind": "upload", "path": "/etc/passwd"}]}, "choose it once more"),
    ],
)
def test_requests_from_anybody_are_answered_in_words(ask: Callable[..., Any], request_: Any, words: str) -> None:
    assert words.lower() in ask("report", request_)["error"].lower()


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
