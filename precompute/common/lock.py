"""One run at a time in a folder: the kernel keeps the folder locked for as long as the run lives."""

import os
import re
from contextlib import suppress
from pathlib import Path

from aad.bundle import BundleError
from aad.hub import hub_address, parse_address

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing is kept there
    fcntl = None  # type: ignore[assignment]

_HELD: dict[tuple[int, int], int] = {}  # device and number of a folder -> open file
_HALF = r"\..+\.\d+\.partial|\.tmp\w{6}"  # what aad.files and safetensors call a file until it is whole


class HeldError(BundleError):
    """Another run is at work in the folder."""


def hold(folder: Path, new: bool = False) -> None:
    """Keep other runs out of a folder until this step or process ends, and remove what a killed one was writing there.

    What ``run`` holds its steps may use. Nothing is left behind: the folder itself is locked. A file system that cannot do so, as
    over some networks, is used without.

    Args:
        folder: that is written into.
        new: whether it is made where it is missing; otherwise a missing one is left to what reads it.

    Raises:
        BundleError: the folder is on the hub.
        HeldError: another run has it.
    """
    if address := hub_address(folder):
        raise BundleError(
            f"a step writes into a folder of this machine, got {address}; copy that bundle first with: "
            f"hf download {parse_address(address)[0]} --local-dir FOLDER"
        )
    if new:
        folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None or not folder.is_dir():
        return
    file = os.open(folder, os.O_RDONLY)
    status = os.fstat(file)
    key = status.st_dev, status.st_ino
    try:
        if key in _HELD:
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _HELD[key] = file
    except BlockingIOError:
        raise HeldError(
            f"another run is at work in {folder}: wait until it has ended, or stop it, and run the same command again"
        ) from None
    except OSError:  # it cannot be locked
        return
    finally:
        if _HELD.get(key) != file:
            os.close(file)
    for path in (*folder.glob(".*.partial"), *(folder / ".work").glob(".*")):
        if re.fullmatch(_HALF, path.name):
            with suppress(OSError):
                path.unlink()


def let_go() -> None:
    """All folders are free again, also where the process goes on."""
    while _HELD:
        os.close(_HELD.popitem()[1])
