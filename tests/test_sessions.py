"""What the server remembers of visitors: little, and never too little for one who waits."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

import app
from interface import gradio_gaps
from interface.gradio_gaps import Listeners
from tests.fakes import Gated, free_port

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def page(gate: threading.Event, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    attributor = Gated(tmp_path_factory.mktemp("pictures"), n_per_group=2)
    attributor.gate, attributor.ready = gate, True
    gate.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        demo = app.build_app(attributor)
        url, stop = app.serve(demo, server_port=free_port(), quiet=True)
        yield SimpleNamespace(url=url + "gradio_api/", demo=demo, queue=demo._queue)
        stop()


@pytest.fixture
def file(page: SimpleNamespace, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), (30, 120, 200)).save(path)
    with path.open("rb") as content:
        reply = httpx.post(page.url + "upload", files={"files": (path.name, content)})
    return {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}


def ask(page: SimpleNamespace, file: dict[str, Any], session: str) -> str:
    """Put a question, and do not wait for the answer; where the answer will be."""
    call = httpx.post(page.url + "call/attribute", json={"data": [file, 2], "session_hash": session}, timeout=30)
    assert call.status_code == 200, call.text
    return f"{page.url}call/attribute/{call.json()['event_id']}"


def hear(where: str) -> str:
    return httpx.get(where, timeout=30).text


def until(condition: Any) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.02)


def test_who_waits_keeps_the_place_however_many_come_later(
    page: SimpleNamespace, file: dict[str, Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradio_gaps, "SESSIONS", 3)
    gate.clear()
    try:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(hear, ask(page, file, "early"))
            for _ in range(6):
                ask(page, file, secrets.token_hex(4))
            gate.set()
            assert "event: complete" in answer.result(20)
    finally:
        gate.set()
    until(lambda: not page.queue.event_ids_to_events)
    again = hear(ask(page, file, "early"))
    assert "event: complete" in again, "and the next question of the same session is answered too"
    hear(ask(page, file, "late"))
    assert len(page.queue.pending_messages_per_session) <= 3 and len(page.queue.pending_event_ids_session) <= 3


def test_nothing_is_kept_for_who_has_left(page: SimpleNamespace, file: dict[str, Any], gate: threading.Event) -> None:
    gate.clear()
    try:
        with httpx.Client() as client, client.stream("GET", ask(page, file, "gone")):
            assert "gone" in page.queue.pending_messages_per_session
        until(lambda: "gone" not in page.queue.pending_messages_per_session)
        assert "gone" not in page.queue.pending_event_ids_session
    finally:
        gate.set()
    until(lambda: not page.queue.event_ids_to_events)
    assert "gone" not in page.queue.pending_messages_per_session
    assert "event: complete" in hear(ask(page, file, "gone")), "who comes back is answered"


def test_gradio_keeps_few_states_and_statistics(page: SimpleNamespace) -> None:
    assert page.demo.state_holder.capacity == gradio_gaps.SESSIONS
    assert page.queue.ANALYTICS_MAX_EVENTS == 100


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
