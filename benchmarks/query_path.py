"""How long an answer takes from the opened file to the drawn page, and where that time goes.

    python -m benchmarks.query_path --n 100 --json query_path.json      # needs Chromium, named in $CHROMIUM or found

In this process (the baseline), over HTTP as the page's scripts ask, and in Chromium. The parts of a row sum to its total: decode,
preprocess and embed; search the three galleries; weigh (heads, calibration, the place on the maps); draw (on the server the
answer's JSON, in Chromium from its arrival to the last pixel); rest (the way to the server, the queue and the stream).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as app.py sets them
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from aad import Attributor, attribution
from aad.backbones import spec
from benchmarks.common import arguments, finish, machine_line, percentiles, run, table
from benchmarks.door import browser_page, chromium, open_door
from benchmarks.serving import ServerError, Visitor, free_port
from interface import present
from interface.handlers import answer
from interface.page import build_app
from interface.serving import serve

LOOK_MS = 300  # between an answer and the next file in the browser: a person looks at it first
TARGET_MS = 250.0
#: in the order in which a query goes through them; ``rest`` is what none of them holds
STAGES = ("decode", "preprocess", "embed", "search", "weigh", "draw")
K = 8  # what the page asks for
USUAL = "all usual files"
Kind = tuple[tuple[int, int], str, dict[str, Any]]
File = tuple[str, str, bytes]  # kind, name, content
#: name -> size, format and options; the kinds of file that visitors bring
KINDS: dict[str, Kind] = {
    "512 x 512 JPEG": ((512, 512), "jpeg", {"quality": 90}),
    "512 x 512 PNG": ((512, 512), "png", {}),
    "1024 x 1024 PNG": ((1024, 1024), "png", {}),
    "1024 x 1024 WebP": ((1024, 1024), "webp", {"quality": 85}),
    "768 x 512 JPEG": ((768, 512), "jpeg", {"quality": 90}),
}
LARGE: dict[str, Kind] = {"12 megapixels JPEG": ((4000, 3000), "jpeg", {"quality": 92})}

# Marks when the answer came, and when all of it is drawn: the page's own listeners done, every picture decoded, two frames passed,
# and a pixel of each map read back, so that work which the browser put off is counted.
WATCH = """() => {
  const page = window.attributionPage;
  let came = 0;
  window.measured = {};
  page.bus.addEventListener("answer", () => (came = performance.now()), { capture: true });
  page.bus.addEventListener("answer", async () => {
    const pictures = [...document.querySelectorAll("#answer img")];
    await Promise.all(pictures.map((picture) => picture.decode().catch(() => null)));
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.querySelectorAll(".map canvas").forEach((canvas) => canvas.getContext("2d").getImageData(0, 0, 1, 1));
      window.measured = { came, drawn: performance.now(), began: window.began };
    }));
  });
  document.addEventListener("change", (event) => { if (event.target.type === "file") window.began = performance.now(); }, true);
}"""


class Stages:
    """A stopwatch around the parts of one attributor's answers, one after the other, running while it is a context manager.

    A part's time is its own: what it calls and is measured by itself is taken off, so that the parts sum to the total.

    Args:
        attributor: An `aad.Attributor` whose backbone is loaded. Its modules' functions are wrapped, in every thread.
    """

    def __init__(self, attributor: Attributor) -> None:
        self._attributor = attributor
        self._patches = ExitStack()
        self._inner = 0.0
        self._taken = dict.fromkeys(STAGES, 0.0)

    def __enter__(self) -> Stages:
        """Wrap the parts."""
        attributor = self._attributor
        found: list[tuple[Any, str, str]] = [
            (attribution, "load_image", "decode"),
            (spec.BackboneSpec, "preprocess", "preprocess"),
            (type(attributor._backbone), "embed", "embed"),
            (type(attributor), "attribute", "weigh"),
            (type(attributor), "near_copies", "draw"),
            (present, "answer", "draw"),
        ]
        found += [(kind, "search", "search") for kind in {type(index) for index in attributor._index.values()}]
        for owner, name, stage in found:
            self._patches.enter_context(patch.object(owner, name, self._timed(getattr(owner, name), stage)))
        return self

    def __exit__(self, *_: object) -> None:
        """Take the wrappers off again."""
        self._patches.close()

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before, self._inner = self._inner, 0.0
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                whole = time.perf_counter() - began
                self._taken[stage] += whole - self._inner
                self._inner = before + whole

        return timed

    def take(self, kind: str = "", total: float = 0.0) -> dict[str, Any]:
        """A row of one answer: milliseconds of each stage since the last call, the rest, and the total."""
        taken, self._taken = self._taken, dict.fromkeys(STAGES, 0.0)
        stages = {stage: 1000 * seconds for stage, seconds in taken.items()}
        return {"kind": kind, **stages, "rest": total - sum(stages.values()), "total": total}


def files(pictures: Sequence[Path], kinds: Mapping[str, Kind], n: int) -> list[File]:
    """n picture files of each kind, no two alike: bundled pictures enlarged, one kind after another.

    Args:
        pictures: What they show, in turn.
        kinds: Name -> size, format and options of Pillow.
        n: Of each kind.

    Returns:
        (kind, file name, content) each, in the order of use.
    """
    made = []
    for turn in range(n):
        for number, (kind, (size, form, options)) in enumerate(kinds.items()):
            with Image.open(pictures[(turn * len(kinds) + number) % len(pictures)]) as opened:
                picture = opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, form, **options)
            made.append((kind, f"picture{turn}-{number}.{form}", buffer.getvalue()))
    return made


def in_process(attributor: Attributor, asked: Sequence[File]) -> list[dict[str, Any]]:
    """The plain call; one row each of its stages, its total and its kind."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Stages(attributor) as stages:
        for kind, name, content in asked:
            path = Path(folder) / name
            path.write_bytes(content)
            began = time.perf_counter()
            json.dumps(answer(attributor, "upload", str(path), K))
            rows.append(stages.take(kind, 1000 * (time.perf_counter() - began)))
            path.unlink()
    return rows


