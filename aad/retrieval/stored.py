"""Rows on disk, in one or several .npy files that count as one gallery, read only where they are asked for."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from aad.backbones import l2_normalise
from aad.retrieval.search import check_ids

CHUNK_BYTES = 64 << 20  # of float32 rows held at a time by a scan; larger is no faster


BLOCK_BYTES = 2 << 20  # of float32 rows converted at a time, which a processor's cache holds
PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs


class StoredRows:
    """Float16 or float32 rows of .npy files, given out as float32 of unit length.

    A file is opened for each reading and closed after it, and never mapped, so that it does not count as this process's memory.
    Re-normalising on reading removes what rounding to float16 did to a row's length; what it did to its direction stays.

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
        self._layouts = [_layout(path) for path in self.paths]
        dims = {shape[1] for shape, _, _ in self._layouts}
        if len(dims) != 1:
            raise ValueError(f"all files must hold rows of one length, got {sorted(dims)}")
        self._starts = np.cumsum([0, *(shape[0] for shape, _, _ in self._layouts)])
        self.shape: tuple[int, int] = (int(self._starts[-1]), dims.pop())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """(r, d) float32 of a slice with step 1, or of ids in any order.

        Raises:
            ValueError: ids outside the gallery, or a slice with steps.
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

    def chunks(self, n: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the id of the first row and (n, d) float32 rows, all of them in order; by default some 64 MB at a time."""
        n = n or max(1, CHUNK_BYTES // (4 * max(1, self.shape[1])))
        for start in range(0, len(self), n):
            yield start, self._range(start, min(start + n, len(self)))

    def _range(self, start: int, stop: int) -> np.ndarray:
        found = np.empty((stop - start, self.shape[1]), np.float32)
        for part, path in enumerate(self.paths):
            first, last = max(start, int(self._starts[part])), min(stop, int(self._starts[part + 1]))
            if first < last:
                (_, d), dtype, offset = self._layouts[part]
                with path.open("rb") as file:
                    file.seek(offset + (first - int(self._starts[part])) * d * dtype.itemsize)
                    for a in range(first, last, step := max(1, BLOCK_BYTES // (4 * max(1, d)))):
                        b = min(a + step, last)
                        read = np.fromfile(file, dtype, (b - a) * d)
                        if read.size != (b - a) * d:
                            raise _too_short(path)
                        found[a - start : b - start] = l2_normalise(widened(read.reshape(-1, d)))
        return found

    def _pick(self, part: int, places: np.ndarray, order: np.ndarray, found: np.ndarray) -> None:
        """Put the rows at ascending places of one file where ``order`` says."""
        (_, d), dtype, offset = self._layouts[part]
        step = max(1, PICK_BYTES // (4 * max(1, d)))
        # One read for each row: mapping the file takes longer, most of it to map pages that are used once.
        with self.paths[part].open("rb", buffering=0) as file:
            for a in range(0, len(places), step):
                read = []
                for place in places[a : a + step].tolist():
                    file.seek(offset + place * d * dtype.itemsize)
                    read.append(file.read(d * dtype.itemsize))
                block = np.frombuffer(b"".join(read), dtype)
                if block.size != len(read) * d:
                    raise _too_short(self.paths[part])
                found[order[a : a + step]] = l2_normalise(widened(block.reshape(-1, d)))


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


def _too_short(path: Path) -> OSError:
    return OSError(f"{path} is shorter than its header says; was it changed while it was open?")


def _layout(path: Path) -> tuple[tuple[int, int], np.dtype, int]:
    """Shape, type and offset of the data of a .npy file, from its header."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{path} is not a plain .npy file ({error})") from None
        offset = file.tell()
    if len(shape) != 2 or by_columns or dtype not in (np.dtype(np.float16), np.dtype(np.float32)):
        order = " by columns" if by_columns else ""
        raise ValueError(f"{path} must hold an (n, d) array of float16 or float32 by rows, got {shape} {dtype}{order}")
    if path.stat().st_size < offset + shape[0] * shape[1] * dtype.itemsize:
        raise _too_short(path)
    return (shape[0], shape[1]), dtype, offset
