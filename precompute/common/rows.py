"""Rows of numbers that are more than memory holds: written and read some at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


class RowWriter:
    """A ``.npy`` file of rows that come some at a time; the bytes are those that ``np.save`` writes of all of them at once.

    Used as a context: a file that was left before all rows had come is removed.

    Args:
        path: the file.
        shape: (n, d) of all rows.
        kind: of the values in the file.
    """

    def __init__(self, path: Path, shape: tuple[int, int], kind: type = np.float16) -> None:
        self.path, self.shape, self.kind, self._n = path, shape, np.dtype(kind), 0

    def __enter__(self) -> "RowWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")
        described = {"descr": np.lib.format.dtype_to_descr(self.kind), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self._file, described)
        return self

    def append(self, rows: np.ndarray) -> None:
        """The next rows, (m, d)."""
        with naming(self.path):
            self._file.write(np.ascontiguousarray(rows, self.kind).tobytes())
        self._n += len(rows)

    def __exit__(self, trouble: type[BaseException] | None, *_: object) -> None:
        whole = False
        try:
            with naming(self.path):
                self._file.close()  # what is still to be written may find the disk full
            whole = trouble is None and self._n == self.shape[0]
        finally:
            if not whole:
                self.path.unlink(missing_ok=True)
        if trouble is None and self._n != self.shape[0]:
            raise ValueError(f"{self.shape[0]} rows were announced for {self.path}, {self._n} came")
