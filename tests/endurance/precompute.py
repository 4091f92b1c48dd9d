"""Disturb the steps that make a bundle, many times over, and compare what they leave with an undisturbed run.

    python -m tests.endurance precompute --kills 100 --json precompute.json

Two dozen pictures made by code become a bundle with heads of its own (`run --train`), shards, and a bundle of these
(`embed_shards`, `assemble`). The same commands then run in the same folders again and again and are killed, by SIGKILL:
after a time drawn at random, or within a write, of which half is then on the disk.
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
PER_KILL = {"kills": 1.0, "interrupts": 0.25, "full_disks": 0.25, "pairs": 0.05}
COMPARED = ("runs", "files_compared", "differing", "debris")
#: exit code of a disturbed run, and what it must say
ENDS = {
    "kills": (-9, ""),
    "interrupts": (130, "interrupted; run the same command again"),
    "full_disks": (1, "free some space"),
}


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
        self.random, self.counts, self.faults = random.Random(seed), Counter[str](), list[str]()
        self.whole: dict[str, bytes] = {}
        self.n_writes, self.seconds = 0, 0.0  # of a run from nothing

    def prepare(self) -> None:
        """Make the pictures, and the results that all others are compared with; this process then has everything loaded."""
        from tests.small import picture

        for folder, n in (("photos", N_REFERENCES), ("made", N_QUERIES)):
            Path(folder).mkdir()
            for i in range(n):
                picture(i, (96, 96), tint=folder == "made").save(f"{folder}/{i:02}.png")
        with self.tools.Writes() as writes, Path("said").open("w") as said, redirect_stdout(said):
            self.tools.run_step(self.tools.everything, [])
        self.n_writes, self.whole = writes.n, self.tools.files(scratch=True)
        self.empty("everything")
        self.seconds = self.peaceful().seconds

    def disturb(self, kills: int) -> None:
        """All disturbed runs, in an order drawn at random, with runs in peace between them."""
        todo = [how for how, share in PER_KILL.items() for _ in range(math.ceil(share * kills))]
        self.random.shuffle(todo)
        with tqdm(total=len(todo), desc="disturbed runs", disable=None) as bar:
            while todo and time.monotonic() < self.deadline:
                how = todo.pop()
                if self.twice() if how == "pairs" else self.disturbed(how):
                    bar.update()
                else:
                    todo.append(how)  # it had ended before
                if self.random.random() < BETWEEN:
                    self.peaceful()
                    self.empty(self.random.choice(("everything", "scratch", "nothing", "nothing")))
        self.peaceful()

    def run(self, *faults: Any) -> list[Any]:
        """Runs side by side, one for each fault, and how they ended."""
        self.counts["runs"] += len(faults)
        started = [(self.tools.start(fault), fault) for fault in faults]
        return [self.tools.finish(*one, fault) for one, fault in started]

    def disturbed(self, how: str) -> bool:
        """A run that is disturbed within a write or after a time, and what it leaves; False where it had ended before."""
        if how == "full_disks" or self.random.random() < 0.4:
            fault = self.tools.Fault(how, at_write=self.random.randint(1, self.n_writes))
        else:
            fault = self.tools.Fault(how, after=self.random.uniform(0, self.seconds))
        before = set(self.tools.files(scratch=True))
        (ended,) = self.run(fault)
        where = f"{fault} at {ended.step}"
        if ended.hung:
            self.faults.append(f"{where}: hangs")
        elif ended.code == 0:
            self.compare(where)
            return False
        self.counts[how] += 1
        self.counts["kills_within_writes"] += how == "kills" and fault.at_write is not None
        code, words = ENDS[how]
        if ended.code != code or words not in ended.said:
            self.faults.append(f"{where}: ends with {ended.code}: {ended.said[-400:]!r}")
        if how != "kills":
            for unwanted in ("Traceback", "Exception ignored", self.tools.CHANGED):
                if unwanted in ended.said:
                    self.faults.append(f"{where}: {ended.said[ended.said.index(unwanted) :][:1000]!r}")
            if left := sorted(set(self.tools.files(scratch=True)) - set(self.whole) - before):
                self.faults.append(f"{where}: leaves {left}")
        self.look_at_bundles(where)
        return True

    def twice(self) -> bool:
        """Two runs at once."""
        self.counts["pairs"] += 1
        refused = [one for one in self.run(self.tools.Fault(), self.tools.Fault()) if one.code != 0]
        if len(refused) == 2 or any(one.code != 1 or "another run" not in one.said for one in refused):
            self.faults.append(f"two runs at once: {[(one.code, one.said[-400:]) for one in refused]}")
        self.compare("two runs at once")
        return True

    def peaceful(self) -> Any:
        """A run in peace, which must end well and leave what an undisturbed one does."""
        (ended,) = self.run(self.tools.Fault())
        if ended.code or ended.hung:
            self.faults.append(f"a run in peace ends with {ended.code}: {ended.said[-1000:]!r}")
        else:
            self.compare("a run in peace")
        return ended

    def compare(self, where: str) -> None:
        """All files, those in scratch folders too, with those of the undisturbed run."""
        found = self.tools.files(scratch=True)
        differing = sorted(path for path in self.whole if found.get(path) != self.whole[path])
        left = sorted(set(found) - set(self.whole))
        self.counts += Counter(files_compared=len(self.whole), differing=len(differing), debris=len(left))
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
            except BundleError as error:
                if "python -m precompute." not in str(error):
                    self.faults.append(f"{where}: {name} is refused without a remedy: {error}")
            except Exception as error:
                self.faults.append(f"{where}: {name} breaks its reader: {type(error).__name__}: {error}")

    def empty(self, what: str) -> None:
        """Make room for the next runs."""
        for name in self.tools.RESULTS:
            if what != "nothing":
                shutil.rmtree(Path(name) / (".work" if what == "scratch" else ""), ignore_errors=True)

    def figures(self) -> dict[str, Any]:
        """What the check prints."""
        counted = {name: self.counts[name] for name in (*PER_KILL, "kills_within_writes", *COMPARED)}
        seconds = round(time.monotonic() - self.started)
        return {
            "seed": self.seed,
            **counted,
            "files_of_a_run": len(self.whole),
            "faults": self.faults,
            "seconds": seconds,
        }
