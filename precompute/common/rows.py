"""Rows of numbers that are more than memory holds: written and read some at a time."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aad.files import naming


@contextmanager
def passing(*paths: Path) -> Iterator[None]:
    """Files of scratch that are moved on; what is still there in the end, because something failed, is removed."""
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def stored_chunks(path: Path, n: int) -> Iterator[np.ndarray]:
    """Yield the rows of a ``.npy`` file as they are stored, n at a time, as float32; pages read are let go again."""
    length = len(np.load(path, mmap_mode="r", allow_pickle=False))
    for start in range(0, length, n):
        yield np.load(path, mmap_mode="r", allow_pickle=False)[start : start + n].astype(np.float32)


def write_rows(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], progress: Callable[[int], object]
) -> Path:
    """Write a ``.npy`` file of float16 rows that come some at a time; one that was left before all had come is removed.

    Args:
        path: the file; its bytes are those that ``np.save`` writes of all rows at once.
        shape: (n, d) of all rows.
        parts: (m, d) of some.
        progress: called with the number of rows after each part.

    Raises:
        ValueError: other than n rows came.
    """
    n, dtype = 0, np.dtype("float16")
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        with naming(path), path.open("wb") as file:  # what is written as it is closed may find the disk full
            np.lib.format.write_array_header_1_0(file, described)
            for rows in parts:
                append(file, np.ascontiguousarray(rows, dtype))
                n += len(rows)
                progress(len(rows))
        if n != shape[0]:
            raise ValueError(f"{shape[0]} rows were announced for {path}, {n} came")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def append(file: BinaryIO, rows: np.ndarray) -> None:
    """The next rows of a file."""
    file.write(rows.tobytes())
