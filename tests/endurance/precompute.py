"""Disturb the steps that make a bundle, many times over, and compare what they leave with an undisturbed run.

    python -m tests.endurance precompute --kills 100 --json precompute.json

Two dozen pictures made by code become a bundle with heads of its own (`run --train`), shards, a bundle of these
(`embed_shards`, `assemble`) and shards of views (`extract_shards`). The same commands then run in the same folders again
and again and are killed, by SIGKILL: after a time drawn at random, or within a write, of which half is then on the disk.
After each kill every bundle is opened: it must be whole, or refused in words that say what to run. After some kills a run
is let through, and all files must have the bytes of the undisturbed run, with none beside them.

In between, some runs get Ctrl-C in the same ways (exit code 130, no traceback, nothing half-written left), some find the
disk full (one line, exit code 1, the old files as they were), and some are started twice at once (one is refused in words,
or both finish).
"""

import argparse
import importlib
import math
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from tqdm import tqdm

DESCRIPTION = "kill, interrupt and starve the steps that make a bundle, and compare what they leave"
N_REFERENCES, N_QUERIES = 16, 8
BETWEEN = 0.2  # how likely a run in peace follows a disturbed one
COUNTED = (
    *("kills", "kills_within_writes", "interrupts", "full_disks", "pairs", "pairs_one_refused"),
    *("finished_before", "runs", "bundles_whole", "bundles_refused"),
    *("finished", "files_compared", "differing", "debris"),
)
PER_KILL = {"kill": 1.0, "interrupt": 0.25, "full": 0.25, "twice": 0.05}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument("--kills", type=int, default=100, help="runs that are killed; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=60.0, help="no more than this; default: %(default)s")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of the check; `faults` says in words what was found."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"), NUMBA_THREADING_LAYER="workqueue")  # before anything is loaded
    with tempfile.TemporaryDirectory(prefix="interrupted-") as folder, chdir(folder):
        check = Check(arguments.seed, time.monotonic() + 60 * arguments.minutes)
        check.prepare()
        check.disturb(arguments.kills)
        return check.figures()


class Check:
    """Runs in the working folder, what they left, and what of it is a fault.

    Args:
        seed: of everything drawn.
        deadline: on the monotonic clock.
    """

    def __init__(self, seed: int, deadline: float) -> None:
        self.tools = importlib.import_module("tests.endurance.interrupted")  # which loads torch
        self.seed, self.deadline, self.started = seed, deadline, time.monotonic()
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.killed_at: Counter[str] = Counter()
        self.faults: list[str] = []
        self.whole: dict[str, bytes] = {}
        self.n_writes = 0  # of a run from nothing
        self.seconds: dict[bool, float] = {}  # of a run in peace: from nothing, and over what another has left

    def prepare(self) -> None:
        """Make the pictures, and the results that all others are compared with; this process then has everything loaded."""
        from tests.small import picture

        for folder, n in (("photos", N_REFERENCES), ("made", N_QUERIES)):
            Path(folder).mkdir()
            for i in range(n):
                picture(i, (96, 96), tint=folder == "made").save(f"{folder}/{i:02}.png")
        with self.tools.Writes() as writes, Path("said").open("w") as said, redirect_stdout(said):
            self.tools.everything()
        self.n_writes = writes.n
        self.whole = self.tools.files(scratch=True)
        self.empty()
        for fresh in (True, False):
            self.seconds[fresh] = self.let_through().seconds

    def disturb(self, kills: int) -> None:
        """All disturbed runs, in an order drawn at random, with runs in peace between them."""
        todo = [how for how, share in PER_KILL.items() for _ in range(math.ceil(share * kills))]
        self.random.shuffle(todo)
        with tqdm(total=len(todo), desc="disturbed runs", disable=None) as bar:
            while todo and time.monotonic() < self.deadline:
                how = todo.pop()
                if self.twice() if how == "twice" else self.disturbed(how):
                    bar.update()
                else:
                    todo.append(how)  # it had ended before
                if self.random.random() < BETWEEN:
                    self.let_through()
                    self.empty(self.random.choice(("everything", "scratch", "nothing", "nothing")))
        self.let_through()

    def disturbed(self, how: str) -> bool:
        """A run that is disturbed, and what it leaves; False where it had ended before."""
        fault, before = self.drawn(how), set(self.tools.files(scratch=True))
        ended = self.tools.finish(*self.tools.start(fault), fault)
        self.counts["runs"] += 1
        where = f"{fault} at {ended.step}"
        if ended.hung:
            self.faults.append(f"{where}: hangs")
        elif ended.code == 0:
            self.counts["finished_before"] += 1
            self.compare(where)
        elif how == "kill":
            self.counts["kills"] += 1
            self.counts["kills_within_writes"] += fault.at_write is not None
            self.killed_at[ended.step] += 1
            if ended.code != -9:
                self.faults.append(f"{where}: ends with {ended.code}: {ended.said[-400:]!r}")
        else:
            self.counts["interrupts" if how == "interrupt" else "full_disks"] += 1
            self.refused_in_words(how, where, ended, before)
        self.look_at_bundles(where)
        return ended.hung or ended.code != 0

    def drawn(self, how: str) -> Any:
        """A fault of a kind: within a write, or after a time."""
        fresh = not Path("out", "manifest.json").exists()
        if how == "full" or self.random.random() < 0.4:
            return self.tools.Fault(how, at_write=self.random.randint(1, max(1, self.n_writes // (1 if fresh else 2))))
        return self.tools.Fault(how, after=self.random.uniform(0, self.seconds[fresh]))

    def refused_in_words(self, how: str, where: str, ended: Any, before: set[str]) -> None:
        """What Ctrl-C and a full disk must lead to; ``before`` are the files that were there, some of killed runs."""
        code, words = (130, "interrupted; run the same command again") if how == "interrupt" else (1, "free some space")
        if ended.code != code or words not in ended.said:
            self.faults.append(f"{where}: ends with {ended.code}: {ended.said[-400:]!r}")
        for unwanted in ("Traceback", "Exception ignored", self.tools.CHANGED):
            if unwanted in ended.said:
                self.faults.append(f"{where}: {ended.said[ended.said.index(unwanted) :][:1000]!r}")
        if left := sorted(set(self.tools.files(scratch=True)) - set(self.whole) - before):
            self.counts["debris"] += len(left)
            self.faults.append(f"{where}: leaves {left}")

    def twice(self) -> bool:
        """Two runs at once."""
        peace = self.tools.Fault()
        started = [self.tools.start(peace), self.tools.start(peace)]
        ended = [self.tools.finish(*one, peace) for one in started]
        self.counts["runs"] += 2
        self.counts["pairs"] += 1
        refused = [one for one in ended if one.code != 0]
        self.counts["pairs_one_refused"] += len(refused) == 1
        if len(refused) == 2 or any(one.code != 1 or "another run" not in one.said for one in refused):
            self.faults.append(f"two runs at once: {[(one.code, one.said[-400:]) for one in ended]}")
        self.compare("two runs at once")
        return True

    def let_through(self) -> Any:
        """A run in peace, which must end well and leave what an undisturbed one does."""
        ended = self.tools.finish(*self.tools.start(self.tools.Fault()), self.tools.Fault())
        self.counts["runs"] += 1
        if ended.code or ended.hung:
            self.faults.append(f"a run in peace ends with {ended.code}: {ended.said[-1000:]!r}")
        else:
            self.compare("a run in peace")
        return ended

    def compare(self, where: str) -> None:
        """All files, those in scratch folders too, with those of the undisturbed run."""
        found = self.tools.files(scratch=True)
        self.counts["finished"] += 1
        self.counts["files_compared"] += len(self.whole)
        differing = sorted(path for path in self.whole if found.get(path) != self.whole[path])
        left = sorted(set(found) - set(self.whole))
        self.counts["differing"] += len(differing)
        self.counts["debris"] += len(left)
        if differing or left:
            self.faults.append(f"{where}: {differing} differ, {left} should not be there")

    def look_at_bundles(self, where: str) -> None:
        """Each bundle must be whole, or refused in words that say what to run; one of them never gets heads, and is refused."""
        from aad.attribution import Attributor
        from aad.bundle import Bundle, BundleError

        for name in self.tools.BUNDLES:
            try:
                bundle = Bundle.open(name)
                for file in bundle.manifest["files"]:
                    bundle.read_bytes(file)
                Attributor.load(name)
                self.counts["bundles_whole"] += 1
            except BundleError as error:
                self.counts["bundles_refused"] += 1
                if "python -m precompute." not in str(error):
                    self.faults.append(f"{where}: {name} is refused without a remedy: {error}")
            except Exception as error:
                self.faults.append(f"{where}: {name} breaks its reader: {type(error).__name__}: {error}")

    def empty(self, what: str = "everything") -> None:
        """Make room for the next runs."""
        for name in self.tools.RESULTS:
            if what != "nothing":
                shutil.rmtree(Path(name) / (".work" if what == "scratch" else ""), ignore_errors=True)

    def figures(self) -> dict[str, Any]:
        """What the check prints."""
        seconds = {"from nothing": round(self.seconds[True], 1), "over another": round(self.seconds[False], 1)}
        return {
            "seed": self.seed,
            **{name: self.counts[name] for name in COUNTED},
            "kills_by_step": dict(self.killed_at.most_common()),
            "files_of_a_run": len(self.whole),
            "seconds_of_a_run": seconds,
            "faults": self.faults,
            "seconds": round(time.monotonic() - self.started),
        }
