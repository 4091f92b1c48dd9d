"""A server in a process of its own, visitors without a browser who ask it what the page's scripts ask, and the right answers."""

from __future__ import annotations

import io
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from PIL import Image

from benchmarks.common import ROOT

if TYPE_CHECKING:
    from aad.answers import Attribution
    from aad.attribution import Attributor

PATIENCE = 180.0  # seconds for one request; a cold start on a busy machine takes most of a minute

LARGE = "12 megapixels JPEG"
#: name -> size, format and options; the kinds of file that visitors bring, and a large one
KINDS: dict[str, tuple[tuple[int, int], str, dict[str, Any]]] = {
    "512 x 512 JPEG": ((512, 512), "jpeg", {"quality": 90}),
    "512 x 512 PNG": ((512, 512), "png", {}),
    "1024 x 1024 PNG": ((1024, 1024), "png", {}),
    "1024 x 1024 WebP": ((1024, 1024), "webp", {"quality": 85}),
    "768 x 512 JPEG": ((768, 512), "jpeg", {"quality": 90}),
    LARGE: ((4000, 3000), "jpeg", {"quality": 92}),
}
USUAL = tuple(kind for kind in KINDS if kind != LARGE)
EXAMPLES_OF_TEN = (2, 5, 8)  # by their place among ten questions


class ServerError(OSError):
    """The server could not be started or did not answer as the page expects."""


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own; what it used is told on Linux only.

    Attributes:
        process: Its process.
        port: Where it is to listen.
        log: What it says on standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: IO[bytes]

    @property
    def address(self) -> str:
        """As its visitors know it."""
        return f"http://127.0.0.1:{self.port}/"

    def wait(self) -> None:
        """Return as soon as it takes connections.

        Raises:
            ServerError: It ended before, with the last it said; or it took too long.
        """
        ends = time.perf_counter() + PATIENCE
        while time.perf_counter() < ends:
            if self.process.poll() is not None:
                self.log.seek(0)
                said = self.log.read().decode(errors="replace").strip()[-500:]
                raise ServerError(f"the server must stay up, it ended with status {self.process.returncode}: {said}")
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
                return
            time.sleep(0.005)
        raise ServerError(f"the server must listen on port {self.port} within {PATIENCE:g} s, it does not")

    def cpu_seconds(self) -> float:
        """Processor time used so far, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started(*command: str) -> Iterator[Server]:
    """A server that is stopped at the end; its command is what follows the name of the interpreter, and then comes a port."""
    with tempfile.TemporaryFile() as log:
        told = [sys.executable, *command, str(port := free_port())]
        process = subprocess.Popen(told, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield Server(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, with when it came.

    Attributes:
        answer: What the page draws, see `interface.present.answer`.
        upload_ms: The file on its way, up to the server's word that it is there.
        total_ms: From the first byte of the question to the last of the answer.
    """

    answer: dict[str, Any]
    upload_ms: float
    total_ms: float


class Visitor:
    """One open page: a session of its own, and its own connections.

    Args:
        address: Of the server, as `interface.serving.serve` returns it.
    """

    def __init__(self, address: str) -> None:
        self._client = httpx.AsyncClient(base_url=address, timeout=PATIENCE, trust_env=False)
        self._session = secrets.token_hex(6)
        self._events: dict[str, int] = {}

    async def __aenter__(self) -> Visitor:
        """Learn which event has which number."""
        reply = await self._client.get("/config")
        reply.raise_for_status()
        self._events = events_of(reply.json())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def example(self, query_id: int, k: int) -> Reply:
        """Choose a bundled picture: answered outside the queue."""
        began = time.perf_counter()
        asked = {"index": query_id, "value": {"kind": "example", "k": k}}
        found = await self._post("run/predict", "an example must be answered", self._body("select", [], asked))
        return Reply(found["data"][0], 0.0, 1000 * (time.perf_counter() - began))

    async def upload(self, name: str, content: bytes, k: int) -> Reply:
        """Give the page a file and wait for what it draws; words of patience in between are passed over."""
        began = time.perf_counter()
        (path,) = await self._post("upload", "a file must be taken", files={"files": (name, content)})
        there = time.perf_counter()
        file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        await self._post("queue/join", "a question must be queued", self._body("upload", [file, k, "{}"]))
        answer = await self._streamed()
        return Reply(answer, 1000 * (there - began), 1000 * (time.perf_counter() - began))

    async def _post(self, where: str, wanted: str, json: Any = None, files: Any = None) -> Any:
        reply = await self._client.post(f"/gradio_api/{where}", json=json, files=files)
        if reply.status_code != httpx.codes.OK:
            raise ServerError(f"{wanted}, got status {reply.status_code}: {reply.text[:200]}")
        return reply.json()

    async def _streamed(self) -> dict[str, Any]:
        from gradio_client.utils import apply_diff

        answer: Any = None
        mine = {"session_hash": self._session}
        async with self._client.stream("GET", "/gradio_api/queue/data", params=mine) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                kind, output = message.get("msg"), message.get("output") or {}
                if kind in ("process_generating", "process_completed") and output.get("data"):
                    new = output["data"][0]  # whole, or Gradio's steps from the last one
                    answer = apply_diff(answer, new) if isinstance(new, list) else new
                if kind in ("process_completed", "unexpected_error") and not message.get("success", False):
                    raise ServerError(f"an answer must come, got {output.get('error') or message.get('message')!r}")
        if not isinstance(answer, dict):
            raise ServerError(f"an answer must come before the stream ends, got {answer!r:.200}")
        return answer

    def _body(self, event: str, data: Sequence[Any], event_data: Any = None) -> dict[str, Any]:
        number = self._events[event]
        asked = {"data": data, "event_data": event_data, "fn_index": number, "trigger_id": None}
        return asked | {"session_hash": self._session}


