"""Files whole or not at all, through a checksum, and never a pickle: what the bundle stands on."""

import hashlib
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

PARSING = threading.Lock()  # Python 3.11 tells two threads that read literals at once that both have gone too deep
TOO_SHORT = "is shorter than its header says; was it changed while it was open?"


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that a reader or a crash never meets half of it."""
    partial = beside(path)
    try:
        with naming(path):
            partial.write_bytes(data)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Where the content of a file is until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the disk name this file: one that is full names none by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_special(path: Path) -> None:
    """A pipe or a device would be read for ever."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no plain file")


def plain_bytes(path: Path) -> bytes:
    """All of a file, which must be a plain one."""
    refuse_special(path)
    return path.read_bytes()


def read_header(file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The header of a .npy file of so many bytes; no value is read, and no memory taken for them.

    Returns:
        Shape, whether it is stored by columns, type, and the place of the first value in bytes.

    Raises:
        ValueError: it is no plain .npy file of numbers, or holds more than its header says.
        OSError: it holds less.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with PARSING:
            shape, by_columns, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # numpy parses the header as Python's literals, and nearly any exception escapes
        raise ValueError(f"is not a plain .npy file ({error})") from None
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"is not a plain .npy file of numbers, got {dtype} of shape {shape}")
    offset = file.tell()
    end = offset + math.prod(shape) * dtype.itemsize
    if size < end:
        raise OSError(TOO_SHORT)
    if size > end:
        raise ValueError(f"is {size - end} bytes longer than its header says")
    return shape, by_columns, dtype, offset
