"""Break the core modules in one place at a time, and count how often their tests notice.

    python -m tests.endurance mutants --per-module 40 --json mutants.json

Every mutant of `tests.endurance.mutations_of_code` is written into a copy of the project, never into the project, and
the tests that are about its module are run there, with its doctests, until one fails: then it is killed. One that takes
several times as long as the sound module is killed too, and counted apart. Without ``--per-module`` all are tried.

What was found is kept beside ``--json``. Started again, killed mutants of an unchanged module are taken as they were,
for a further test revives none; survivors are tried again where a test file of their module has changed. Delete that file
after tests were taken away. The check fails where fewer than 85 % are killed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.endurance.equivalent_mutants import EQUIVALENT
from tests.endurance.mutations_of_code import Mutant, mutants
from tests.endurance.workplace import Workplace

DESCRIPTION = "change the core modules in one place at a time and count what the tests notice"
ROOT = Path(__file__).resolve().parents[2]
LEAST_KILLED = 0.85
TIMES, LEAST_SECONDS = 6, 20.0  # a mutant may take so many times as long as the sound module, and at least so long

CODES = ("scale/test_compressed", "scale/test_building")
#: module -> the tests that are about it, the quickest first
TESTS = {
    "aad/method/losses.py": ("test_losses", "test_training"),
    "aad/metrics.py": ("test_metrics", "test_outcomes"),
    "aad/calibration.py": ("test_calibration",),
    "aad/bundle.py": ("test_hostile_manifests", "test_hostile_bundles", "test_artifacts", "test_hub"),
    "precompute/common/steps.py": ("test_hostile_bundles", "test_artifacts", "test_hub"),
    "precompute/common/rows.py": ("test_artifacts", "test_precompute_faults"),
    "aad/files.py": ("test_hostile_bundles", "test_artifacts", "test_precompute_faults"),
    "aad/search.py": ("test_search",),
    "aad/scale/stored.py": ("scale/test_stored", "test_search"),
    "aad/scale/mass.py": CODES,
    "aad/scale/compressed.py": (*CODES, "test_search"),
    "aad/scale/building.py": (*CODES, "test_build_index"),
    "aad/scale/codes.py": (*CODES, "test_build_index"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One mutant to try.

    Attributes:
        module: its path in the project.
        mutant: the change.
        tests: files to run, in order.
        key: of what was found, for the same mutant.
        version: of the tests, where it survived them.
    """

    module: str
    mutant: Mutant
    tests: tuple[str, ...]
    key: str
    version: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this check."""
    parser.add_argument(
        "--modules", nargs="+", choices=TESTS, default=list(TESTS), metavar="MODULE", help="default: all of the core"
    )
    parser.add_argument("--per-module", type=int, help="mutants drawn from each module; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of that draw; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="copies tested at the same time; default: %(default)s")


def chosen(module: str, source: str, n: int | None, seed: int) -> tuple[list[Mutant], int]:
    """Mutants to try, in the order of their places, and how many of those drawn are known to change nothing."""
    drawn = mutants(source)
    if n is not None and n < len(drawn):
        places = random.Random(f"{seed} {module}").sample(range(len(drawn)), n)
        drawn = [drawn[i] for i in sorted(places)]
    real = [one for one in drawn if not EQUIVALENT.get(module, {}).get(one.text, {}).get(one.change)]
    return real, len(drawn) - len(real)


def survey(
    root: Path,
    tests: dict[str, tuple[str, ...]],
    n: int | None = None,
    seed: int = 0,
    jobs: int = 2,
    kept: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Try the mutants of some modules.

    Args:
        root: the project.
        tests: module to test files, both as paths in the project.
        n: mutants of each module; None for all.
        seed: of their draw.
        jobs: copies tested at the same time.
        kept: file of what was found before; what is found is added.

    Returns:
        Module to counts by outcome, ``equivalent``, ``seconds`` of work (without what was kept) and ``survivors``.
    """
    before = dict(read(kept))
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place = Workplace(root, Path(folder), jobs)
        sound = place.root_of(0)  # not the project: it may be worked on meanwhile
        pool = ThreadPoolExecutor(jobs)
        try:
            tasks: list[tuple[Task, float]] = []
            for module, files in tqdm(tests.items(), "modules as they are", disable=None):
                source = (sound / module).read_text(encoding="utf-8")
                real, n_equivalent = chosen(module, source, n, seed)
                figures[module] = {"killed": 0, "timed out": 0, "survived": 0, "equivalent": n_equivalent}
                figures[module] |= {"seconds": 0.0, "survivors": []}
                version = digest(*((sound / file).read_text(encoding="utf-8") for file in files))
                new = []
                for one in real:
                    task = Task(module, one, files, digest(module, source, one.source), version)
                    if settled(before.get(task.key), task):
                        count(figures, task, before[task.key])
                    else:
                        new.append(task)
                if new:
                    word, failed, seconds = place.outcome(module, None, files, 900.0)
                    if word != "survived":
                        raise RuntimeError(f"the tests of {module} must pass before it is changed: {word} {failed}")
                    limit = max(LEAST_SECONDS, TIMES * seconds)
                    tasks += [(task, limit) for task in new]
            futures = {
                pool.submit(place.outcome, task.module, task.mutant.source, task.tests, limit): task
                for task, limit in tasks
            }
            for future in tqdm(as_completed(futures), "mutants", len(futures), disable=None):
                word, failed, seconds = future.result()
                task = futures[future]
                found = {"outcome": word, "by": failed, "seconds": round(seconds, 1), "tests": task.version}
                if kept is not None:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write("\n" + json.dumps({"key": task.key, **found}))  # after a line cut short, too
                count(figures, task, found)
                figures[task.module]["seconds"] += found["seconds"]
                if word == "survived":
                    tqdm.write(f"survived  {described(task)}", file=sys.stderr)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            place.stop()
            pool.shutdown()
    return figures


