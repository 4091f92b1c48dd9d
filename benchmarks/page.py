"""The page: how soon it is there, how long an answer takes and where that time goes, and twenty people at once.

    python -m benchmarks.page --visitors 50 --seconds 60 --json page.json      # needs Chromium, named in $CHROMIUM or found

*Start*: `python app.py`, asked from outside as the page asks, in turn with everything eager, which imports first what may ever be
needed. *Answers*: in this process (the baseline) with their parts, each timed by itself, and in Chromium from the choice of the
file to the last pixel, of which drawing begins with the answer's arrival. *Visitors*: each is a session that asks without a pause,
the same mix for all; an answer is right when it names the visitor's file and its first match in each space, as this process found
them. Jain's index of the answers per visitor is 1 when all got as many, 1/n when one got all.
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
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as app.py sets them
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from aad import Attributor
from aad.images import load_image
from benchmarks.common import (
    ROOT,
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

APP = ("app.py", "--port")
EAGER = """
import sys
import gradio, torch, timm, faiss, umap, app
app.run(lambda: app.main(["--port", sys.argv[1]]))
"""
STARTS = "way runs page_s example_s upload_s page_ratio page_mb upload_mb"
ANSWERS = "way files n decode_ms preprocess_ms embed_ms draw_ms rest_ms p50_ms p95_ms"
VISITORS = "who visitors answers_per_s example_p50_ms example_p95_ms upload_p50_ms upload_p95_ms jain faults"
ALL_USUAL = "all usual files"
K, K_CHOICES = 8, (5, 8, 15, 30)  # as on the page
Asked = list[tuple[str, "float | None", "str | None"]]
Done = Callable[[Asked], bool]
LOOK_MS = 300  # between an answer and the next file in the browser: a person looks at it first

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


def one_start(command: Sequence[str], picture: Path, example: int) -> dict[str, float]:
    """One start of a server: seconds until it could do what, and megabytes that it held then.

    Args:
        command: What follows the interpreter's name; the port is added.
        picture: Uploaded at last.
        example: Number of the bundled query that is asked first.

    Raises:
        ServerError: It did not start, or did not answer.
    """
    marks: dict[str, float] = {}
    began = time.perf_counter()

    async def ask(address: str) -> None:
        async with Visitor(address) as visitor:
            found = [await visitor.example(example, K)]
            marks["example_s"] = time.perf_counter() - began
            found += [await visitor.upload(picture.name, picture.read_bytes(), K)]
            marks["upload_s"] = time.perf_counter() - began
        if any(one.get("status") != "answer" for one in found):
            raise ServerError(f"pictures must be answered, got {[one.get('text') for one in found]}")

    with started(*command) as (address, pid):
        with httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:
            html = client.get("/").raise_for_status().text
            for asset in dict.fromkeys(re.findall(r'<(?:script|link)\b[^>]*?\b(?:src|href)="([^"]+)"', html)):
                if not asset.startswith(("http:", "https:", "//", "data:", "#")):
                    client.get(urljoin(address, asset)).raise_for_status()
        marks |= {"page_s": time.perf_counter() - began, "page_mb": memory_of(pid)["resident_mb"]}
        asyncio.run(ask(address))
        marks["upload_mb"] = memory_of(pid)["resident_mb"]
    return marks


def start_lines(starts: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A line for each way: medians of its starts, and how much sooner its first page is than the last way's."""
    lines: list[dict[str, Any]] = []
    for way, found in starts.items():
        medians = {mark: statistics.median(one[mark] for one in found) for mark in found[0]}
        lines.append({"way": way, "runs": len(found), **medians})
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
    """A line for the usual files and one for the large ones: medians of the parts, and both of the total."""
    lines = []
    for files, large in ((ALL_USUAL, False), (LARGE, True)):
        members = [row for row in rows if (row["kind"] == LARGE) == large]
        p50, p95 = percentiles([row["total"] for row in members])
        parts = [part for part in members[0] if f"{part}_ms" in ANSWERS]
        medians = {f"{part}_ms": statistics.median(row[part] for row in members) for part in parts}
        lines.append({"way": way, "files": files, "n": len(members), **medians, "p50_ms": p50, "p95_ms": p95})
    return lines


async def visit(address: str, asked: Sequence[Question], done: Done, *, seed: int = 0) -> Asked:
    """One visitor who asks questions in turn until ``done`` says so.

    Returns:
        For each question its kind, the milliseconds until its answer or None where none came, and what is wrong with it or None.
    """
    rng, rows = random.Random(seed), Asked()
    async with Visitor(address) as visitor:
        while not done(rows):
            question, k = asked[len(rows) % len(asked)], rng.choice(K_CHOICES)
            began, ms = time.perf_counter(), None
            try:
                if question.query_id is not None:
                    found = await visitor.example(question.query_id, k)
                else:
                    found = await visitor.upload(question.name, question.content, k)
                ms, fault = 1000 * (time.perf_counter() - began), fault_of(question, found)
            except (ServerError, httpx.HTTPError) as error:
                fault = f"{question.name}: {error or type(error).__name__}"
            rows.append(("upload" if question.query_id is None else "example", ms, fault))
    return rows


