"""Many visitors at once, good and hostile, for as long as wanted, and the server watched from outside.

Of the visitors, two in three ask what people ask, one question after the other, with the right answer known beforehand. The
others bring the corpus of `tests.hostile_files`, break uploads off, send them slowly, or leave before the answer. Looked for:
an answer that is not about the visitor's own picture, or that is wrong; a status of 500 or above but
for the honest 503; memory that grows; uploads that stay behind; a connection to another machine; an end that is not orderly.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks import page
from benchmarks.common import memory_of
from benchmarks.serving import Question, free_port, questions
from tests import served
from tests.hostile_files import GREEDY, corpus, made

DESCRIPTION = "visitors, good and hostile, at a server of its own"
SOON = 5.0  # seconds from the signal to the end
GROWTH = 1.10  # memory at the end, of that after the warm-up
WARM_UP = 0.25  # of the time
LARGEST_FILE = 3_000_000  # bytes; the largest of the corpus are for `images`: here the server is busy, not the network
HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="slow.png"\r\nContent-Type: image/png\r\n\r\n'
WAYS = ("file", "file", "file", "broken off", "slow", "left")


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.memory: list[tuple[float, float]] = []
        self.slowest = 0.0

    def fault(self, text: str) -> None:
        self.counts["fault"] += 1
        if len(self.faults) < 50:
            self.faults.append(text[:1500])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument("--clients", type=int, default=50, help="at once; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument(
        "--stops", type=int, default=200, help="of servers of their own, afterwards; default: %(default)s"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do it; figures for `docs/security.md`."""
    from aad import Attributor

    n_good = max(1, 2 * arguments.clients // 3)
    asked = questions(Attributor.load(), n_good, 10)
    hostile = [
        (name, content)
        for name, (data, _) in corpus().items()
        if name not in GREEDY and not name.startswith("largest") and len(content := made(data)) <= LARGEST_FILE
    ]
    record, port = Record(), free_port()
    with tempfile.TemporaryDirectory() as place:
        uploads, log = Path(place) / "uploads", Path(place) / "log"
        with served.process(port, log, environment={"GRADIO_TEMP_DIR": str(uploads)}) as process:
            asyncio.run(crowd(arguments, record, f"http://127.0.0.1:{port}/", process.pid, asked, hostile))
            if process.poll() is not None:
                record.fault(f"the server ended with {process.returncode}")
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        if code != 0:
            record.fault(f"told to stop it ended with {code}")
        if left := [path.name for path in uploads.iterdir()]:
            record.fault(f"left behind: {left}")
        here, away = served.reached(log)
        for where in away:
            record.fault(f"reached for {where}")
    stops(arguments.stops, record)
    return figures(arguments, record, here, len(away))


def stops(n: int, record: Record) -> None:
    """Servers that are told to stop at any moment, every other one with a question: each must end soon, with 0, and answer it."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(2) as pool:
        picture = Path(place) / "picture.png"
        Image.new("RGB", (300, 200), "red").save(picture)

        def stop(i: int, seconds: float) -> None:
            (folder := Path(place) / str(i)).mkdir()
            asks = i % 2 == 1 and seconds >= 0
            code, took, told = served.stopped(folder, seconds, picture if asks else None)
            record.counts["stops"] += 1
            record.slowest = max(record.slowest, took)
            if code != 0 or took > SOON or asks != ("event: complete" in told):
                when = f"told to stop {seconds:.2f} s after its first page it ended with {code}, {took:.1f} s later"
                record.fault(f"{when}: {told[:99]} {(folder / 'log').read_text()[-999:]}")

        list(pool.map(stop, range(n), [draw.uniform(-1, 8) for _ in range(n)]))


async def crowd(
    arguments: argparse.Namespace,
    record: Record,
    address: str,
    pid: int,
    asked: list[list[Question]],
    hostile: list[tuple[str, bytes]],
) -> None:
    """All of them, and the watch, until the time is over."""
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
        while (await client.get("/readyz")).status_code != httpx.codes.OK:
            await asyncio.sleep(0.2)
    ends = time.monotonic() + 60 * arguments.minutes
    n_bad = max(1, arguments.clients - len(asked))
    await asyncio.gather(
        watch(record, address, pid, ends),
        good(record, address, asked, 60 * arguments.minutes),
        *(bad(record, address, hostile, ends, random.Random(i)) for i in range(n_bad)),
    )


async def watch(record: Record, address: str, pid: int, ends: float) -> None:
    """Memory and the health, each second."""
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
        while time.monotonic() < ends:
            record.memory.append((time.monotonic() - began, memory_of(pid)["resident_mb"]))
            asked = time.monotonic()
            try:
                live = (await client.get("/healthz")).status_code == httpx.codes.OK
            except httpx.HTTPError:
                live = False
            record.counts["health"] += 1
            if not live or time.monotonic() - asked > 5:
                record.fault(f"health: {live} after {time.monotonic() - asked:.1f} s")
            await asyncio.sleep(1)


async def good(record: Record, address: str, asked: list[list[Question]], seconds: float) -> None:
    """Visitors who ask what people ask."""
    ends = time.perf_counter() + seconds
    found = await page.crowd(address, asked, len(asked), lambda _: time.perf_counter() >= ends)
    faults = page.faults_of(found)
    wrong = [fault for fault in faults if "status 503" not in fault]
    for fault in wrong:
        record.fault(fault)
    record.counts["busy"] += len(faults) - len(wrong)
    record.counts["right answers"] = sum(ms is not None for rows in found for _, ms, _ in rows) - len(wrong)


async def bad(record: Record, address: str, hostile: list[tuple[str, bytes]], ends: float, rng: random.Random) -> None:
    """A visitor who does not."""
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
        while time.monotonic() < ends:
            way = rng.choice(WAYS)
            name, content = rng.choice(hostile)
            record.counts[f"hostile: {way}"] += 1
            try:
                if way in ("broken off", "slow"):
                    await slowly(client, content, rng, broken=way == "broken off")
                else:
                    await ask(record, client, name, content, leave=way == "left")
            except httpx.HTTPError as error:
                if way not in ("broken off", "slow"):
                    record.fault(f"{way} {name}: {error!r}")


async def slowly(client: httpx.AsyncClient, content: bytes, rng: random.Random, *, broken: bool) -> None:
    """An upload in small parts with pauses, or one that never comes to its end."""

    async def parts() -> Any:
        yield HEAD
        for start in range(0, min(len(content), 4000), 500):
            await asyncio.sleep(rng.uniform(0.02, 0.3))
            yield content[start : start + 500]
        if broken:
            raise httpx.WriteError("broken off")
        yield b"\r\n--x--\r\n"

    await client.post(
        "/gradio_api/upload", content=parts(), headers={"content-type": "multipart/form-data; boundary=x"}
    )


async def ask(record: Record, client: httpx.AsyncClient, name: str, content: bytes, *, leave: bool) -> None:
    """A file and a question about it, at the public API or the page's own; a refusal must say why."""
    sent = await client.post("/gradio_api/upload", files={"files": (name, content)})
    if sent.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        record.fault(f"upload of {name!r}: {sent.status_code} {sent.text[:100]}")
    if sent.status_code != httpx.codes.OK:
        record.counts["refused at the door"] += 1
        return
    file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}, "session_hash": secrets.token_hex(4)}
    call = await client.post("/gradio_api/call/attribute", json={"data": [file, 3]})
    if call.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        record.counts["busy"] += 1
        await asyncio.sleep(1)
        return
    if call.status_code != httpx.codes.OK:
        record.fault(f"question about {name!r}: {call.status_code} {call.text[:100]}")
        return
    where = f"/gradio_api/call/attribute/{call.json()['event_id']}"
    if leave:
        async with client.stream("GET", where):
            return
    told = (await client.get(where)).text
    if "event: complete" in told:
        record.counts["hostile answered"] += 1
    elif "event: error" in told and '"error": "' in told:  # gradio says null of what is not told in words
        record.counts["hostile refused in words"] += 1
    else:
        record.fault(f"{name!r}: {told[-200:]}")


def figures(arguments: argparse.Namespace, record: Record, here: int, away: int) -> dict[str, Any]:
    """The counts and the worst, as plain numbers; memory that grew is a fault, too."""
    rows, times = record.memory, 60 * arguments.minutes
    warm = [held for when, held in rows if WARM_UP * times <= when < 2 * WARM_UP * times]
    last = [held for when, held in rows if when >= (1 - WARM_UP) * times]
    growth = (sum(last) / len(last)) / (sum(warm) / len(warm)) if warm and last else 0.0
    if not 0 < growth <= GROWTH:
        record.fault(f"memory at the end is {growth:.2f} times that after the warm-up, {GROWTH} is allowed")
    return {
        "clients": arguments.clients,
        "minutes": arguments.minutes,
        "counts": dict(sorted(record.counts.items())),
        "memory in MB": {
            "after warm-up": round(sum(warm) / max(1, len(warm))),
            "at the end": round(sum(last) / max(1, len(last))),
            "peak": round(max(held for _, held in rows)),
            "growth": round(growth, 3),
        },
        "slowest stop in s": round(record.slowest, 2),
        "connections": {"this machine": here, "others": away},
        "faults": record.faults,
    }
