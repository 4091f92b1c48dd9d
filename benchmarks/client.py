"""A visitor without a browser: asks the served page what its scripts ask, over HTTP, and waits for the answer as they do."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from benchmarks.servers import PATIENCE, ServerError


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
        body = self._body("select", [], asked)
        reply = await self._client.post("/gradio_api/run/predict", json=body)
        if reply.status_code != httpx.codes.OK:
            raise ServerError(f"an example must be answered, got status {reply.status_code}: {reply.text[:200]}")
        answer = reply.json()["data"][0]
        return Reply(answer, 0.0, 1000 * (time.perf_counter() - began))

    async def upload(self, name: str, content: bytes, k: int) -> Reply:
        """Give the page a file and wait for what it draws; words of patience in between are passed over."""
        began = time.perf_counter()
        sent = await self._client.post("/gradio_api/upload", files={"files": (name, content)})
        if sent.status_code != httpx.codes.OK:
            raise ServerError(f"a file must be taken, got status {sent.status_code}: {sent.text[:200]}")
        there = time.perf_counter()
        file = {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        answer = await self._queued(self._body("upload", [file, k, "{}"]))
        return Reply(answer, 1000 * (there - began), 1000 * (time.perf_counter() - began))

    async def _queued(self, body: dict[str, Any]) -> dict[str, Any]:
        joined = await self._client.post("/gradio_api/queue/join", json=body)
        if joined.status_code != httpx.codes.OK:
            raise ServerError(f"a question must be queued, got status {joined.status_code}: {joined.text[:200]}")
        values: list[Any] = []
        async with self._client.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self._session}
        ) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                kind, output = message.get("msg"), message.get("output") or {}
                if kind == "process_generating" or (kind == "process_completed" and output.get("data")):
                    values = apply(values, output["data"])
                if kind in ("process_completed", "unexpected_error") and not message.get("success", False):
                    raise ServerError(f"an answer must come, got {output.get('error') or message.get('message')!r}")
        if not values or not isinstance(values[0], dict):
            raise ServerError(f"an answer must come before the stream ends, got {values!r:.200}")
        return values[0]

    def _body(self, event: str, data: Sequence[Any], event_data: Any = None) -> dict[str, Any]:
        return {
            "data": list(data),
            "event_data": event_data,
            "fn_index": self._events[event],
            "session_hash": self._session,
            "trigger_id": None,
        }


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


def apply(values: list[Any], data: list[Any]) -> list[Any]:
    """The outputs after one message of a stream: whole values, or Gradio's steps from the last ones.

    >>> apply([{"a": 1}], [[["replace", ["a"], 2], ["add", ["b"], 3]]])
    [{'a': 2, 'b': 3}]
    """
    if not values:
        return list(data)
    return [_stepped(old, new) if _is_steps(new) else new for old, new in zip(values, data, strict=True)]


def _is_steps(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, list) and len(step) == 3 and step[0] in ("replace", "append", "add", "delete")
        for step in value
    )


def _stepped(value: Any, steps: list[Any]) -> Any:
    value = json.loads(json.dumps(value))
    for action, path, new in steps:
        if not path:
            value = value + new if action == "append" else new
            continue
        place = value
        for key in path[:-1]:
            place = place[key]
        if action == "delete":
            del place[path[-1]]
        elif action == "append":
            place[path[-1]] += new
        elif action == "add" and isinstance(place, list):
            place.insert(int(path[-1]), new)
        else:
            place[path[-1]] = new
    return value


def belongs(answer: dict[str, Any], name: str) -> bool:
    """Whether an answer is about the file of that name, as the picture that the page shows beside it."""
    return str(answer.get("query", {}).get("url", "")).endswith("/" + quote(name))
