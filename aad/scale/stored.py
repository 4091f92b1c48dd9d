"""Rows on disk, in a .npy file, read only where they are asked for."""

import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aad.bundle import NOT_FINITE, Bundle
from aad.files import TOO_SHORT, file_sha256, read_header, refuse_special
from aad.search import CHUNK_BYTES, rows_in
from aad.vectors import FLOATS, l2_normalise

BLOCK_BYTES = 2 << 20  # of float32 rows converted at a time, which a processor's cache holds
PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs


class StoredRows:
    """Float16 or float32 rows of a .npy file, given out as float32 of unit length.

    The file is opened once and held open, and never mapped, so that it does not count as this process's memory. So a gallery that
    is replaced while it is searched, as the steps replace files, is read as it was; one that is changed in place is refused from
    then on. Re-normalising on reading removes what rounding to float16 did to a row's length; what it did to its direction stays.

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
        """(r, d) float32 of a slice with step 1, or of ids in any order.

        Raises:
            ValueError: ids outside the gallery, or a slice with steps.
            OSError: the file cannot be read, or is not what it was when it was opened.
        """
        if isinstance(key, slice):
            return self._range(*key.indices(len(self)))
        ids = self._known(key)
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
        order = np.argsort(ids, kind="stable")
        found = np.empty(len(ids), np.float32)
        for block, rows in self._blocks(ids[order]):
            # not a matrix product: waiting for its threads would take longer than the work
            norms = np.sqrt(np.vecdot(rows, rows))
            found[order[block]] = np.vecdot(rows, query) / np.where(norms > 0, norms, 1)
        return found

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the id of the first row and (n, d) float32 rows, all of them in order, some 64 MB at a time."""
        n = rows_in(CHUNK_BYTES, self.shape[1])
        for start in range(0, len(self), n):
            yield start, self[start : start + n]

    def read_through(self) -> tuple[str, bool]:
        """The sha256 of the file as it is held open, and whether all values are finite."""
        size, finite = self._written[0], True
        digest = hashlib.sha256(self._read([0], self._offset))
        for place in range(self._offset, size, BLOCK_BYTES):
            data = self._read([place], min(BLOCK_BYTES, size - place))
            digest.update(data)
            finite = finite and bool(np.isfinite(np.frombuffer(data, self._dtype)).all())
        self._check()
        return digest.hexdigest(), finite

    def _range(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            raise ValueError(f"a slice of stored rows must have step 1, got {step}")
        found = np.empty((max(0, stop - start), self.shape[1]), np.float32)
        size = rows_in(BLOCK_BYTES, self.shape[1])
        for a in range(start, stop, size):
            b = min(a + size, stop)
            data = self._read([self._offset + a * self._length], (b - a) * self._length)
            rows = np.frombuffer(data, self._dtype).reshape(b - a, -1)
            found[a - start : b - start] = l2_normalise(rows.astype(np.float32))
        self._check()
        return found

    def _known(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self):
            raise ValueError(f"ids of stored rows must be 0 to {len(self) - 1}, got {ids.min()} to {ids.max()}")
        return ids

    def _blocks(self, ids: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Which of ascending ids, and their (b, d) float32 rows as stored: a block that a processor's cache holds at a time."""
        step = rows_in(PICK_BYTES, self.shape[1])
        # One read for each row: mapping the file takes longer, most of it to map pages that are used once.
        for a in range(0, len(ids), step):
            data = self._read((self._offset + ids[a : a + step] * self._length).tolist(), self._length)
            yield slice(a, a + step), np.frombuffer(data, self._dtype).reshape(-1, self.shape[1]).astype(np.float32)
        self._check()

    def _read(self, places: Sequence[int], n: int) -> bytes:
        """n bytes from each of these places, one after the other; for any number of threads at once."""
        pread, number = os.pread, self._number  # thousands of calls, of a microsecond each
        data = b"".join([pread(number, n, place) for place in places])
        if len(data) != n * len(places):
            raise OSError(f"{self.path} {TOO_SHORT}")
        return data

    def _check(self) -> None:
        """That what was read since the last check is what was there when the file was opened."""
        if self._state() != self._written:
            raise OSError(f"{self.path} was changed in place while it was open; load the bundle again")

    def _state(self) -> tuple[int, int]:
        now = os.fstat(self._number)
        return now.st_size, now.st_mtime_ns


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
