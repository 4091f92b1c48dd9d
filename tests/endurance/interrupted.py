"""A run of `precompute` in a process of its own, disturbed at the moment of a write, of which half is then on the disk.

The process is forked from one that has everything loaded, so that another costs milliseconds, and runs the real commands one after
the other with settings that make them short.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from unittest import mock

from precompute import run as whole_run
from precompute.common import embedding, rows
from precompute.common.cli import run_step

LIMIT = 300  # seconds; a run that takes longer hangs, and is ended
SHARD = 8  # images of a shard: several of each
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


def everything(_: Sequence[str] = ()) -> None:
    """All commands, in this process and in the working folder."""
    with mock.patch.object(whole_run, "_run", step), mock.patch.object(embedding, "SHARD", SHARD):
        for name, *options in COMMANDS:
            step(name, options)


def step(name: str, options: Sequence[str]) -> None:
    print(f"== {name}", flush=True)
    importlib.import_module(f"precompute.{name}").main([*options, *SHORT.get(name, ())])


def files() -> dict[str, bytes]:
    """Every file of the results by its path."""
    found = (path for name in RESULTS for path in sorted(Path(name).rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in found}


@contextmanager
def writes(number: int | None = None, strike: Callable[[], object] = int, lasting: bool = False) -> Iterator[list[int]]:
    """Count the writes of this process, and do something during one of them.

    Args:
        number: of that write; None to count only.
        strike: what happens, after half of the content was written.
        lasting: whether it happens at every later write as well.
    """
    write_bytes, replace, append, n = Path.write_bytes, Path.replace, rows.append, [0]

    def due() -> bool:
        n[0] += 1
        return number is not None and (n[0] == number or (lasting and n[0] > number))

    def written(path: Path, data: Any) -> int:
        if due():
            write_bytes(path, bytes(data)[: len(data) // 2])
            strike()
        return write_bytes(path, data)

    def replaced(path: Path, target: Any) -> Path:
        if not due() or lasting:  # a full disk takes new names
            return replace(path, target)
        if n[0] % 2:
            strike()
        moved = replace(path, target)
        strike()
        return moved

    def appended(file: BinaryIO, part: Any) -> None:
        half, now = len(part) // 2, due()
        append(file, part[:half])
        if now:
            file.flush()
            strike()
        append(file, part[half:])

    with (
        mock.patch.object(Path, "write_bytes", written),
        mock.patch.object(Path, "replace", replaced),
        mock.patch.object(rows, "append", appended),
    ):
        yield n


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disturbed(how: str = "", at_write: int | None = None) -> tuple[int, str]:
    """A run in a process of its own; its exit code, negative for a signal, and what it said.

    Args:
        how: ``kills``, ``interrupts`` or ``full_disks``; empty for a run in peace.
        at_write: the number of the write during which it happens.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _run_to_the_end(how, at_write, writer)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def _run_to_the_end(how: str, at_write: int | None, writer: int) -> NoReturn:
    code = 99
    try:
        signal.alarm(LIMIT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (1, 2):
            os.dup2(writer, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        number = {"kills": signal.SIGKILL, "interrupts": signal.SIGINT}.get(how)
        strike = full if number is None else lambda: os.kill(os.getpid(), number)
        with writes(at_write, strike, how == "full_disks"):
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
