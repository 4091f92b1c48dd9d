"""The page: how soon it is there, how long an answer takes and where that time goes, and twenty people at once.

    python -m benchmarks.page --visitors 50 --seconds 60 --json page.json      # needs Chromium, named in $CHROMIUM or found

*Start*: `python app.py`, asked from outside as the page asks, in turn with everything eager, a program that serves the same page
after it has imported everything and loaded the network. An example is answered before the model when its answer says that the
network is not loaded yet. *Answers*: in this process (the baseline) with their parts, each timed by itself, and in Chromium from
the choice of the file to the last pixel, of which drawing begins with the answer's arrival. *Visitors*: each is a session of its
own that asks without a pause, the same mix for all; an answer is right when it names the visitor's file and its first match in each
space, as this process found them. Jain's index of the answers per visitor is 1 when all got as many, 1/n when one got all.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as app.py sets them
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from aad import Attributor
from aad.images import load_image
from benchmarks.common import (
    arguments,
    chromium,
    finish,
    in_turns,
    machine_line,
    memory_of,
    percentiles,
    run,
    seconds,
    table,
)
from benchmarks.serving import LARGE, PATIENCE, Question, ServerError, Visitor, fault_of, questions, started
from interface.handlers import answer

PAGE_S, ANSWER_MS = 5.0, 250.0  # wanted of the first page, and of an answer to a usual file
APP = ("app.py", "--port")
EAGER = """
import sys
import gradio, torch, timm, faiss, umap
import app
from aad import Attributor
from interface.outcomes import outcomes_of
attributor = Attributor.load()
attributor.warm_up()
outcomes_of(attributor)
demo = app.build_app(attributor)
app.serve(demo, server_port=int(sys.argv[1]))
demo.block_thread()
"""
STARTS = {
    "way": "way",
    "runs": "runs",
    "page_s": "first page, s",
    "example_s": "first example, s",
    "upload_s": "first upload, s",
    "page_p95_s": "first page, 95th percentile, s",
    "page_ratio": "times sooner",
    "before_model": "example before model",
}
ANSWERS = {
    "way": "way",
    "files": "files",
    "n": "n",
    "decode_ms": "decode",
    "preprocess_ms": "preprocess",
    "embed_ms": "embed",
    "draw_ms": "draw",
    "rest_ms": "rest",
    "p50_ms": "median, ms",
    "p95_ms": "95th percentile, ms",
    "ratio": "of in process",
}
VISITORS = {
    "who": "who",
    "visitors": "visitors",
    "answers_per_s": "answers a second",
    "example_p50_ms": "example, median ms",
    "example_p95_ms": "95th percentile",
    "upload_p50_ms": "upload, median ms",
    "upload_p95_ms": "95th percentile",
    "least_of_most": "fewest answers / most",
    "jain": "Jain",
    "faults": "faults",
}
ALL_USUAL = "all usual files"
K, K_CHOICES = 8, (5, 8, 15, 30)  # as on the page
LOOK_MS = 300  # between an answer and the next file in the browser: a person looks at it first
MAX_FAULTS = 20  # after which a visitor leaves: the server is gone, or wrong throughout

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# Marks when the answer came, told by an event among the page's parts, and when all of it is drawn: the page's own listeners done,
# every picture in sight decoded, two frames passed, and a pixel of each map read back, so that work put off is counted.
WATCH = """
const dispatch = EventTarget.prototype.dispatchEvent;
const frame = () => new Promise(requestAnimationFrame);
window.measured = {};
EventTarget.prototype.dispatchEvent = function (event) {
  const came = performance.now(), told = dispatch.call(this, event);
  if (event.type === "answer") drawn().then((drawn) => (window.measured = { came, drawn, began: window.began }));
  return told;
};
const drawn = async () => {
  const pictures = [...document.querySelectorAll("#answer img:not([loading=lazy])")];
  await Promise.all(pictures.map((picture) => picture.decode().catch(() => null)));
  await frame().then(frame);
  document.querySelectorAll(".map canvas").forEach((canvas) => canvas.getContext("2d").getImageData(0, 0, 1, 1));
  return performance.now();
};
document.addEventListener("change", (event) => { if (event.target.type === "file") window.began = performance.now(); }, true);
"""


def one_start(command: Sequence[str], picture: Path, example: int) -> dict[str, Any]:
    """One start of a server: seconds until it could do what, and whether the first example was answered without the network.

    Args:
        command: What follows the interpreter's name; the port is added.
        picture: Uploaded at last.
        example: Number of the bundled query that is asked first.

    Raises:
        ServerError: It did not start, or did not answer.
    """
    marks: dict[str, Any] = {}
    began = time.perf_counter()

    def passed() -> float:
        return time.perf_counter() - began

    async def ask(address: str) -> None:
        async with Visitor(address) as visitor:
            first = await visitor.example(example, K)
            marks.update(example_s=passed(), before_model=not first.get("ready", True))
            last = await visitor.upload(picture.name, picture.read_bytes(), K)
            marks.update(upload_s=passed())
        for found in (first, last):
            if found.get("status") != "answer":
                raise ServerError(f"a picture must be answered, got {found.get('text')!r}")

    with started(*command) as (address, _):
        with httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:
            html = client.get("/").raise_for_status().text
            for asset in dict.fromkeys(re.findall(r'<(?:script|link)\b[^>]*?\b(?:src|href)="([^"]+)"', html)):
                if not asset.startswith(("http:", "https:", "//", "data:", "#")):
                    client.get(urljoin(address, asset)).raise_for_status()
        marks["page_s"] = passed()
        asyncio.run(ask(address))
    return marks


def start_lines(starts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A line for each way: medians of its starts, the slowest first page, and how much sooner that is than the last way's."""
    lines = []
    for way, found in starts.items():
        medians = {mark: statistics.median(start[mark] for start in found) for mark in found[0] if mark in STARTS}
        late = percentiles([start["page_s"] for start in found])[1]
        early = all(start["before_model"] for start in found)
        lines.append({"way": way, "runs": len(found), **medians, "page_p95_s": late, "before_model": early})
    return [line | {"page_ratio": lines[-1]["page_s"] / line["page_s"]} for line in lines]


