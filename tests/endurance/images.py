"""Damage the corpus of hostile files for as long as wanted, and watch a decoding process from outside.

First every file of `tests.hostile_files`, as it is: the longest decode and the highest memory are the figures that a
server must allow for. Then files damaged at random, guided by coverage: one that takes Pillow's Python code, or ours,
along a new way, or that is answered or refused in a new way, is kept and damaged further. What fails is written to
``--keep``, with the seed and the steps that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.greedy_files import GREEDY
from tests.hostile_files import corpus
from tests.mutations import draw_step, mutate

DESCRIPTION = "decode the corpus and damaged copies of it under watch"
MAX_SECONDS = 20.0  # twice the limit of the door; past it, the process is ended
CEILING = 1200.0  # megabytes above what the process held before: 60 million pixels, 13 bytes each, and room
SMALL = 20_000  # bytes; larger files are looked at once and not damaged: they only slow the search down
BATCH = 2_000  # files for one process, before a fresh one
SCALE = 4  # greedy files are this many times larger here than in the ordinary tests


class Decoder:
    """The process of `tests.endurance.decoder`, started anew whenever it has ended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "file"
        self.process: subprocess.Popen[str] | None = None
        self.n_files = 0

    def ask(self, data: bytes) -> dict[str, Any]:
        """What came of the file; ``fault`` where the process ended or had to be ended."""
        if self.process is None or self.n_files >= BATCH:
            self.stop()
            command = [sys.executable, "-m", "tests.endurance.decoder"]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ
                | {"PYTHONHASHSEED": "0"},  # so that one way through the code has one number in all processes
            )
            self.n_files = 0
        self.n_files += 1
        assert self.process.stdin is not None and self.process.stdout is not None
        self.path.write_bytes(data)
        start = time.perf_counter()
        self.process.stdin.write(f"{self.path}\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            in_time = selector.select(MAX_SECONDS)
        line = self.process.stdout.readline() if in_time else ""
        if line:
            return json.loads(line)
        seconds = time.perf_counter() - start
        code = self.process.wait() if in_time else None
        self.stop()
        words = f"fault longer than {MAX_SECONDS:g} s" if code is None else f"fault ended with {code}"
        return {"outcome": words, "seconds": seconds, "cpu_seconds": seconds, "megabytes": 0.0, "arcs": []}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long files are damaged; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--keep", type=Path, default=Path("endurance-images"), help="failing files; default: %(default)s"
    )


def kind(outcome: str) -> str:
    """An outcome without what differs from file to file: sizes, places, bytes."""
    return re.sub(r"b'[^']*'|b\"[^\"]*\"|[\d,.]+", "#", outcome)[:160]


class Record:
    """What has been seen so far, and what of it is a fault."""

    def __init__(self, keep: Path) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        self.kinds: set[str] = set()
        self.arcs: set[int] = set()
        self.faults: list[dict[str, Any]] = []
        self.slowest = {"accepted": (0.0, 0.0, ""), "refused": (0.0, 0.0, ""), "fault": (0.0, 0.0, "")}
        self.largest: tuple[float, str] = (0.0, "")

    def take(self, reply: dict[str, Any], data: bytes, origin: dict[str, Any]) -> bool:
        """Add one file; True where it is new in kind or in the way it takes."""
        outcome, name = reply["outcome"], str(origin["name"])
        word = outcome.split()[0]
        self.counts[word] += 1
        self.slowest[word] = max(self.slowest[word], (reply["cpu_seconds"], reply["seconds"], name))
        self.largest = max(self.largest, (reply["megabytes"], name))
        if outcome.startswith("fault"):
            self.fail(outcome, data, origin)
        elif reply["megabytes"] > CEILING:
            self.fail(f"fault {reply['megabytes']:.0f} MB", data, origin)
        new = kind(outcome) not in self.kinds or not self.arcs.issuperset(reply["arcs"])
        self.kinds.add(kind(outcome))
        self.arcs.update(reply["arcs"])
        return new

    def fail(self, what: str, data: bytes, origin: dict[str, Any]) -> None:
        if what not in {fault["what"] for fault in self.faults} or len(self.faults) < 100:
            self.keep.mkdir(parents=True, exist_ok=True)
            path = self.keep / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps({"what": what, **origin}, indent=1) + "\n")
            self.faults.append({"what": what, "file": path.name, "name": origin["name"]})


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do it; figures for `docs/security.md`."""
    record, draw = Record(arguments.keep), random.Random(arguments.seed)
    pool: dict[str, list[tuple[str, bytes]]] = {"accepted": [], "refused": []}
    with tempfile.TemporaryDirectory() as folder:
        decoder = Decoder(Path(folder))
        try:
            files = corpus()
            for name, (make, _, _) in tqdm(files.items(), "corpus", disable=None):
                work, n = GREEDY.get(name, (None, 0))
                data = make() if work is None else work(n if name == "shared_index.jpg" else SCALE * n)
                reply = decoder.ask(data)
                record.take(reply, data, {"name": name})
                if len(data) < SMALL and work is None and not name.startswith("largest"):  # those take seconds each
                    pool.get(reply["outcome"].split()[0], []).append((name, data))
            corpus_figures = figures(record)
            n_first, end = sum(map(len, pool.values())), time.monotonic() + 60 * arguments.minutes
            with tqdm(desc="damaged", disable=None, unit=" files") as progress:
                while time.monotonic() < end:
                    # What is sound can be damaged deep within; what is refused, mostly only be refused again.
                    files_of_a_kind = pool["accepted" if draw.random() < 0.8 else "refused"]
                    name, data = draw.choice(files_of_a_kind)
                    donor, other = draw.choice(pool["accepted"])
                    steps = [draw_step(draw) for _ in range(draw.choice((1, 1, 1, 2, 3, 5)))]
                    damaged = mutate(data, steps, other)
                    origin = {
                        "name": name,
                        "from": hashlib.sha256(data).hexdigest()[:16],
                        "donor": donor,
                        "seed": arguments.seed,
                        "steps": [step.record() for step in steps],
                    }
                    reply = decoder.ask(damaged)
                    if record.take(reply, damaged, origin) and len(damaged) < SMALL:
                        pool.get(reply["outcome"].split()[0], []).append((name, damaged))
                    progress.update()
        finally:
            decoder.stop()
    return {
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "corpus": corpus_figures,
        **figures(record),
        "pool": {"at first": n_first, "at last": sum(map(len, pool.values()))},
        "faults": record.faults,
    }


def figures(record: Record) -> dict[str, Any]:
    """The counts and the worst, as plain numbers."""
    return {
        "tried": sum(record.counts.values()),
        **{name: record.counts[name] for name in ("accepted", "refused", "fault")},
        "kinds of outcome": len(record.kinds),
        "ways through the code": len(record.arcs),
        "longest": {
            word: {"seconds of work": round(work, 2), "seconds": round(seconds, 2), "file": name}
            for word, (work, seconds, name) in record.slowest.items()
            if name
        },
        "highest memory": {"megabytes": round(record.largest[0]), "file": record.largest[1]},
    }