async def crowd(address: str, asked: Sequence[Sequence[Question]], n: int, done: Done) -> list[Asked]:
    """The first n visitors at once, each with the questions that are theirs."""
    return await asyncio.gather(*(visit(address, asked[i], done, seed=i) for i in range(n)))


def visitor_line(who: str, visits: Sequence[Asked], taken: float) -> dict[str, Any]:
    """Rates, waits, fairness and faults of some visitors together, who asked for so many seconds."""
    counts = [sum(ms is not None for _, ms, _ in rows) for rows in visits]
    line: dict[str, Any] = {"who": who, "visitors": len(visits), "answers": sum(counts)}
    line["answers_per_s"] = sum(counts) / taken
    for kind in ("example", "upload"):
        waits = [ms for rows in visits for one, ms, _ in rows if one == kind and ms is not None]
        line[f"{kind}_p50_ms"], line[f"{kind}_p95_ms"] = percentiles(waits) if waits else (None, None)
    squares = len(counts) * sum(count * count for count in counts)
    return line | {"jain": sum(counts) ** 2 / squares if squares else 0.0, "faults": len(faults_of(visits))}


def faults_of(visits: Sequence[Asked]) -> list[str]:
    """What was wrong, in words."""
    return [fault for rows in visits for *_, fault in rows if fault is not None]


def measure(attributor: Attributor, browser: str, n_visitors: int, n_seconds: int, n_files: int) -> dict[str, Any]:
    """The report's figures of answers and visitors, from one server that is started for them."""
    asked = questions(attributor, max(2, n_visitors), 10)
    files = [one for theirs in asked for one in theirs if one.query_id is None][:n_files]
    files += questions(attributor, 1, max(2, n_files // 20), (LARGE,))[0][:2]  # the first two are no examples
    in_process(attributor, files[:5])  # what is fitted or compiled at first use is not an answer's time
    answers = answer_lines("in process", in_process(attributor, files))
    with started(*APP) as (address, pid):
        # The model is loaded, and the first answer of each kind is behind us, before anything is counted.
        asyncio.run(crowd(address, asked, 2, lambda rows: len(rows) >= 4))
        before = memory_of(pid)
        lines, faults = [], []
        for who, number in (("one alone", 1), ("all at once", n_visitors)):
            began = time.perf_counter()
            found = asyncio.run(crowd(address, asked, number, lambda _: time.perf_counter() >= began + n_seconds))  # noqa: B023
            lines.append(visitor_line(who, found, time.perf_counter() - began))
            faults += faults_of(found)
        after = memory_of(pid)
        answers += answer_lines("Chromium", in_browser(files, address, browser))
    memory = {"before": before["resident_mb"], "after": after["resident_mb"], "peak": after["peak_mb"]}
    memory["n"] = sum(line["answers"] for line in lines)
    return {"answers": answers, "visitors": lines, "memory_mb": memory, "faults": faults[:20]}


def installed() -> dict[str, float]:
    """Package -> megabytes on disk, of all that requirements.txt brings here."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    sizes, waiting = dict[str, float](), [line for line in lines if line[:1] not in ("", "#")]
    while waiting:
        needed = Requirement(waiting.pop())
        name = canonicalize_name(needed.name)
        if name in sizes or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        found = distribution(name)
        paths = [Path(str(found.locate_file(file))) for file in found.files or ()]
        sizes[name] = sum(path.stat().st_size for path in paths if path.exists()) / 1e6
        waiting += found.requires or ()
    return sizes


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print three tables and one line of JSON.

    Returns:
        0 when every answer was right, 1 when not.

    Raises:
        OSError, httpx.HTTPError: there is no Chromium, or a server could not be had.
    """
    options = arguments(__doc__, runs=5, files=40, visitors=20, seconds=30).parse_args(argv)
    attributor, browser = Attributor.load(), chromium()
    picture, example = attributor.queries[attributor.examples[-1]].path, attributor.examples[0]
    ways = {"app.py": APP, "everything eager": ("-c", EAGER)}
    works = {way: partial(one_start, command, picture, example) for way, command in ways.items()}
    starts = start_lines(in_turns(works, options.runs))
    measured = measure(attributor, browser, options.visitors, options.seconds, options.files)
    report = {"starts": starts, "installed_mb": installed(), **measured}
    for fault in report["faults"]:
        print(fault, file=sys.stderr)
    finish(options.json, report, tables)
    return int(bool(report["faults"]))


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    memory, installed = report["memory_mb"], report["installed_mb"]
    largest = ", ".join(f"{name} {size:,.0f}" for name, size in sorted(installed.items(), key=lambda one: -one[1])[:6])
    return "\n\n".join(
        (
            table(report["starts"], STARTS),
            table(report["answers"], ANSWERS),
            table(report["visitors"], VISITORS),
            f"Memory of the server and of the processes that it started: {memory['before']:,.0f} MB when its model is loaded, "
            f"{memory['after']:,.0f} MB after {memory['n']:,} answers, {memory['peak']:,.0f} MB at most. Installed for it: "
            f"{sum(installed.values()):,.0f} MB in {len(installed)} packages; in MB, {largest}.",
            machine_line(report["machine"]),
        )
    )


if __name__ == "__main__":
    run(main)
