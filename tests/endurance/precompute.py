"""Disturb the steps that make a bundle, many times over, and compare what they leave with an undisturbed run.

    python -m tests.endurance precompute --kills 100 --json precompute.json

Two dozen pictures made by code become a bundle with heads of its own (`run --train`), shards, and a bundle of these
(`embed_shards`, `assemble`). The same commands then run in the same folders again and again and are killed, by SIGKILL,
within a write drawn at random, of which half is then on the disk. After each kill every bundle is opened: it must be whole,
or refused in words that say what to run. After some kills a run is let through, and all files must have the bytes of the
undisturbed run, with none beside them.

In between, some runs get Ctrl-C (exit code 130, no traceback, nothing half-written left), and some find the disk full (one
line, exit code 1, the old files as they were).
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
PER_KILL = {"kills": 1.0, "interrupts": 0.25, "full_disks": 0.25}
#: exit code of a disturbed run, and what it must say
ENDS = {"kills": (-9, ""), "interrupts": (130, "run the same command again"), "full_disks": (1, "free some space")}


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
        check = Check(arguments.seed)
        check.disturb(arguments.kills, time.monotonic() + 60 * arguments.minutes)
        return {"seed": arguments.seed, **check.counts, "faults": check.faults}


class Check:
    """Runs in the working folder, what they left, and what of it is a fault: pictures and an undisturbed run to begin with."""

    def __init__(self, seed: int) -> None:
        from tests.small import picture

        self.tools = importlib.import_module("tests.endurance.interrupted")  # which loads torch
        self.random, self.faults = random.Random(seed), list[str]()
        self.counts = Counter(dict.fromkeys((*PER_KILL, "files_compared", "differing", "debris"), 0))
        for folder, n in (("photos", N_REFERENCES), ("made", N_QUERIES)):
            Path(folder).mkdir()
            for i in range(n):
                picture(i, (96, 96), tint=folder == "made").save(f"{folder}/{i:02}.png")
        with self.tools.writes() as writes, Path("said").open("w") as said, redirect_stdout(said):
            self.tools.run_step(self.tools.everything, [])
        self.n_writes, self.whole = writes[0], self.tools.files()

    def disturb(self, kills: int, deadline: float) -> None:
        """All disturbed runs, in an order drawn at random, with runs in peace between them."""
        todo = [how for how, share in PER_KILL.items() for _ in range(math.ceil(share * kills))]
        self.random.shuffle(todo)
        for how in tqdm(todo, desc="disturbed runs", disable=None):
            if time.monotonic() > deadline:
                break
            self.disturbed(how)
            if self.random.random() < BETWEEN:
                self.peaceful()
                self.empty(self.random.choice(("everything", "scratch", "nothing", "nothing")))
        self.peaceful()

    def disturbed(self, how: str) -> None:
        """A run that is disturbed, and what it leaves; over what another has left there may be too few writes for that."""
        before, number = set(self.tools.files()), self.random.randint(1, self.n_writes)
        code, said = self.tools.disturbed(how, number)
        if code == 0:
            self.compare(f"{how} at write {number}")
            return
        step = next((line for line in reversed(said.splitlines()) if line.startswith("== ")), "")
        where, wanted = f"{how} at write {number} {step}", ENDS[how]
        self.counts[how] += 1
        if code != wanted[0] or wanted[1] not in said or (how != "kills" and "Traceback" in said):
            self.faults.append(f"{where}: ends with {code}: {said[-1000:]!r}")
        if how != "kills" and (left := sorted(set(self.tools.files()) - set(self.whole) - before)):
            self.faults.append(f"{where}: leaves {left}")
        self.look_at_bundles(where)

    def peaceful(self) -> None:
        """A run in peace, which must end well and leave what an undisturbed one does."""
        code, said = self.tools.disturbed()
        if code:
            self.faults.append(f"a run in peace ends with {code}: {said[-1000:]!r}")
        self.compare("a run in peace")

    def compare(self, where: str) -> None:
        """All files, those in scratch folders too, with those of the undisturbed run."""
        found = self.tools.files()
        differing = sorted(path for path in self.whole if found.get(path) != self.whole[path])
        left = sorted(set(found) - set(self.whole))
        self.counts.update(files_compared=len(self.whole), differing=len(differing), debris=len(left))
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
