"""Rows on disk, in one or several .npy files that count as one gallery, read only where they are asked for."""

import hashlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from aad.files import TOO_SHORT, read_header
from aad.retrieval.search import check_ids
from aad.vectors import FLOATS, l2_normalise

CHUNK_BYTES = 64 << 20  # of float32 rows held at a time by a scan; larger is no faster
BLOCK_BYTES = 2 << 20  # of float32 rows converted at a time, which a processor's cache holds
PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs


def rows_in(n_bytes: int, d: int) -> int:
    """How many float32 rows of d values fit into some bytes; one where none does.

    >>> rows_in(1000, 3), rows_in(11, 3), rows_in(1000, 0)
    (83, 1, 250)
    """
    return n_bytes // (4 * max(1, d)) or 1


class StoredRows:
    """Float16 or float32 rows of .npy files, given out as float32 of unit length.

    Every file is opened once and held open, one descriptor each, and never mapped, so that it does not count as this process's
    memory. So a gallery that is replaced while it is searched, as the steps replace files, is read as it was; one that is changed
    in place is refused from then on. Re-normalising on reading removes what rounding to float16 did to a row's length; what it did
    to its direction stays.

    Args:
        paths: one file with an (n, d) array, or several whose rows follow one another.

    Raises:
        ValueError: a file is no plain (n, d) array of float16 or float32, or their d differ.
        OSError: a file is missing or cut short.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path]) -> None:
        names = [paths] if isinstance(paths, str | Path) else list(paths)
        if not names:
            raise ValueError("rows need at least one .npy file, got none")
        self.paths = tuple(Path(name) for name in names)
        self._files = [_OpenFile(path) for path in self.paths]
        dims = {file.header.shape[1] for file in self._files}
        if len(dims) != 1:
            raise ValueError(f"all files must hold rows of one length, got {sorted(dims)}")
        self._starts = np.cumsum([0, *(file.header.shape[0] for file in self._files)])
        self.shape: tuple[int, int] = (int(self._starts[-1]), dims.pop())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """(r, d) float32 of a slice with step 1, or of ids in any order.

        Raises:
            ValueError: ids outside the gallery, or a slice with steps.
            OSError: a file cannot be read, or is not what it was when it was opened.
        """
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise ValueError(f"a slice of stored rows must have step 1, got {step}")
            return self._range(start, max(start, stop))
        ids = check_ids(np.asarray(key), len(self))
        order = np.argsort(ids, kind="stable")  # the disk is read in one direction
        ascending = ids[order]
        found = np.empty((len(ids), self.shape[1]), np.float32)
        edges = np.searchsorted(ascending, self._starts)
        for part, (first, last) in enumerate(pairwise(edges.tolist())):
            if first < last:
                self._pick(part, ascending[first:last] - self._starts[part], order[first:last], found)
        return found

    def similarities(self, ids: np.ndarray, query: np.ndarray) -> np.ndarray:
        """(c,) float32 cosine of a (d,) query to rows by id, without keeping the rows: several times faster, to about 1e-6.

        Raises:
            ValueError: ids outside the gallery.
        """
        ids = check_ids(np.asarray(ids), len(self))
        order = np.argsort(ids, kind="stable")
        ascending = ids[order]
        found = np.empty(len(ids), np.float32)
        edges = np.searchsorted(ascending, self._starts)
        for part, (first, last) in enumerate(pairwise(edges.tolist())):
            places = ascending[first:last] - self._starts[part]
            for block, rows in self._blocks(part, places):
                # not a matrix product: waiting for its threads would take longer than the work
                norms = np.sqrt(np.vecdot(rows, rows))
                found[order[first:last][block]] = np.vecdot(rows, query) / np.where(norms > 0, norms, 1)
        return found

    def chunks(self, n: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the id of the first row and (n, d) float32 rows, all of them in order; by default some 64 MB at a time."""
        n = n or rows_in(CHUNK_BYTES, self.shape[1])
        for start in range(0, len(self), n):
            yield start, self._range(start, min(start + n, len(self)))

    def read_through(self) -> tuple[list[str], bool]:
        """The sha256 of each file as it is held open, and whether all values are finite."""
        digests, finite = [], True
        for file in self._files:
            digest = hashlib.sha256(file.read(0, file.header.offset))
            for place in range(file.header.offset, file.size, BLOCK_BYTES):
                data = file.read(place, min(BLOCK_BYTES, file.size - place))
                digest.update(data)
                finite = finite and bool(np.isfinite(np.frombuffer(data, file.header.dtype)).all())
            file.check()
            digests.append(digest.hexdigest())
        return digests, finite

    def _range(self, start: int, stop: int) -> np.ndarray:
        d = self.shape[1]
        found = np.empty((stop - start, d), np.float32)
        for part, file in enumerate(self._files):
            before = int(self._starts[part])
            first, last = max(start, before), min(stop, int(self._starts[part + 1]))
            for a in range(first, last, step := rows_in(BLOCK_BYTES, d)):
                b = min(a + step, last)
                found[a - start : b - start] = l2_normalise(widened(file.rows(a - before, b - a)))
            if first < last:
                file.check()
        return found

    def _pick(self, part: int, places: np.ndarray, order: np.ndarray, found: np.ndarray) -> None:
        """Put the rows at ascending places of one file where ``order`` says."""
        for block, rows in self._blocks(part, places):
            found[order[block]] = l2_normalise(rows)

    def _blocks(self, part: int, places: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Which of the places, and their (b, d) float32 rows as stored, a block that a processor's cache holds at a time."""
        if not len(places):
            return
        file, d = self._files[part], self.shape[1]
        dtype, offset = file.header.dtype, file.header.offset
        length, step = d * dtype.itemsize, rows_in(PICK_BYTES, d)
        # One read for each row: mapping the file takes longer, most of it to map pages that are used once.
        for a in range(0, len(places), step):
            starts = (offset + places[a : a + step] * length).tolist()
            read = np.frombuffer(file.read_each(starts, length), dtype)
            yield slice(a, a + step), widened(read.reshape(-1, d))
        file.check()


class _OpenFile:
    """One .npy file of rows, held open: what takes its name later is not seen, and what changes it in place is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        self._close = weakref.finalize(self, self._file.close)
        self._number, self._seeking = self._file.fileno(), threading.Lock()
        self.size = os.fstat(self._number).st_size
        self._written = self._state()
        try:
            self.header = read_header(self._file, self.size)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        except OSError as error:
            raise OSError(f"{path} {error}") from None
        shape, dtype = self.header.shape, self.header.dtype
        if len(shape) != 2 or self.header.by_columns or dtype not in FLOATS:
            order = " by columns" if self.header.by_columns else ""
            raise ValueError(
                f"{path} must hold an (n, d) array of float16 or float32 by rows, got {shape} {dtype}{order}"
            )

    def rows(self, first: int, n: int) -> np.ndarray:
        """(n, d) values as they are stored."""
        d, dtype, offset = self.header.shape[1], self.header.dtype, self.header.offset
        data = self.read(offset + first * d * dtype.itemsize, n * d * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(n, d)

    def read(self, place: int, n: int) -> bytes:
        """n bytes from a place, for any number of threads at once; one after the other where the system has no such call."""
        if hasattr(os, "pread"):
            data = os.pread(self._number, n, place)
        else:
            with self._seeking:
                self._file.seek(place)
                data = self._file.read(n)
        if len(data) != n:
            raise OSError(f"{self.path} {TOO_SHORT}")
        return data

    def read_each(self, places: list[int], n: int) -> bytes:
        """n bytes from each place, one after the other."""
        if not hasattr(os, "pread"):
            return b"".join([self.read(place, n) for place in places])
        pread, number = os.pread, self._number  # thousands of calls, of a microsecond each
        data = b"".join([pread(number, n, place) for place in places])
        if len(data) != n * len(places):
            raise OSError(f"{self.path} {TOO_SHORT}")
        return data

    def check(self) -> None:
        """That what was read since the last check is what was there when the file was opened."""
        if self._state() != self._written:
            raise OSError(f"{self.path} was changed in place while it was open; load the bundle again")

    def _state(self) -> tuple[int, int]:
        now = os.fstat(self._number)
        return now.st_size, now.st_mtime_ns


def widened(rows: np.ndarray) -> np.ndarray:
    """Finite float16 or float32 as float32.

    The bits of a float16 are moved to where a float32 has them, and what its exponent lacks is multiplied on: exact, and
    much faster than numpy's conversion, which goes value by value.

    >>> widened(np.array([0.5, -1.5, 6e-8], np.float16)).tolist()
    [0.5, -1.5, 5.960464477539063e-08]
    """
    if rows.dtype == np.float32:
        return rows
    bits = rows.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= ~0x70000000  # copies of the sign
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide
