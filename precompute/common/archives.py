"""Images in tar files, as webdataset has them, and in Parquet files, as the hub's datasets come; both are read in pieces.

Own code, because the readers of webdataset and datasets read a file from its beginning and stop at what is damaged: a piece is read
from its own place, and one broken image is listed while the others are kept.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from aad.images import SUFFIXES, ImageError, ImageLimits
from precompute.common.gallery import COLUMNS
from precompute.common.members import ALSO, Member, Piece, SourceError, told_by

LARGEST_NOTE = 2**20  # bytes of a KEY.json or KEY.txt that are looked at
_LARGEST = ImageLimits().max_bytes  # larger files are refused unread, as everywhere
ROWS_AT_ONCE = 32  # of a Parquet file in memory: their images come along
USUAL = "image"  # the column that is meant where several could be

Span = tuple[int, int]  # where a file begins in its tar file and its length, in bytes


@dataclass(frozen=True, slots=True)
class TarPiece:
    """Some images of a tar file: name, place, and the places of the texts beside each."""

    path: Path
    images: tuple[tuple[str, Span, Mapping[str, Span]], ...]

    def members(self) -> Iterator[Member]:
        """See ``members.Piece``."""
        with self.path.open("rb") as file:
            for name, span, notes in self.images:
                whole = f"{self.path.name}/{name}"
                if span[1] > _LARGEST:
                    mb = f"at most {_LARGEST / 1e6:g} MB, got {span[1] / 1e6:.1f} MB"
                    yield Member(whole, ImageError(f"an image file must be {mb} ({name}); scale it down"))
                else:
                    yield Member(whole, _read(file, span), _noted(file, notes))

    def __str__(self) -> str:
        return f"{self.path}, {self.images[0][0]} to {self.images[-1][0]}"


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])


def _noted(file: BinaryIO, notes: Mapping[str, Span]) -> dict[str, str]:
    """What the texts beside an image tell of it."""
    row: dict[str, Any] = {}
    if "txt" in notes:
        row["text"] = _read(file, notes["txt"]).decode("utf-8", "replace")
    if "json" in notes:
        try:
            said = json.loads(_read(file, notes["json"]))
        except ValueError:
            said = None
        row |= said if isinstance(said, dict) else {}
    return told_by(row)


def tar_pieces(path: Path, size: int) -> Iterator[Piece]:
    """One reading of all headers; a later file of the same name replaces an earlier one, as unpacking would."""
    images: dict[str, tuple[str, Span]] = {}
    notes: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while info := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                folder, slash, file = info.name.rpartition("/")
                stem, _, ending = file.partition(".")  # webdataset: the key ends at the first dot
                key, span = f"{folder}{slash}{stem}", (info.offset_data, info.size)
                if not info.isreg() or info.issparse():
                    continue
                if f".{ending.rpartition('.')[2].lower()}" in SUFFIXES:
                    images[info.name] = key, span
                elif ending in ("json", "txt") and info.size <= LARGEST_NOTE:
                    notes.setdefault(key, {})[ending] = span
    except tarfile.TarError as error:
        raise SourceError(f"{path} must be a complete tar file, not compressed, got {error}; get it again") from None
    if not images:
        raise SourceError(f"{path} holds no image ({', '.join(SUFFIXES)}); leave it out")
    source = iter(images.items())
    while some := tuple((name, span, notes.get(key, {})) for name, (key, span) in islice(source, size)):
        yield TarPiece(path, some)


@dataclass(frozen=True, slots=True)
class ParquetPiece:
    """Rows ``first`` to ``end`` (not included) of a Parquet file whose images are in ``column``."""

    path: Path
    first: int
    end: int
    column: str

    def members(self) -> Iterator[Member]:
        """See ``members.Piece``: from the row groups that hold it, a few rows at a time, as a group may hold gigabytes."""
        known = {key for column in COLUMNS for key in (column, *ALSO.get(column, ()))}
        with opened(self.path) as file:
            columns = [self.column, *(name for name in file.schema_arrow.names if name in known - {self.column})]
            row = 0
            for group in range(file.num_row_groups):
                n = file.metadata.row_group(group).num_rows
                if row < self.end and row + n > self.first:
                    place = row
                    for batch in file.iter_batches(ROWS_AT_ONCE, [group], columns, use_threads=False):
                        low, high = max(self.first - place, 0), min(self.end - place, batch.num_rows)
                        if low < high:
                            for i, told in enumerate(batch.slice(low, high - low).to_pylist(), place + low):
                                yield self._member(i, told)
                        place += batch.num_rows
                row += n

    def _member(self, row: int, told: Mapping[str, Any]) -> Member:
        image, named = told[self.column], {}
        if isinstance(image, Mapping):
            if stem := Path(image.get("path") or "").stem:
                named = {"title": stem.replace("_", " ")}
            image = image.get("bytes")
        content = image or ImageError(f"row {row} has no image bytes")
        return Member(f"{self.path.name}/{row}", content, named | told_by(told))

    def __str__(self) -> str:
        return f"{self.path}, rows {self.first} to {self.end - 1}"


def parquet_pieces(path: Path, size: int, column: str | None) -> Iterator[Piece]:
    """The rows of a file in order, ``size`` at a time."""
    with opened(path) as file:
        n, column = file.metadata.num_rows, _image_column(path, file.schema_arrow, column)
    for first in range(0, n, size):
        yield ParquetPiece(path, first, min(first + size, n), column)


def _image_column(path: Path, schema: Any, wanted: str | None) -> str:
    """The column of images: the one asked for, or the only one of bytes, or of several the one that is called image."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(part.name == "bytes" and holds_bytes(part.type) for part in kind)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [part.name for part in schema if holds_bytes(part.type)]
    if wanted in found or (wanted is None and len(found) == 1):
        return wanted or found[0]
    if wanted is None and USUAL in found:
        return USUAL
    asked = f"a column {wanted!r} of image bytes" if wanted else "one column of image bytes"
    raise SourceError(f"{path} must have {asked}, got {', '.join(found) or 'none'}; say which with --column")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A Parquet file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise SourceError(f"{path} needs pyarrow: run pip install -r requirements-ray.txt") from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except pa.ArrowException as error:
        raise SourceError(f"{path} must be a whole Parquet file, got: {error}; get it again") from None
