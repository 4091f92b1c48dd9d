"""A run of `precompute` in a process of its own, disturbed where it is asked for.

The process is forked from one that has everything loaded, so that another costs milliseconds, and runs the real commands one after
the other with settings that make them short. What disturbs it comes from outside (a signal after some time) or at the moment of a
write, of which half is then on the disk.
"""

from __future__ import annotations

import errno
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from unittest import mock

from precompute import run as whole_run
from precompute.common import embedding, rows
from precompute.common.cli import run_step

CHANGED = "what was there before has changed"  # said by a process whose failed step did not leave the old files alone
LIMIT = 300.0  # seconds; a run that takes longer hangs

#: what makes a step short here, beside what `run` gives it
SHORT = {
    "extract_features": ("--threads", "1"),
    "extract_views": (
        *("--n-views", "1", "--kinds", "plain", "filters", "--made", "filters", "--n-made", "1", "--threads", "1"),
    ),
    "train_heads": ("--steps", "5"),
    "project": ("--n-neighbors", "5"),
}
COMMANDS = (
    ("run", "--references", "photos", "--queries", "made", "--train", "--bundle", "out"),
    ("embed_shards", "--source", "photos", "--out", "shards", "--size", "8", "--workers", "1"),
    ("assemble", "--shards", "shards", "--queries", "made", "--bundle", "assembled", "--workers", "1"),
)
BUNDLES, RESULTS = ("out", "assembled"), ("out", "assembled", "shards")
SHARD = 8  # images of a shard: several of each


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a run.

    Attributes:
        how: ``kills``, ``interrupts`` or ``full_disks``; empty for a run in peace.
        after: seconds until the signal.
        at_write: in place of a time, the number of the write during which it happens.
    """

    how: str = ""
    after: float | None = None
    at_write: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: exit code, negative for a signal; what it said; how long it took; whether it had to be ended as it hung."""

    code: int
    said: str
    seconds: float
    hung: bool

    @property
    def step(self) -> str:
        """The step that it was at."""
        return next((line[3:] for line in reversed(self.said.splitlines()) if line.startswith("== ")), "start")


def everything(_: Sequence[str] = ()) -> None:
    """All commands, in this process and in the working folder."""
    with mock.patch.object(whole_run, "_run", step), mock.patch.object(embedding, "SHARD", SHARD):
        for name, *options in COMMANDS:
            step(name, options)


def step(name: str, options: Sequence[str]) -> None:
    """One command; says so where it fails and the bundle is not as it was."""
    print(f"== {name}", flush=True)
    before = {} if name == "run" else files()
    try:
        importlib.import_module(f"precompute.{name}").main([*options, *SHORT.get(name, ())])
    except Exception:
        after = {} if name == "run" else files()
        if changed := [path for path in before if after.get(path) != before[path]]:
            print(f"{CHANGED}: {changed}", flush=True)
        raise


def files(root: Path = Path(), scratch: bool = False) -> dict[str, bytes]:
    """Every file of the results by its path; those in ``.work`` only where asked for."""
    found = (path for name in RESULTS for path in sorted((root / name).rglob("*")) if path.is_file())
    paths = ((path, path.relative_to(root)) for path in found)
    return {str(own): path.read_bytes() for path, own in paths if scratch or ".work" not in own.parts}


class Writes:
    """Counts the writes of this process, and does something during one of them.

    Args:
        number: of that write; None to count only.
        strike: what happens, after half of the content was written.
        lasting: whether it happens at every later write as well.
    """

    def __init__(self, number: int | None = None, strike: Callable[[], None] = lambda: None, lasting: bool = False):
        self.number, self.strike, self.lasting, self.n = number, strike, lasting, 0
        self.changed = ExitStack()

    def due(self) -> bool:
        self.n += 1
        return self.number is not None and (self.n == self.number or (self.lasting and self.n > self.number))

    def __enter__(self) -> Writes:
        write_bytes, replace, append = Path.write_bytes, Path.replace, rows.append

        def written(path: Path, data: Any) -> int:
            if self.due():
                write_bytes(path, bytes(data)[: len(data) // 2])
                self.strike()
            return write_bytes(path, data)

        def replaced(path: Path, target: Any) -> Path:
            if self.lasting or not self.due():
                return replace(path, target)
            if self.n % 2:
                self.strike()
            moved = replace(path, target)
            self.strike()
            return moved

        def appended(file: BinaryIO, part: Any) -> None:
            half = len(part) // 2
            due = self.due()
            append(file, part[:half])
            if due:
                file.flush()
                self.strike()
            append(file, part[half:])

        self.changed.enter_context(mock.patch.object(Path, "write_bytes", written))
        self.changed.enter_context(mock.patch.object(Path, "replace", replaced))
        self.changed.enter_context(mock.patch.object(rows, "append", appended))
        return self

    def __exit__(self, *_: object) -> None:
        self.changed.close()


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def start(fault: Fault) -> tuple[int, int]:
    """Start a run; its process and the end of a pipe from which comes what it says."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        if os.read(reader, 1) != b"\n":
            raise ChildProcessError("a process ended before it began")
        return pid, reader
    _run_to_the_end(fault, writer)


def _run_to_the_end(fault: Fault, writer: int) -> NoReturn:
    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (1, 2):
            os.dup2(writer, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        own = os.getpid()
        strikes: dict[str, Callable[[], None]] = {
            "kills": lambda: os.kill(own, signal.SIGKILL),
            "interrupts": lambda: os.kill(own, signal.SIGINT),
            "full_disks": full,
        }
        if fault.at_write is not None:
            Writes(fault.at_write, strikes[fault.how], fault.how == "full_disks").__enter__()
        try:
            print(flush=True)
            run_step(everything, [])
            code = 0
        except SystemExit as end:
            code = 1 if isinstance(end.code, str) else int(end.code or 0)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(pid: int, reader: int, fault: Fault) -> Ended:
    """Wait for a run, and send it its signal when that is due."""
    said, started = b"", time.monotonic()
    number = {"kills": signal.SIGKILL, "interrupts": signal.SIGINT}.get(fault.how)
    waiting = [] if number is None or fault.after is None else [(fault.after, number)]
    waiting.append((LIMIT, signal.SIGKILL))
    while True:
        due, number = waiting[0]
        if select.select([reader], [], [], max(0.0, due - (time.monotonic() - started)))[0]:
            piece = os.read(reader, 65536)
            if not piece:
                break
            said += piece
        else:
            os.killpg(pid, number)
            waiting = waiting[1:] or [(2 * LIMIT, signal.SIGKILL)]
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(code, said.decode(errors="replace"), time.monotonic() - started, waiting[0][0] > LIMIT)
