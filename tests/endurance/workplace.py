"""Copies of the project in which its tests run with one module changed; the project itself is never touched."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

MEMORY, FILE = 12 << 30, 2 << 30  # bytes of data, and of one file, that a mutant may take: some never stop growing

# Limits first: Linux hands them on to everything that the tests start.
LIMITS = f"setrlimit(RLIMIT_DATA, ({MEMORY}, {MEMORY})); setrlimit(RLIMIT_FSIZE, ({FILE}, {FILE}))"
STARTER = f"import sys; from resource import *; {LIMITS}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


@dataclass
class Workplace:
    """Copies of the project, and what runs in them.

    Args:
        root: the project.
        folder: for the copies.
        n: how many.
    """

    root: Path
    folder: Path
    n: int
    copies: queue.Queue[Path] = field(default_factory=queue.Queue)
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    stopped: bool = False

    def __post_init__(self) -> None:
        for i in tqdm(range(self.n), "copies", disable=None):
            copy = self.root_of(i)
            shutil.copytree(self.root, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "venv", "node_modules"))
            self.copies.put(copy)

    def root_of(self, i: int) -> Path:
        """The folder of one copy."""
        return self.folder / str(i) / "project"

    def outcome(self, module: str, source: str | None, tests: Iterable[str], seconds: float) -> tuple[str, str, float]:
        """Run tests with a module's text changed.

        Args:
            module: its path in the project.
            source: its text for now; None for the text that it has.
            tests: files.
            seconds: limit.

        Returns:
            ``killed``, ``survived`` or ``timed out``; the test that failed first; and the seconds it took.

        Raises:
            RuntimeError: the tests could not be run at all.
        """
        copy = self.copies.get()
        path = copy / module
        original = path.read_bytes()
        try:
            if source is not None:
                path.write_text(source, encoding="utf-8")
            start = time.monotonic()
            code, printed = self._run(copy, [*tests, module], seconds)
            spent = time.monotonic() - start
        finally:
            path.write_bytes(original)
            self.copies.put(copy)
        if code is None:
            return "timed out", "", spent
        if code in (4, 5):  # pytest's own: it was called wrongly, or found no test
            raise RuntimeError(f"the tests of {module} cannot be run:\n{printed[-3000:]}")
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", printed, re.MULTILINE)
        return ("killed" if code else "survived"), (failed[1] if failed else ""), spent

    def _run(self, copy: Path, paths: list[str], seconds: float) -> tuple[int | None, str]:
        """Exit code, None where the limit was reached, and what was printed."""
        own = copy.parent / "temporary"
        own.mkdir(exist_ok=True)
        command = [sys.executable, "-c", STARTER, "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--doctest-modules"]
        command += [f"--rootdir={copy}", f"--basetemp={own / 'pytest'}", *paths]
        settings = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they take longer to load than many a test
            "PYTHONPATH": "",  # the copy alone, which is where it runs
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(own),
        }
        process = subprocess.Popen(
            command,
            cwd=copy,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that whatever a mutant has started ends with it
        )
        self.running.add(process)
        try:
            if self.stopped:
                return None, ""
            printed, _ = process.communicate(timeout=seconds)
            return process.returncode, printed
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            end(process)
            self.running.discard(process)

    def stop(self) -> None:
        """End what still runs, and let nothing start any more."""
        self.stopped = True
        for process in list(self.running):
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