def in_process(attributor: Attributor, asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Milliseconds of the plain call and of its parts, a row for each file."""
    backbone, rows = attributor.warm_up(), []
    with tempfile.TemporaryDirectory() as folder:
        for question in asked:
            path = Path(folder) / question.name
            path.write_bytes(question.content)
            image = load_image(path)
            parts = {"decode": seconds(load_image, path), "preprocess": seconds(backbone.spec.preprocess, image)}
            parts["embed"] = seconds(backbone.embed, [image]) - parts["preprocess"]
            total = seconds(lambda path=path: json.dumps(answer(attributor, "upload", str(path), K)))
            parts |= {"rest": total - sum(parts.values()), "total": total}
            rows.append({"kind": question.kind, **{part: 1000 * taken for part, taken in parts.items()}})
    return rows


def in_browser(asked: Sequence[Question], address: str, browser_path: str) -> list[dict[str, Any]]:
    """The same files in Chromium: milliseconds from the choice of the file to the last pixel, and of that the drawing."""
    from playwright.sync_api import sync_playwright

    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_function("window.measured.drawn", timeout=60_000)
        for question in asked:
            page.wait_for_timeout(LOOK_MS)
            page.evaluate("window.measured = {}")
            mime = f"image/{question.name.rpartition('.')[2]}"
            given = page.locator("#query-picture input[type=file]").first
            given.set_input_files({"name": question.name, "mimeType": mime, "buffer": question.content})
            drawn = page.wait_for_function("window.measured.began && window.measured", timeout=60_000).json_value()
            total, draw = drawn["drawn"] - drawn["began"], drawn["drawn"] - drawn["came"]
            rows.append({"kind": question.kind, "total": total, "draw": draw, "rest": total - draw})
        browser.close()
    return rows


def answer_lines(way: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for each kind of file and one for all the usual ones: medians of the parts, and both of the total."""
    groups = {ALL_USUAL: [row for row in rows if row["kind"] != LARGE]}
    for row in rows:
        groups.setdefault(row["kind"], []).append(row)
    lines = []
    for kind, members in groups.items():
        p50, p95 = percentiles([row["total"] for row in members])
        parts = [part for part in members[0] if f"{part}_ms" in ANSWERS]
        medians = {f"{part}_ms": statistics.median(row[part] for row in members) for part in parts}
        lines.append({"way": way, "files": kind, "n": len(members), **medians, "p50_ms": p50, "p95_ms": p95})
    return lines


@dataclass(slots=True)
class Record:
    """What one visitor met with."""

    waits: dict[str, list[float]] = field(default_factory=lambda: {"example": [], "upload": []})  # milliseconds
    faults: list[str] = field(default_factory=list)

    @property
    def n_answers(self) -> int:
        """Questions answered, rightly or not."""
        return sum(map(len, self.waits.values()))


async def visit(address: str, asked: Sequence[Question], done: Callable[[Record], bool], *, seed: int = 0) -> Record:
    """One visitor who asks questions in turn until ``done`` says so; faults are kept, not raised."""
    rng, record = random.Random(seed), Record()
    async with Visitor(address) as visitor:
        for number in range(10**9):
            if done(record) or len(record.faults) >= MAX_FAULTS:
                break
            question, k = asked[number % len(asked)], rng.choice(K_CHOICES)
            try:
                began = time.perf_counter()
                if question.query_id is not None:
                    kind, found = "example", await visitor.example(question.query_id, k)
                else:
                    kind, found = "upload", await visitor.upload(question.name, question.content, k)
            except (ServerError, httpx.HTTPError) as error:
                record.faults.append(f"{question.name}: {error or type(error).__name__}")
                continue
            record.waits[kind].append(1000 * (time.perf_counter() - began))
            if fault := fault_of(question, found):
                record.faults.append(fault)
    return record


async def crowd(
    address: str, asked: Sequence[Sequence[Question]], n: int, done: Callable[[Record], bool]
) -> list[Record]:
    """The first n visitors at once, each with the questions that are theirs."""
    return await asyncio.gather(*(visit(address, asked[i], done, seed=i) for i in range(n)))


def visitor_line(who: str, records: Sequence[Record], taken: float) -> dict[str, Any]:
    """Rates, waits, fairness and faults of some visitors together, who asked for so many seconds."""
    counts = [record.n_answers for record in records]
    line: dict[str, Any] = {"who": who, "visitors": len(records), "answers": sum(counts)}
    line["answers_per_s"] = sum(counts) / taken
    for kind in ("example", "upload"):
        waits = [wait for record in records for wait in record.waits[kind]]
        line[f"{kind}_p50_ms"], line[f"{kind}_p95_ms"] = percentiles(waits) if waits else (None, None)
    squares = len(counts) * sum(count * count for count in counts)
    return line | {
        "least_of_most": min(counts) / max(counts) if any(counts) else 0.0,
        "jain": sum(counts) ** 2 / squares if squares else 0.0,
        "faults": sum(len(record.faults) for record in records),
    }


def until(ends: float) -> Callable[[Record], bool]:
    """For `visit`: whether it is that late."""
    return lambda _: time.perf_counter() >= ends


def measure(attributor: Attributor, browser: str, n_visitors: int, n_seconds: int, n_files: int) -> dict[str, Any]:
    """The report's figures of answers and visitors, from one server that is started for them."""
    asked = questions(attributor, max(2, n_visitors), 10)
    files = [one for theirs in asked for one in theirs if one.query_id is None][:n_files]
    files += questions(attributor, 1, max(2, n_files // 20), (LARGE,))[0][:2]  # the first two are no examples
    in_process(attributor, files[:5])  # what is fitted or compiled at first use is not an answer's time
    answers = answer_lines("in process", in_process(attributor, files))
    with started(*APP) as (address, pid):
        # The model is loaded, and the first answer of each kind is behind us, before anything is counted.
        asyncio.run(crowd(address, asked, 2, lambda record: record.n_answers >= 4 or bool(record.faults)))
        before = memory_of(pid)
        lines, faults = [], []
        for who, number in (("one alone", 1), ("all at once", n_visitors)):
            began = time.perf_counter()
            found = asyncio.run(crowd(address, asked, number, until(began + n_seconds)))
            lines.append(visitor_line(who, found, time.perf_counter() - began))
            faults += [fault for record in found for fault in record.faults]
        after = memory_of(pid)
        answers += answer_lines("Chromium", in_browser(files, address, browser))
    alone = {line["files"]: line["p50_ms"] for line in answers if line["way"] == "in process"}
    answers = [line | {"ratio": line["p50_ms"] / alone[line["files"]]} for line in answers]
    memory = {"before": before["resident_mb"], "after": after["resident_mb"], "peak": after["peak_mb"]}
    return {"answers": answers, "visitors": lines, "memory_mb": memory, "faults": faults[:MAX_FAULTS]}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print three tables and one line of JSON.

    Returns:
        0 when every answer was right, and the first page and the usual files' answers came in time; 1 when not.

    Raises:
        OSError, httpx.HTTPError: there is no Chromium, or a server could not be had.
    """
    options = arguments(__doc__, runs=5, files=40, visitors=20, seconds=30).parse_args(argv)
    attributor, browser = Attributor.load(), chromium()
    if not attributor.examples:
        raise ServerError("the bundle must have bundled queries to ask for, it has none")
    picture, example = attributor.queries[attributor.examples[-1]].path, attributor.examples[0]
    ways = {"app.py": APP, "everything eager": ("-c", EAGER)}
    works = {way: partial(one_start, command, picture, example) for way, command in ways.items()}
    starts = start_lines(in_turns(works, options.runs))
    report = {"starts": starts, **measure(attributor, browser, options.visitors, options.seconds, options.files)}
    for fault in report["faults"]:
        print(fault, file=sys.stderr)
    finish(options.json, report, tables)
    slow = any(line["p50_ms"] > ANSWER_MS for line in report["answers"] if line["files"] == ALL_USUAL)
    return int(bool(report["faults"]) or slow or starts[0]["page_s"] > PAGE_S)


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    page = report["starts"][0]["page_s"]
    worst = max(line["p50_ms"] for line in report["answers"] if line["files"] == ALL_USUAL)
    memory = ", ".join(f"{when} {size:,.0f} MB" for when, size in report["memory_mb"].items())
    return "\n\n".join(
        (
            table(report["starts"], STARTS),
            f"First page after {page:.1f} s: {page / PAGE_S:.0%} of the {PAGE_S:g} s allowed.",
            table(report["answers"], ANSWERS),
            f"The slower way's median is {worst:.0f} ms: {worst / ANSWER_MS:.0%} of the {ANSWER_MS:.0f} ms allowed.",
            table(report["visitors"], VISITORS),
            f"Memory of the server: {memory}",
            machine_line(report["machine"]),
        )
    )


if __name__ == "__main__":
    run(main)
