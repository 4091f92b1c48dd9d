"""Content onto the disk and back through a checksum: whole or not at all, and large files without holding them."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that a reader or a crash never meets half of it."""
    partial = _beside(path)
    try:
        with naming(path):
            partial.write_bytes(data)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
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


@contextmanager
def passing(*paths: Path) -> Iterator[None]:
    """Files of scratch that are moved on; what is still there in the end, because something failed, is removed."""
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


class Together:
    """Files of one folder that take their places together, the last one last, once all of them are written.

    Used as a context: when it is left by an error, such as a full disk, the old files are as they were and nothing is beside them.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._finished: dict[Path, Path] = {}  # place -> where the content is until then
        self._partial: list[Path] = []

    def __enter__(self) -> "Together":
        return self

    def write(self, name: str, content: Any) -> dict[str, Any]:
        """One more file.

        Args:
            name: its ending says how ``content`` is written.
            content: see ``encode``; or the ``Path`` of a finished file on the same disk, which is moved.

        Returns:
            Its entry in the manifest: ``sha256`` and ``bytes``.
        """
        place = self.folder / name
        if isinstance(content, Path):
            self._finished[place] = content
            return {"sha256": file_sha256(content), "bytes": content.stat().st_size}
        data, partial = encode(name, content), _beside(place)
        self._partial.append(partial)
        with naming(place):
            partial.write_bytes(data)
        self._finished[place] = partial
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def __exit__(self, trouble: type[BaseException] | None, *_: object) -> None:
        try:
            if trouble is None:
                for place, finished in self._finished.items():
                    finished.replace(place)
        finally:
            for partial in self._partial:
                partial.unlink(missing_ok=True)


def encode(name: str, content: Any) -> bytes:
    """The bytes of a file: an array as ``.npy``, a dictionary of arrays as ``.safetensors``, anything else as JSON."""
    if name.endswith(".npy"):
        import io

        buffer = io.BytesIO()
        np.save(buffer, content, allow_pickle=False)
        return buffer.getvalue()
    if name.endswith(".safetensors"):
        from safetensors.numpy import save

        return save(dict(content))
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=name == "manifest.json") + "\n").encode()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def refuse_special(path: Path) -> None:
    """A pipe or a device would be read for ever."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no plain file")


def plain_bytes(path: Path) -> bytes:
    """All of a file, which must be a plain one."""
    refuse_special(path)
    return path.read_bytes()


TOO_SHORT = "is shorter than its header says; was it changed while it was open?"


class Header(NamedTuple):
    """What a .npy file says of itself."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype
    offset: int  # of the first value, in bytes


def read_header(file: BinaryIO, size: int) -> Header:
    """The header of a .npy file of so many bytes; no value is read, and no memory taken for them.

    Raises:
        ValueError: it is no plain .npy file of numbers, or holds more than its header says.
        OSError: it holds less.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # numpy parses the header as Python's literals, and nearly any exception escapes
        raise ValueError(f"is not a plain .npy file ({error})") from None
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"is not a plain .npy file of numbers, got {dtype} of shape {shape}")
    header = Header(shape, by_columns, dtype, file.tell())
    end = header.offset + math.prod(shape) * dtype.itemsize
    if size < end:
        raise OSError(TOO_SHORT)
    if size > end:
        raise ValueError(f"is {size - end} bytes longer than its header says")
    return header