def events_of(config: dict[str, Any]) -> dict[str, int]:
    """What a visitor may do (`select`, `upload`) -> the number of the function behind it."""
    found: dict[str, int] = {}
    for event in config["dependencies"]:
        names = {name for _, name in event["targets"]}
        for name in names & {"select", "upload"} if event["backend_fn"] else ():
            found.setdefault(name, int(event["id"]))
    if len(found) < 2:
        raise ServerError(
            f"the page must have the events select and upload, got {sorted(found)}; is it this project's?"
        )
    return found


@dataclass(frozen=True, slots=True)
class Question:
    """What a visitor asks: a bundled query, or a file; and the right answer.

    Attributes:
        query_id: Number of the bundled query; None for a file.
        kind: Of a file, one of `KINDS`.
        name: File name.
        content: Of the file.
        best: Space -> the reference that must come first.
    """

    query_id: int | None
    kind: str
    name: str
    content: bytes
    best: dict[str, int]


def questions(
    attributor: Attributor, n_visitors: int, n_each: int, kinds: Sequence[str] = USUAL
) -> list[list[Question]]:
    """What each visitor asks, with the right answers: the same mix for all, so that equal service gives equal counts.

    Args:
        attributor: An `aad.Attributor` of the bundle that the server has.
        n_visitors: How many people.
        n_each: Questions of each; of ten three are bundled examples, the others pictures that nobody else brings.
        kinds: Of the files, in turn.

    Returns:
        (n_visitors, n_each) questions.
    """
    rng = random.Random(0)
    examples = list(attributor.examples) or list(range(len(attributor.queries)))

    def example() -> Question:
        query_id = rng.choice(examples)
        name, found = attributor.queries[query_id].path.name, attributor.attribute_query(query_id, 1)
        return Question(query_id, "", name, b"", first_of(found))

    def upload(visitor: int, number: int) -> Question:
        kind = kinds[number % len(kinds)]
        size, form, options = KINDS[kind]
        with Image.open(attributor.queries[rng.randrange(len(attributor.queries))].path) as opened:
            picture = opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        picture.putpixel((visitor % picture.width, number), (visitor % 256, 0, 255))  # no two files are the same
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        with Image.open(buffer) as written:  # as the server will see it
            found = attributor.attribute(written, 1)
        return Question(None, kind, f"picture{visitor}-{number}.{form}", buffer.getvalue(), first_of(found))

    return [
        [example() if number % 10 in EXAMPLES_OF_TEN else upload(visitor, number) for number in range(n_each)]
        for visitor in range(n_visitors)
    ]


def first_of(found: Attribution) -> dict[str, int]:
    """The first match in each space."""
    return {str(space): found[space].matches[0].reference_id for space in found.spaces}


def fault_of(question: Question, answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer; None when it is the question's own."""
    if answer.get("status") != "answer":
        return f"{question.name}: {answer.get('text') or answer.get('status')}"
    shown, number = answer["query"].get("url"), answer["query"].get("id")
    if question.query_id is None and not str(shown).endswith("/" + quote(question.name)):
        return f"{question.name}: the answer is about {shown}"
    if question.query_id is not None and number != question.query_id:
        return f"{question.name}: the answer is about example {number}"
    named = {space: part["matches"][0]["id"] for space, part in answer["spaces"].items()}
    return None if named == question.best else f"{question.name}: first matches {named}, expected {question.best}"
