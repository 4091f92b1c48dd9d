"""How long the page takes to start: until the port is open, the first page is there, an example is answered, an upload is.

    python -m benchmarks.startup --runs 9 --json startup.json

Each start is a process of its own, asked from outside as the page asks, in turn with the baseline, *everything eager*: the same
page by a program that imports gradio, torch, timm, faiss and umap and loads the network before it serves. An example is answered
*before the model* when its answer says that the network is not loaded yet.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from aad import Attributor
from benchmarks.common import arguments, finish, in_turns, machine_line, percentiles, run, table
from benchmarks.serving import PATIENCE, Server, ServerError, Visitor, started

TARGET_S = 5.0
EAGER = """
import sys
import gradio, torch, timm, faiss, umap
import app
from aad import Attributor
from aad.outcomes import outcomes_of
attributor = Attributor.load()
attributor.warm_up()
outcomes_of(attributor)
demo = app.build_app(attributor)
app.serve(demo, server_port=int(sys.argv[1]))
demo.block_thread()
"""
WAYS = {"app.py": ("app.py", "--port"), "everything eager": ("-c", EAGER)}
MARKS = {
    "port_s": "port open",
    "page_s": "first page",
    "example_s": "first example",
    "upload_s": "first upload",
    "page_cpu_s": "processor time to the page",
    "upload_cpu_s": "processor time to the upload",
}


def assets_of(html: str) -> list[str]:
    """The addresses of scripts and styles that a page names, without those of other machines, each once.

    >>> assets_of('<link rel="modulepreload" href="./assets/a.js"><script src="/b.js"></script><a href="#top">')
    ['./assets/a.js', '/b.js']
    """
    named = re.findall(r'<(?:script|link)\b[^>]*?\b(?:src|href)="([^"]+)"', html)
    return list(dict.fromkeys(one for one in named if not one.startswith(("http:", "https:", "//", "data:", "#"))))


def one_start(command: Sequence[str], picture: Path, example: int) -> dict[str, Any]:
    """One start of a server, and when it could do what.

    Args:
        command: What follows the interpreter's name; the port is added.
        picture: Uploaded at last.
        example: Number of the bundled query that is asked first.

    Returns:
        `MARKS` -> seconds since the start, and `before_model`: whether the example was answered without the network.

    Raises:
        ServerError: It did not start, or did not answer.
    """
    marks: dict[str, Any] = {}
    began = time.perf_counter()

    def passed() -> float:
        return time.perf_counter() - began

    async def ask(server: Server) -> None:
        async with Visitor(server.address) as visitor:
            first = (await visitor.example(example, 8)).answer
            marks.update(example_s=passed(), before_model=not first.get("ready", True))
            last = (await visitor.upload(picture.name, picture.read_bytes(), 8)).answer
            marks.update(upload_s=passed(), upload_cpu_s=server.cpu_seconds())
        for answer in (first, last):
            if answer.get("status") != "answer":
                raise ServerError(f"a picture must be answered, got {answer.get('text')!r}")

    with started(*command) as server:
        server.wait()
        marks["port_s"] = passed()
        with httpx.Client(base_url=server.address, timeout=PATIENCE, trust_env=False) as client:
            for asset in assets_of(client.get("/").raise_for_status().text):
                client.get(urljoin(server.address, asset)).raise_for_status()
        marks |= {"page_s": passed(), "page_cpu_s": server.cpu_seconds()}
        asyncio.run(ask(server))
    return marks


def summary(way: str, starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians of a way's starts, and the slowest first page."""
    medians = {mark: statistics.median(start[mark] for start in starts) for mark in MARKS}
    late, early = percentiles([start["page_s"] for start in starts])[1], all(start["before_model"] for start in starts)
    return {"way": way, "runs": len(starts), **medians, "page_p95_s": late, "before_model": early}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON.

    Returns:
        0 when the median first page came within the target, 1 when not.

    Raises:
        ServerError, httpx.HTTPError: a server could not be had.
    """
    options = arguments(__doc__, runs=5).parse_args(argv)
    attributor = Attributor.load()
    if not attributor.examples:
        raise ServerError("the bundle must have bundled queries to ask for, it has none")
    picture, example = attributor.queries[attributor.examples[-1]].path, attributor.examples[0]
    works = {way: partial(one_start, command, picture, example) for way, command in WAYS.items()}
    lines = [summary(way, found) for way, found in in_turns(works, options.runs).items()]
    eager = lines[-1]["page_s"]
    rows = [line | {"page_ratio": eager / line["page_s"]} for line in lines]
    finish(options.json, {"target_s": TARGET_S, "baseline": "everything eager", "rows": rows}, tables)
    return int(lines[0]["page_s"] > TARGET_S)


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    columns = {"way": "way", "runs": "runs"} | {mark: f"{words}, s" for mark, words in MARKS.items()}
    columns |= {
        "page_p95_s": "first page, 95th percentile, s",
        "page_ratio": "times sooner",
        "before_model": "example before model",
    }
    page, target = report["rows"][0]["page_s"], report["target_s"]
    verdict = f"First page after {page:.1f} s: {page / target:.0%} of the {target:g} s allowed."
    return f"{table(report['rows'], columns)}\n\n{verdict}\n\n{machine_line(report['machine'])}"


if __name__ == "__main__":
    run(main)
