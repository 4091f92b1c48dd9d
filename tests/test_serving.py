"""The server from outside: health, headers, closed doors, limits, full queues, who is remembered, and the folder of uploads."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

import app
from benchmarks.serving import free_port
from interface import gradio_gaps, guard, pictures, scripts, uploads
from tests.pages import MARKS, Page, hear, until

pytestmark = MARKS

HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
CLOSED = (  # of gradio's, which the list of what is open leaves out
    ("PUT", ""),
    ("GET", "gradio_api/file=http://127.0.0.1:9/x"),
    ("GET", "gradio_api/file=https://example.org/x.png"),
    ("GET", "gradio_api/proxy=https://example.hf.space/"),
    ("GET", "gradio_api/deep_link?session_hash=a"),
    ("POST", "gradio_api/process_recording"),
    ("POST", "login"),
    ("GET", "openapi.json"),
    ("DELETE", "config"),
)


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


def test_a_live_server_is_not_ready_before_its_network_is_loaded(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    for ready, status in ((False, 503), (True, 200)):
        page.attributor.ready = ready
        live, able = (httpx.get(page.url + name) for name in ("healthz", "readyz"))
        assert (live.status_code, able.status_code) == (200, status)
        assert live.json() == able.json() == {"live": True, "ready": ready}
        assert live.headers["cache-control"] == "no-store"
    assert gradio_gaps.is_alive(page.demo)
    ended: Any = SimpleNamespace(_queue=SimpleNamespace(stopped=True))
    alive = gradio_gaps.is_alive
    monkeypatch.setattr(gradio_gaps, "is_alive", lambda _: alive(ended))  # nobody hands questions on any more
    assert httpx.get(page.url + "healthz").status_code == httpx.get(page.url + "readyz").status_code == 503


def test_every_answer_carries_the_headers(page: Page) -> None:
    file = pictures.file_url(page.attributor.references[0].path)
    get = [httpx.get(page.url + path) for path in ("", "config", "healthz", "readyz", "nowhere", file, "theme.css")]
    assert [reply.status_code for reply in get[:1] + get[4:6]] == [200, 404, 200]
    for reply in [*get, httpx.post(page.url + "gradio_api/queue/join", content=b"no json"), httpx.head(page.url)]:
        for name, value in guard.HEADERS.items():
            assert reply.headers[name] == value
        policy = dict(
            part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split("; ") if " " in part
        )
        of_a_file = str(reply.url).endswith(file)
        assert policy["default-src"] == ("'none'" if of_a_file else "'self'")
        assert of_a_file or (policy["object-src"], policy["base-uri"]) == ("'none'", "'self'")
        hub = "'self'" if of_a_file else "'self' https://huggingface.co https://*.hf.space"
        assert policy.pop("frame-ancestors") == hub, "the hub may show the page inside its own"
        assert not any("http" in sources for sources in policy.values())
        assert "x-frame-options" not in reply.headers, "it knows no list"


def test_what_the_page_does_not_need_is_not_there(page: Page) -> None:
    for method, path in CLOSED:
        reply = httpx.request(method, page.url + path)
        assert reply.status_code == 404 and reply.json() == {"detail": "Not Found"}, (method, path)


def test_below_a_path_of_a_proxy_that_keeps_it_or_cuts_it(
    page: Page, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pictures.file_url(page.attributor.references[0].path)
    for below in ("/attribution", "/user/me/proxy/7860/"):
        monkeypatch.setattr(page.demo.server_app, "root_path", below)
        for start in ("", below.strip("/") + "/"):
            get = {
                path: httpx.get(page.url + start + path)
                for path in ("", "config", "healthz", "theme.css", f"{scripts.folder()}/page.js", file, "none")
            }
            assert [reply.status_code for reply in get.values()] == [200] * 6 + [404], start
            assert get["config"].json()["root"] == page.url + below.strip("/"), "where the page puts its questions"
            below_it = replace(page, url=page.url + start)
            assert "event: complete" in below_it.ask("attribute", below_it.upload("a.png", picture.read_bytes()), 2)
            assert httpx.get(page.url + start + "login").status_code == 404
        assert httpx.get(page.url + "elsewhere/config").status_code == 404


def test_it_serves_an_address_of_ipv6() -> None:
    import gradio as gr

    with gr.Blocks() as demo:
        pass
    port = free_port()
    _, stop = app.serve(demo.queue(), server_name="::1", server_port=port, quiet=True)
    assert httpx.get(f"http://[::1]:{port}/healthz").json() == {"live": True, "ready": True}
    stop()
    del demo, stop
    gc.collect()  # gradio leaves its loop open, which may be told of here


def test_a_file_on_a_drive_of_windows_is_served_and_no_other_scheme() -> None:
    for path in (PureWindowsPath(r"C:\pictures\a b.png"), PureWindowsPath(r"\\server\share\a.png")):
        address = "/gradio_api/file=" + quote(path.as_posix(), safe="/:")
        assert re.fullmatch(guard.OPEN["GET"], unquote(address)) and re.fullmatch(guard.OPEN["GET"], address)
    for scheme in ("http", "https", "ftp", "file", "data"):
        assert not re.fullmatch(guard.OPEN["GET"], f"/gradio_api/file={scheme}://x")


def test_a_request_past_the_limit_is_refused_whether_it_says_its_size_or_not(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD", 3_000)
    join, upload = (page.url + f"gradio_api/{name}" for name in ("queue/join", "upload"))
    told = httpx.post(upload, files={"files": ("a.png", bytes(4_000))})
    assert told.status_code == 413 and "at most 3,000 bytes" in told.json()["detail"]
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    untold = httpx.post(upload, headers=boundary, content=iter([HEAD, *[bytes(1_000)] * 9]))
    assert untold.status_code == 413
    assert httpx.post(join, content=bytes(guard.MAX_QUESTION + 1)).status_code == 413


@pytest.mark.parametrize(("silence", "status"), [(5, 408), (0, 500)])
def test_a_request_that_stops_halfway_is_given_up_and_a_failure_answered_with_the_headers(
    silence: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_SILENCE", 0.05)
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(silence)
        return {"type": "http.request"}

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise KeyError("secret words")

    async def send(message: Any) -> None:
        said.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
        try:
            await guard.Guard(failing, guard.Condition())(scope, receive, send)
        except KeyError:  # of our own code: no wrong name in a call; it is logged
            assert status == 500

    asyncio.run(run())
    assert said[0]["status"] == status and (b"referrer-policy", b"no-referrer") in said[0]["headers"]
    assert b"secret" not in said[1]["body"] and (b"long pauses" in said[1]["body"]) == (status == 408)


def test_a_full_lane_says_busy_at_once_and_loses_nobody(
    page: Page, file: dict[str, Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gradio_gaps.WAITING, "calls", 1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(page.ask, "attribute", file, 2)
        until(lambda: page.lane("calls") == (0, 1))
        second = pool.submit(page.ask, "attribute", file, 2)
        until(lambda: page.lane("calls") == (1, 1))
        third = httpx.post(page.url + "gradio_api/call/attribute", json={"data": [file, 2]})
        busy = "The server is busy: 1 questions are waiting. Please try again in a minute."
        assert (third.status_code, third.json()["detail"]) == (503, busy)
        assert httpx.get(page.url + "healthz", timeout=2).status_code == 200, "health waits in no queue"
        gate.set()
        assert all("event: complete" in waiting.result(20) for waiting in (first, second))


def test_a_visitor_who_leaves_while_waiting_stops_nobody_else(
    page: Page, file: dict[str, Any], gate: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(page.ask, "attribute", file, 2)
        until(lambda: page.lane("calls") == (0, 1))
        for _ in range(2):  # who waits, and who waits and is gone: as gradio leaves it, when a connection breaks
            left = page.put("attribute", file, 2)
        del page.queue.pending_messages_per_session[left.rpartition("/")[2]]
        gate.set()
        assert "event: complete" in first.result(20)
    assert "event: complete" in page.ask("attribute", file, 2)
    assert httpx.get(page.url + "healthz").json()["live"]


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
    assert page.demo.state_holder.capacity == gradio_gaps.SESSIONS and page.queue.ANALYTICS_MAX_EVENTS == 100


def put(path: Path, n_bytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(n_bytes))
    return path


def test_old_uploads_and_the_oldest_of_too_much_go_and_their_folders_after_them(tmp_path: Path) -> None:
    files = []
    for number, pause in enumerate((0.3, 0.02, 0.02, 0.02, 0)):
        files.append(put(tmp_path / str(number) / "a.png", 100))
        time.sleep(pause)
    assert uploads.sweep(tmp_path, max_age=0.3) == 1
    assert [path.exists() for path in files] == [False, True, True, True, True]
    assert uploads.sweep(tmp_path, max_bytes=250) == 2
    for path in files:
        os.utime(path.parent, (0, 0))
    uploads.sweep(tmp_path)
    for there in ([path.exists() for path in files], [path.parent.exists() for path in files]):
        assert there == [False, False, False, True, True]


def test_a_broken_off_upload_leaves_only_a_part_and_parts_go_first(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = page.root / "uploads"
    port = int(page.url.rstrip("/").rpartition(":")[2])
    before = set(folder.rglob("*"))
    with socket.create_connection(("127.0.0.1", port)) as line:
        request = (
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 90000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        line.sendall(request.encode() + HEAD + bytes(5_000))
        time.sleep(0.3)
    left = [path for path in set(folder.rglob("*")) - before if path.is_file()]
    assert all(path.parent == folder for path in left)
    assert httpx.get(page.url).status_code == 200
    monkeypatch.setattr(uploads, "UNFINISHED", 0.1)
    part, whole = put(tmp_path / "tmp12345", 10), put(tmp_path / "hash" / "a.png", 10)
    time.sleep(0.15)
    assert uploads.sweep(tmp_path) == 1
    assert not part.exists() and whole.exists()


def test_what_a_killed_server_left_is_removed_days_later_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    left, running = tmp_path / f"{uploads.PREFIX}left", tmp_path / f"{uploads.PREFIX}running"
    foreign = tmp_path / "foreign"
    for folder in (left, running, foreign):
        put(folder / "a.png", 10)
    days_ago = time.time() - 3 * 86_400
    for folder in (left, foreign):
        os.utime(folder, (days_ago, days_ago))
    with uploads.own_folder() as own:
        assert os.environ["GRADIO_TEMP_DIR"] == str(own)
        assert set(tmp_path.iterdir()) == {own, running, foreign}
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert set(tmp_path.iterdir()) == {running, foreign}
