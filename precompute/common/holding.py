"""One run at a time in a folder: the kernel keeps the folder locked for as long as the run, or a step that it started, lives."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TypedDict

from aad.bundle import BundleError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing is kept there
    fcntl = None  # type: ignore[assignment]

_HELD: dict[str, int] = {}  # device and number of a folder -> open file
_HALF = r"\..+\.\d+\.partial"  # what aad.files calls a file until it is whole
_HALF_TENSORS = r"\.tmp\w{6}"  # what safetensors does
_INHERITED = "PRECOMPUTE_HOLDS"  # what the run holds that started this step


class HeldError(BundleError):
    """Another run is at work in the folder. The text says which."""


class Inherited(TypedDict):
    """What a step's process needs to go on under the locks of the run that starts it."""

    env: Mapping[str, str]
    pass_fds: tuple[int, ...]


def hold(folder: Path, new: bool = False) -> None:
    """Keep other runs out of a folder until this step or process ends, and remove what a killed one was writing there.

    Nothing is left behind: the folder itself is locked. A file system that cannot do so, as over some networks, is used without.

    Args:
        folder: that is written into.
        new: whether it is made where it is missing; otherwise a missing one is left to what reads it.

    Raises:
        HeldError: another run has it.
    """
    if new:
        folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None or not folder.is_dir():
        return
    file = os.open(folder, os.O_RDONLY)
    status = os.fstat(file)
    key = f"{status.st_dev}:{status.st_ino}"
    if key in _HELD or key in os.environ.get(_INHERITED, "").split():
        os.close(file)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            raise HeldError(
                f"another run{_holder(status.st_ino)} is at work in {folder}: wait until it has ended, or stop it, and run the "
                "same command again"
            ) from None
        return
    _HELD[key] = file
    for place, halves in ((folder, _HALF), (folder / ".work", rf"{_HALF}|{_HALF_TENSORS}")):
        for path in place.glob(".*"):
            if re.fullmatch(halves, path.name):
                with suppress(OSError):
                    path.unlink()


def lets_go(main: Callable[[Sequence[str]], None]) -> Callable[[Sequence[str]], None]:
    """For the ``main`` of a step that holds folders: they are free again when it ends, also where its process goes on."""

    @wraps(main)
    def holding(argv: Sequence[str]) -> None:
        before = set(_HELD)
        try:
            main(argv)
        finally:
            for key in _HELD.keys() - before:
                os.close(_HELD.pop(key))

    return holding


def inherited() -> Inherited:
    """For ``subprocess.run``: the locks stay for as long as the step lives, whatever becomes of this process."""
    return {"env": os.environ | {_INHERITED: " ".join(_HELD)}, "pass_fds": tuple(_HELD.values())}


def _holder(inode: int) -> str:
    """Of a locked folder, where the system tells."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            if found := re.search(rf"FLOCK +ADVISORY +WRITE +(\d+) +\S+:{inode} ", line):
                return f" (process {found[1]})"
    return ""