async def over_http(attributor: Attributor, asked: Sequence[File], address: str) -> list[dict[str, Any]]:
    """The same questions by the page's own endpoints, one after the other."""
    rows = []
    async with Visitor(address) as visitor:
        with Stages(attributor) as stages:
            for kind, name, content in asked:
                reply = await visitor.upload(name, content, K)
                if reply.answer["status"] != "answer":
                    raise ServerError(f"a picture must be answered, got {reply.answer.get('text')!r}")
                rows.append(stages.take(kind, reply.total_ms) | {"upload": reply.upload_ms})
    return rows


def in_browser(asked: Sequence[File], address: str, browser_path: str) -> list[dict[str, Any]]:
    """The same questions in Chromium: from the choice of the file to the last pixel, and of that the drawing."""
    from playwright.sync_api import Error as BrowserError

    rows: list[dict[str, Any]] = []
    with browser_page(browser_path, 1280, 800) as page:
        page.goto(address)
        page.wait_for_selector(".hit", timeout=60_000)
        open_door(page)
        page.evaluate(WATCH)
        for kind, name, content in asked:
            page.wait_for_timeout(LOOK_MS)
            page.evaluate("window.measured = {}")
            given = page.locator("#query-picture input[type=file]").first
            given.set_input_files({"name": name, "mimeType": f"image/{name.rpartition('.')[2]}", "buffer": content})
            try:
                measured = page.wait_for_function(
                    "window.measured.drawn && window.measured", timeout=60_000
                ).json_value()
            except BrowserError as error:
                raise ServerError(f"the page drew no answer to {name}, file {len(rows) + 1} of {len(asked)}") from error
            total, draw = measured["drawn"] - measured["began"], measured["drawn"] - measured["came"]
            rows.append({"kind": kind, "total": total, "draw": draw, "rest": total - draw})
    return rows


def summary(way: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for each kind of file and one for all the usual ones: medians of the parts, and both of the total."""
    groups = {USUAL: [row for row in rows if row["kind"] in KINDS]}
    for row in rows:
        groups.setdefault(row["kind"], []).append(row)
    lines = []
    for kind, members in groups.items():
        p50, p95 = percentiles([row["total"] for row in members])
        parts = [part for part in (*STAGES, "rest", "upload") if part in members[0]]
        medians = {f"{part}_ms": statistics.median(row[part] for row in members) for part in parts}
        lines.append({"way": way, "files": kind, "n": len(members), **medians, "p50_ms": p50, "p95_ms": p95})
    return lines


def measure(n: int, browser: str) -> list[dict[str, Any]]:
    """The lines of the report, for n files of each usual kind and a quarter as many large ones."""
    attributor = Attributor.load()
    pictures = [query.path for query in attributor.queries]
    asked = files(pictures, KINDS, n) + files(pictures, LARGE, max(1, n // 4))
    warm = asked[: len(KINDS)]
    attributor.warm_up()
    in_process(attributor, warm)  # what is fitted or compiled at first use is not an answer's time
    lines = summary("in process", in_process(attributor, asked))
    # The real page, in threads of this process so that its stages can be timed.
    address, stop = serve(build_app(attributor), server_port=free_port(), quiet=True)
    try:
        asyncio.run(over_http(attributor, warm, address))
        lines += summary("HTTP", asyncio.run(over_http(attributor, asked, address)))
        lines += summary("Chromium", in_browser(asked, address, browser))
    finally:
        stop()
    baseline = {line["files"]: line["p50_ms"] for line in lines if line["way"] == "in process"}
    return [line | {"ratio": line["p50_ms"] / baseline[line["files"]]} for line in lines]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON; ``--n`` is of each usual kind, and of the large one a quarter.

    Returns:
        0 when the usual files are answered within the target in every way, 1 when not.

    Raises:
        OSError, httpx.HTTPError: there is no Chromium, or a server could not be had.
    """
    options = arguments(__doc__, n=40).parse_args(argv)
    lines = measure(options.n, chromium())
    worst = max(line["p50_ms"] for line in lines if line["files"] == USUAL)
    report = {"target_ms": TARGET_MS, "worst_p50_ms": worst, "baseline": "in process", "rows": lines}
    finish(options.json, report, tables)
    return int(worst > TARGET_MS)


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    columns = {"way": "way", "files": "files", "n": "n"}
    columns |= {f"{part}_ms": part for part in (*STAGES, "rest", "upload")}
    columns |= {"p50_ms": "median, ms", "p95_ms": "95th percentile, ms", "ratio": "of in process"}
    worst, target = report["worst_p50_ms"], report["target_ms"]
    verdict = f"The slowest way's median is {worst:.0f} ms: {worst / target:.0%} of the {target:.0f} ms allowed."
    return f"{table(report['rows'], columns)}\n\n{verdict}\n\n{machine_line(report['machine'])}"


if __name__ == "__main__":
    run(main)
