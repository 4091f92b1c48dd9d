"""What the server remembers of visitors: little, and never too little for one who waits."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from interface import gradio_gaps
from interface.gradio_gaps import Listeners
from tests.pages import MARKS, Page, hear, until

pytestmark = MARKS


@pytest.fixture
def file(page: Page, picture: Path) -> dict[str, Any]:
    return page.upload(picture.name, picture.read_bytes())


@pytest.fixture
def gate(page: Page) -> Iterator[threading.Event]:
    """Closed: questions wait until it is opened."""
    page.attributor.gate.clear()
    yield page.attributor.gate
    page.attributor.gate.set()


def ask(page: Page, file: dict[str, Any], session: str) -> str:
    """Put a question, and do not wait for the answer; where the answer will be."""
    return page.put("attribute", file, 2, session_hash=session)


def test_who_waits_keeps_the_place_however_many_come_later(
    page: Page, file: dict[str, Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradio_gaps, "SESSIONS", 3)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(hear, ask(page, file, "early"))
        for _ in range(6):
            ask(page, file, secrets.token_hex(4))
        gate.set()
        assert "event: complete" in answer.result(20)
    until(lambda: not page.queue.event_ids_to_events)
    again = hear(ask(page, file, "early"))
    assert "event: complete" in again, "and the next question of the same session is answered too"
    hear(ask(page, file, "late"))
    assert len(page.queue.pending_messages_per_session) <= 3 and len(page.queue.pending_event_ids_session) <= 3


def test_nothing_is_kept_for_who_has_left(page: Page, file: dict[str, Any], gate: threading.Event) -> None:
    with httpx.Client() as client, client.stream("GET", ask(page, file, "gone")):
        assert "gone" in page.queue.pending_messages_per_session
    until(lambda: "gone" not in page.queue.pending_messages_per_session)
    assert "gone" not in page.queue.pending_event_ids_session
    gate.set()
    until(lambda: not page.queue.event_ids_to_events)
    assert "gone" not in page.queue.pending_messages_per_session
    assert "event: complete" in hear(ask(page, file, "gone")), "who comes back is answered"


def test_gradio_keeps_few_states_and_statistics(page: Page) -> None:
    assert page.demo.state_holder.capacity == gradio_gaps.SESSIONS
    assert page.queue.ANALYTICS_MAX_EVENTS == 100


def test_a_page_whose_questions_nobody_hands_on_any_more_is_not_alive(page: Page) -> None:
    assert gradio_gaps.is_alive(page.demo)
    assert not gradio_gaps.is_alive(SimpleNamespace(_queue=SimpleNamespace(stopped=True)))


def test_those_used_last_stay_and_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio_gaps, "SESSIONS", 2)
    wanted, given_up = SimpleNamespace(alive=True), SimpleNamespace(alive=False)
    queue = SimpleNamespace(
        pending_event_ids_session={"waits": {"1"}, "gave up": {"2"}, "answered": {"3"}},
        event_ids_to_events={"1": wanted, "2": given_up},
    )
    listeners = Listeners(queue)
    for name in ("waits", "gave up", "answered"):
        listeners[name] = name.upper()
    assert list(listeners) == ["waits", "answered"]
    assert listeners["waits"] == "WAITS" and list(listeners) == ["answered", "waits"]
    listeners["new"] = "NEW"
    assert list(listeners) == ["waits", "new"] and list(queue.pending_event_ids_session) == ["waits"]
    del listeners["waits"], listeners["never there"]
    assert list(listeners) == ["new"] and queue.pending_event_ids_session == {}
    with pytest.raises(KeyError):
        listeners["waits"]
