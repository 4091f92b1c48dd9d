"""Damage the corpus of hostile files for as long as wanted, and watch a decoding process from outside.

First every file of `tests.hostile_files`, as it is: the longest decode and the highest memory are the figures that a
server must allow for. Then files damaged at random: one that is answered or refused in a new way is kept and damaged
further. What fails is written to ``--keep``.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import re
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.images import ImageError, load_image
from tests.hostile_files import GREEDY, corpus, made
from tests.mutations import mutate

DESCRIPTION = "decode the corpus and damaged copies of it under watch"
MAX_SECONDS = 20.0  # twice the limit of the door; past it, the process is ended
CEILING = 1200.0  # megabytes above what the process held before: 60 million pixels, 13 bytes each, and room
SMALL = 20_000  # bytes; larger files are looked at once and not damaged: they only slow the search down
BATCH = 2_000  # files for one process, before a fresh one
SCALE = 4  # greedy files are this many times larger here than in the ordinary tests
ADDRESS_SPACE = 6_000_000_000  # of the process, far above the ceiling: what reaches it would not end by itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long files are damaged; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--keep", type=Path, default=Path("endurance-images"), help="failing files; default: %(default)s"
    )


class Decoder:
    """A process that decodes what it is sent, so that a crash, a leak or an endless loop is seen; started anew when it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "file"
        self.process: subprocess.Popen[str] | None = None
        self.n_files = 0

    def ask(self, data: bytes) -> dict[str, Any]:
        """What came of the file; ``fault`` where the process ended or had to be ended."""
        if self.process is None or self.n_files >= BATCH:
            self.stop()
            command, pipe = [sys.executable, "-m", "tests.endurance.images"], subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
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
        if line := self.process.stdout.readline() if in_time else "":
            return json.loads(line)
        seconds = time.perf_counter() - start
        words = f"ended with {self.process.wait()}" if in_time else f"longer than {MAX_SECONDS:g} s"
        self.stop()
        return {"outcome": f"fault {words}", "seconds": seconds, "cpu_seconds": seconds, "megabytes": 0.0}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class Record:
    """What has been seen so far, and what of it is a fault."""

    def __init__(self, keep: Path) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        self.kinds: set[str] = set()
        self.faults: list[dict[str, Any]] = []
        self.slowest = dict.fromkeys(("accepted", "refused", "fault"), (0.0, 0.0, ""))
        self.largest: tuple[float, str] = (0.0, "")

    def take(self, reply: dict[str, Any], data: bytes, name: str) -> bool:
        """Add one file; True where it is new in kind."""
        outcome, word = reply["outcome"], reply["outcome"].split()[0]
        self.counts[word] += 1
        self.slowest[word] = max(self.slowest[word], (reply["cpu_seconds"], reply["seconds"], name))
        self.largest = max(self.largest, (reply["megabytes"], name))
        too_much = reply["megabytes"] > CEILING
        if word == "fault" or too_much:
            self.fail(f"fault {reply['megabytes']:.0f} MB" if too_much else outcome, data, name)
        kind = re.sub(r"b'[^']*'|b\"[^\"]*\"|[\d,.]+", "#", outcome)[:160]  # without sizes, places, bytes
        new = kind not in self.kinds
        self.kinds.add(kind)
        return new

    def fail(self, what: str, data: bytes, name: str) -> None:
        if what not in {fault["what"] for fault in self.faults} or len(self.faults) < 100:
            self.keep.mkdir(parents=True, exist_ok=True)
            path = self.keep / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            self.faults.append({"what": what, "file": path.name, "name": name})

    def figures(self) -> dict[str, Any]:
        """The counts and the worst, as plain numbers."""
        return {
            "tried": sum(self.counts.values()),
            **{name: self.counts[name] for name in ("accepted", "refused", "fault")},
            "kinds of outcome": len(self.kinds),
            "longest": {
                word: {"seconds of work": round(work, 2), "seconds": round(seconds, 2), "file": name}
                for word, (work, seconds, name) in self.slowest.items()
                if name
            },
            "highest memory": {"megabytes": round(self.largest[0]), "file": self.largest[1]},
        }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do it; figures for `docs/security.md`."""
    record, draw = Record(arguments.keep), random.Random(arguments.seed)
    pool: dict[str, list[tuple[str, bytes]]] = {"accepted": [], "refused": [], "fault": []}
    with tempfile.TemporaryDirectory() as folder:
        decoder = Decoder(Path(folder))
        try:
            for name, (plain, _) in tqdm(corpus().items(), "corpus", disable=None):
                work, n = GREEDY.get(name, (None, 0))
                data = work(n if name == "shared_index.jpg" else SCALE * n) if work else made(plain)
                reply = decoder.ask(data)
                record.take(reply, data, name)
                if len(data) < SMALL and work is None and not name.startswith("largest"):  # those take seconds each
                    pool[reply["outcome"].split()[0]].append((name, data))
            corpus_figures = record.figures()
            end = time.monotonic() + 60 * arguments.minutes
            with tqdm(desc="damaged", disable=None, unit=" files") as progress:
                while time.monotonic() < end:
                    # What is sound can be damaged deep within; what is refused, mostly only be refused again.
                    name, data = draw.choice(pool["accepted" if draw.random() < 0.8 else "refused"])
                    damaged = mutate(data, draw, draw.choice(pool["accepted"])[1])
                    reply = decoder.ask(damaged)
                    if record.take(reply, damaged, name) and len(damaged) < SMALL:
                        pool[reply["outcome"].split()[0]].append((name, damaged))
                    progress.update()
        finally:
            decoder.stop()
    return {
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "corpus": corpus_figures,
        **record.figures(),
        "faults": record.faults,
    }


# --- in the process: file names come in on lines, one line of JSON goes out for each ----------------------------------


def decode(data: bytes) -> str:
    """What came of it: ``accepted MODE WIDTHxHEIGHT``, ``refused WORDS`` or ``fault TYPE``."""
    try:
        image = load_image(data)
        pixels = np.asarray(image)
        assert image.mode == "RGB" and not image.info
        assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
        return f"accepted {image.mode} {image.width}x{image.height}"
    except ImageError as error:
        text = str(error)
        if not text.isprintable() or "; " not in text or len(text) > 400 or "object at 0x" in text:
            return f"fault words {text[:300]!r}"
        return f"refused {text}"
    except Exception as error:  # this is what is looked for
        return f"fault {type(error).__name__}: {str(error)[:300]}"


def memory(field: str) -> float:
    """Megabytes: ``VmHWM`` is the peak, ``VmRSS`` what is held now."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def serve() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    decode(b"BM" + bytes(99))  # so that what is loaded once is no part of the first file's memory
    for line in sys.stdin:
        data = Path(line.rstrip("\n")).read_bytes()
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
        before, work, start = memory("VmRSS"), time.process_time(), time.perf_counter()
        outcome = decode(data)
        seconds, work, peak = time.perf_counter() - start, time.process_time() - work, memory("VmHWM") - before
        reply = {"outcome": outcome, "seconds": seconds, "cpu_seconds": work, "megabytes": peak}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
