"""A page of invented pictures, served once for all tests that ask it over HTTP, and how a stranger talks to it.

A module that uses the fixture ``page`` is marked with `MARKS`: so their servers may warn of their own affairs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import app
from benchmarks.serving import free_port
from interface import gradio_gaps
from tests.factory import tiny_bundle
from tests.fakes import FakeAttributor

# The server runs in this process, and the libraries it uses warn of their own affairs.
MARKS = [pytest.mark.filterwarnings("ignore")]
SECRET = "nobody outside may read this"


class Gated(FakeAttributor):
    """Answers uploads while the gate is open."""

    gate: threading.Event

    def attribute(self, *arguments: Any, **among: Any) -> Any:
        assert self.gate.wait(20)
        return super().attribute(*arguments, **among)


@dataclass
class Page:
    """Where it is served, what answers, and the folder that holds its pictures, its uploads and what is not for visitors."""

    url: str
    demo: Any
    attributor: Gated
    root: Path

    @property
    def queue(self) -> Any:
        return self.demo._queue

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """A file of the server's, ready to be asked about."""
        reply = httpx.post(self.url + "gradio_api/upload", files={"files": (name, content)})
        return {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}

    def put(self, name: str, *data: Any, **more: Any) -> str:
        """Put a question to an endpoint; where its answer will be."""
        call = httpx.post(f"{self.url}gradio_api/call/{name}", json={"data": data, **more}, timeout=30)
        assert call.status_code == 200, call.text
        return f"{self.url}gradio_api/call/{name}/{call.json()['event_id']}"

    def ask(self, name: str, *data: Any, **more: Any) -> str:
        """What came of one question, as the stream of its events."""
        return hear(self.put(name, *data, **more))

    def lane(self, name: str) -> tuple[int, int]:
        """How many wait in it, and how many are being answered."""
        lane = self.queue.event_queue_per_concurrency_id.get(name)  # there from its first question on
        return (len(lane.queue), lane.current_concurrency) if lane else (0, 0)


def hear(where: str) -> str:
    return httpx.get(where, timeout=30).text


def until(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.02)


def at_once(ask: Callable[[Any], Any], requests: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


@pytest.fixture(scope="session")
def attributor(tmp_path_factory: pytest.TempPathFactory) -> FakeAttributor:
    """To be left as it is, by modules that have none of their own."""
    return FakeAttributor(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    root = tmp_path_factory.mktemp("page")
    (root / "secret.txt").write_text(SECRET)
    (root / "pictures-beside").mkdir()
    (root / "pictures-beside" / "secret.png").write_text(SECRET)
    attributor = Gated(root / "pictures", n_per_group=4)
    attributor.gate, attributor.ready = threading.Event(), True
    attributor.gate.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        demo = app.build_app(attributor)
        url, stop = app.serve(demo, ready=lambda: attributor.ready, server_port=free_port(), quiet=True)
        yield Page(url, demo, attributor, root)
        patch.setattr(gradio_gaps, "DELIVERY", 0.0)  # some have asked and left
        stop()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), (30, 120, 200)).save(path)
    return path


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of uploads, with one picture and one broken file in it, where no server is asked."""
    folder = tmp_path / "uploads" / "abc"
    folder.mkdir(parents=True)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder.parent))
    Image.new("RGB", (64, 48), (30, 120, 200)).save(folder / "mine.png")
    (folder / "broken.png").write_bytes(b"no picture at all")
    return folder