def read(kept: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was found before, by key, the latest last; a line that was being written when a run ended is passed over."""
    for line in kept.read_text(encoding="utf-8").splitlines() if kept is not None and kept.exists() else []:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield found["key"], found


def settled(found: dict[str, Any] | None, task: Task) -> bool:
    """Whether a mutant need not be tried again."""
    return found is not None and (found["outcome"] != "survived" or found["tests"] == task.version)


def count(figures: dict[str, dict[str, Any]], task: Task, found: dict[str, Any]) -> None:
    """Add one outcome to the figures of its module."""
    own = figures[task.module]
    own[found["outcome"]] += 1
    if found["outcome"] == "survived":
        own["survivors"] = sorted([*own["survivors"], described(task)])


def described(task: Task) -> str:
    """A mutant in one line."""
    return f"{task.module}:{task.mutant.line}  {task.mutant.change}  in: {task.mutant.text}"


def digest(*texts: str) -> str:
    """Sixteen digits that stand for some texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do it; figures for `docs/security.md`."""
    tests = {module: tuple(f"tests/{name}.py" for name in TESTS[module]) for module in arguments.modules}
    kept = arguments.json.with_suffix(".kept.jsonl") if arguments.json else None
    modules = survey(ROOT, tests, arguments.per_module, arguments.seed, arguments.jobs, kept)
    killed = sum(own["killed"] + own["timed out"] for own in modules.values())
    tried = killed + sum(own["survived"] for own in modules.values())
    share = killed / max(1, tried)
    for own in modules.values():
        own["seconds"] = round(own["seconds"], 1)
    fault = f"{share:.1%} of {tried} mutants are killed, at least {LEAST_KILLED:.0%} are required; see the survivors"
    return {
        "per module": arguments.per_module,
        "seed": arguments.seed,
        "tried": tried,
        "killed": killed,
        "share killed": round(share, 4),
        "modules": modules,
        "faults": [fault] if share < LEAST_KILLED else [],
    }
