"""A server in a process of its own, visitors without a browser who ask it what the page's scripts ask, and the right answers."""

from __future__ import annotations

import io
import json
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
from typing import TYPE_CHECKING, Any
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


@contextmanager
def started(*command: str) -> Iterator[tuple[str, int]]:
    """A server's address and process id, from when it takes connections; it is stopped at the end.

    Args:
        command: What follows the name of the interpreter; then comes a port.

    Raises:
        ServerError: It ended before, or took too long; with the last it said.
    """
    with tempfile.TemporaryFile() as log:
        told = [sys.executable, *command, str(port := free_port())]
        process = subprocess.Popen(told, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
        try:
            ends = time.perf_counter() + PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.perf_counter() > ends:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip()[-500:]
                    raise ServerError(f"the server must listen on port {port} within {PATIENCE:g} s, it said: {said}")
                time.sleep(0.005)
            yield f"http://127.0.0.1:{port}/", process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False


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
        """Learn which of the page's functions answers which event: its number in Gradio's configuration."""
        for event in (await self._client.get("/config")).raise_for_status().json()["dependencies"]:
            for _, name in event["targets"] if event["backend_fn"] else ():
                self._events.setdefault(name, event["id"])
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def example(self, query_id: int, k: int) -> dict[str, Any]:
        """What the page draws for a bundled picture, which is answered outside the queue; see `interface.handlers.answer`."""
        asked = {"index": query_id, "value": {"kind": "example", "k": k}}
        found = await self._post("run/predict", "an example must be answered", self._body("select", [], asked))
        return found["data"][0]

    async def upload(self, name: str, content: bytes, k: int) -> dict[str, Any]:
        """What the page draws for a file that it is given."""
        (path,) = await self._post("upload", "a file must be taken", files={"files": (name, content)})
        file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        await self._post("queue/join", "a question must be queued", self._body("upload", [file, k, "{}"]))
        return await self._streamed()

    async def _post(self, where: str, wanted: str, json: Any = None, files: Any = None) -> Any:
        reply = await self._client.post(f"/gradio_api/{where}", json=json, files=files)
        if reply.status_code != httpx.codes.OK:
            raise ServerError(f"{wanted}, got status {reply.status_code}: {reply.text[:200]}")
        return reply.json()

    async def _streamed(self) -> dict[str, Any]:
        mine = {"session_hash": self._session}
        async with self._client.stream("GET", "/gradio_api/queue/data", params=mine) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") in ("process_completed", "unexpected_error"):
                    if message.get("success"):
                        return message["output"]["data"][0]
                    said = (message.get("output") or {}).get("error") or message.get("message")
                    raise ServerError(f"an answer must come, got {said!r}")
        raise ServerError("an answer must come before the stream ends, got none")

    def _body(self, event: str, data: Sequence[Any], event_data: Any = None) -> dict[str, Any]:
        asked = {"data": data, "event_data": event_data, "fn_index": self._events[event], "trigger_id": None}
        return asked | {"session_hash": self._session}


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
