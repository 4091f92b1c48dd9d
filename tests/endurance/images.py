"""Damage the corpus of hostile files for as long as wanted, and watch a decoding process from outside.

First every file of `tests.hostile_files`, as it is: the longest decode and the highest memory are the figures that a
server must allow for. Then files damaged at random: one that is answered or refused in a new way is kept and damaged
further. What fails is written to ``--keep``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aad.images import ImageError
from interface import decoder
from tests.hostile_files import GREEDY, corpus, made
from tests.mutations import mutate

DESCRIPTION = "decode the corpus and damaged copies of it under watch"
CEILING = 1200.0  # megabytes above what the process held before: 60 million pixels, 13 bytes each, and room
SMALL = 20_000  # bytes; larger files are looked at once and not damaged: they only slow the search down
BATCH = 2_000  # files for one process, before a fresh one
SCALE = 4  # greedy files are this many times larger here than in the ordinary tests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long files are damaged; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--keep", type=Path, default=Path("endurance-images"), help="failing files; default: %(default)s"
    )


class Watched:
    """A process of the server's that decodes, looked at from outside, so that a crash, a leak or an endless loop is seen."""

    def __init__(self, folder: Path) -> None:
        self.path, self.decoder, self.n_files = folder / "file", decoder.Decoder(1), 0

    def ask(self, data: bytes) -> dict[str, Any]:
        """What came of the file: ``accepted WIDTHxHEIGHT``, ``refused WORDS`` or ``fault WORDS``; and what it took."""
        if self.n_files % BATCH == 0:
            self.decoder.stop()
            self.outcome(b"BM" + bytes(99))  # so that what is loaded once is no part of the first file's memory
        self.n_files += 1
        self.decoder.start()  # where the last has ended
        (process,) = self.decoder._free.queue
        about = Path(f"/proc/{process.pid}")
        (about / "clear_refs").write_text("5")  # the peak starts again from what is held now
        held, worked, start = memory(about, "VmRSS"), work(about), time.perf_counter()
        outcome, seconds = self.outcome(data), time.perf_counter() - start
        if process.poll() is not None:
            return {"outcome": outcome, "seconds": seconds, "cpu_seconds": seconds, "megabytes": 0.0}
        used = {"cpu_seconds": work(about) - worked, "megabytes": memory(about, "VmHWM") - held}
        return {"outcome": outcome, "seconds": seconds, **used}

    def outcome(self, data: bytes) -> str:
        self.path.write_bytes(data)
        try:
            image = self.decoder(self.path)
        except ImageError as error:
            text = str(error)
            if "whose decoder ended" in text or not text.isprintable() or "; " not in text or len(text) > 400:
                return f"fault {text[:300]!r}"
            return f"refused {text}"
        return f"accepted {image.width}x{image.height}"


def memory(about: Path, field: str) -> float:
    """Megabytes: ``VmHWM`` is the peak, ``VmRSS`` what is held now."""
    return int((about / "status").read_text().partition(f"{field}:")[2].split()[0]) / 1024


def work(about: Path) -> float:
    """Seconds of a processor."""
    user, system = (about / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
        watched = Watched(Path(folder))
        try:
            for name, (plain, _) in tqdm(corpus().items(), "corpus", disable=None):
                greedy, n = GREEDY.get(name, (None, 0))
                data = greedy(n if name == "shared_index.jpg" else SCALE * n) if greedy else made(plain)
                reply = watched.ask(data)
                record.take(reply, data, name)
                if len(data) < SMALL and greedy is None and not name.startswith("largest"):  # those take seconds each
                    pool[reply["outcome"].split()[0]].append((name, data))
            corpus_figures = record.figures()
            end = time.monotonic() + 60 * arguments.minutes
            with tqdm(desc="damaged", disable=None, unit=" files") as progress:
                while time.monotonic() < end:
                    # What is sound can be damaged deep within; what is refused, mostly only be refused again.
                    name, data = draw.choice(pool["accepted" if draw.random() < 0.8 else "refused"])
                    damaged = mutate(data, draw, draw.choice(pool["accepted"])[1])
                    reply = watched.ask(damaged)
                    if record.take(reply, damaged, name) and len(damaged) < SMALL:
                        pool[reply["outcome"].split()[0]].append((name, damaged))
                    progress.update()
        finally:
            watched.decoder.stop()
    return {
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "corpus": corpus_figures,
        **record.figures(),
        "faults": record.faults,
    }
