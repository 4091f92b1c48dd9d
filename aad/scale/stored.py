"""Rows on disk, in a .npy file, read only where they are asked for."""

import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aad.bundle import NOT_FINITE, Bundle
from aad.files import TOO_SHORT, file_sha256, read_header, refuse_special
from aad.search import CHUNK_BYTES, rows_in
from aad.vectors import FLOATS, l2_normalise

BLOCK_BYTES = 2 << 20  # of float32 rows that a thread compares at a time: after each block it waits for the others
PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs
N_MAPPED = 20_000  # rows from which on a mapped file and all processors are quicker than a read for each row


class StoredRows:
    """Float16 or float32 rows of a .npy file, given out as float32 of unit length.

    The file is opened once and held open, and mapped only for the moment in which very many rows are compared, so that it does not
    count as this process's memory. So a gallery that is replaced while it is searched, as the steps replace files, is read as it
    was; one that is changed in place is refused from then on. Re-normalising on reading removes what rounding to float16 did to a
    row's length; what it did to its direction stays.

    Args:
        path: of an (n, d) array.

    Raises:
        ValueError: it is no plain (n, d) array of float16 or float32.
        OSError: it is missing or cut short.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb", buffering=0)
        self._close = weakref.finalize(self, self._file.close)
        self._number = self._file.fileno()
        self._written = self._state()
        try:
            shape, by_columns, self._dtype, self._offset = read_header(self._file, self._written[0])
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        except OSError as error:
            raise OSError(f"{path} {error}") from None
        if len(shape) != 2 or by_columns or self._dtype not in FLOATS:
            got = f"{shape} {self._dtype}{' by columns' if by_columns else ''}"
            raise ValueError(f"{path} must hold an (n, d) array of float16 or float32 by rows, got {got}")
        self.shape: tuple[int, int] = (shape[0], shape[1])
        self._length = shape[1] * self._dtype.itemsize  # of a row, in bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """(r, d) float32 of a slice, or of ids in any order.

        Raises:
            ValueError: ids outside the gallery.
            OSError: the file cannot be read, or is not what it was when it was opened.
        """
        ids = self._known(np.arange(*key.indices(len(self))) if isinstance(key, slice) else key)
        order = np.argsort(ids, kind="stable")  # the disk is read in one direction
        found = np.empty((len(ids), self.shape[1]), np.float32)
        for block, rows in self._blocks(ids[order]):
            found[order[block]] = l2_normalise(rows)
        return found

    def similarities(self, ids: np.ndarray, query: np.ndarray) -> np.ndarray:
        """(c,) float32 cosine of a (d,) query to rows by id, without keeping the rows: several times faster, to about 1e-6.

        Raises:
            ValueError: ids outside the gallery.
        """
        ids = self._known(ids)
        found = np.empty(len(ids), np.float32)

        def compare(part: np.ndarray, mapped: bool = True) -> None:
            for block, rows in self._blocks(ids[part], mapped):
                # not a matrix product: waiting for its threads would take longer than the work
                norms = np.sqrt(np.vecdot(rows, rows))
                found[part[block]] = np.vecdot(rows, query) / np.where(norms > 0, norms, 1)

        order, n_threads = np.argsort(ids, kind="stable"), os.cpu_count() or 1
        if len(ids) < N_MAPPED:
            compare(order, mapped=False)
            return found
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(compare, np.array_split(order, n_threads)))
        return found

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the id of the first row and (n, d) float32 rows, all of them in order, some 64 MB at a time."""
        n = rows_in(CHUNK_BYTES, self.shape[1])
        for start in range(0, len(self), n):
            yield start, self[start : start + n]

    def read_through(self) -> tuple[str, bool]:
        """The sha256 of the file as it is held open, and whether all values are finite."""
        size, finite = self._written[0], True
        digest = hashlib.sha256(self._read(0, self._offset))
        for place in range(self._offset, size, BLOCK_BYTES):
            data = self._read(place, min(BLOCK_BYTES, size - place))
            digest.update(data)
            finite = finite and bool(np.isfinite(np.frombuffer(data, self._dtype)).all())
        self._check()
        return digest.hexdigest(), finite

    def _known(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self):
            raise ValueError(f"ids of stored rows must be 0 to {len(self) - 1}, got {ids.min()} to {ids.max()}")
        return ids

    def _blocks(self, ids: np.ndarray, mapped: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """Which of ascending ids, and their (b, d) float32 rows as stored: a block at a time."""
        step, d = rows_in(BLOCK_BYTES if mapped else PICK_BYTES, self.shape[1]), self.shape[1]
        picked = np.empty((min(step, len(ids)), d), self._dtype)  # once, for new memory costs
        wide = np.empty_like(picked, np.float32)
        self._check()
        all_rows = np.memmap(self._file, self._dtype, "r", self._offset, self.shape) if mapped and len(ids) else None
        for a in range(0, len(ids), step):
            part = ids[a : a + step]
            rows = picked[: len(part)]
            if all_rows is None:
                self._pick(part, rows)
            else:
                np.take(all_rows, part, axis=0, out=rows, mode="clip")  # twice as fast as all_rows[...]
            yield slice(a, a + step), widened(rows, wide[: len(part)])
        self._check()

    def _pick(self, ids: np.ndarray, out: np.ndarray) -> None:
        """Rows as stored, into ``out``; for any number of threads at once."""
        room, length = out.reshape(-1).view(np.uint8).data, self._length
        read, number = os.preadv, self._number  # thousands of calls, of two microseconds each
        places = (self._offset + ids * length).tolist()
        n_read = sum([read(number, [room[i * length : (i + 1) * length]], place) for i, place in enumerate(places)])
        if n_read != len(room):
            raise OSError(f"{self.path} {TOO_SHORT}")

    def _read(self, place: int, n: int) -> bytes:
        data = os.pread(self._number, n, place)
        if len(data) != n:
            raise OSError(f"{self.path} {TOO_SHORT}")
        return data

    def _check(self) -> None:
        """That what was read since the last check is what was there when the file was opened."""
        if self._state() != self._written:
            raise OSError(f"{self.path} was changed in place while it was open; load the bundle again")

    def _state(self) -> tuple[int, int]:
        now = os.fstat(self._number)
        return now.st_size, now.st_mtime_ns


def widened(rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Finite rows as float32, in ``out``; float16 by its bits, since numpy converts value by value, in three times as long.

    >>> widened(np.array([-1.5, 2**-24, 65504], np.float16), np.empty(3, np.float32)).tolist() == [-1.5, 2**-24, 65504]
    True
    """
    if rows.dtype != np.float16:
        out[:] = rows
        return out
    bits = out.view(np.int32)
    bits[:] = rows.view(np.int16)
    bits <<= 13  # exponent and fraction to where float32 has them
    bits &= ~0x70000000  # where the sign was repeated
    out *= np.float32(2.0**112)  # exponents count from 15 there, and from 127 here
    return out


def map_rows(bundle: Bundle, name: str, shape: tuple[int | None, int | None]) -> StoredRows:
    """As ``Bundle.read_array`` for rows that stay on disk: the file is read through once, to be checked, and kept nowhere.

    Raises:
        BundleError: as ``Bundle.read_array``.
    """
    path = bundle.path_of(name)
    try:
        refuse_special(path)
        rows = StoredRows(path)
        sha256, finite = rows.read_through()  # of the file that is held open, whatever has its name by now
    except OSError as error:
        raise bundle.refusal(name, f"cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        bundle.compare(name, file_sha256(path))  # a damaged file is called damaged, whatever it looks like
        raise bundle.refusal(name, f"cannot be searched ({error})") from None
    bundle.compare(name, sha256)
    bundle.measure(name, rows.shape, shape)
    if not finite:
        raise bundle.refusal(name, NOT_FINITE)
    return rows
