"""Images in Parquet files, as the hub's datasets come: a piece is a range of rows, read from the row groups that hold it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aad.images import ImageError
from precompute.common.gallery import COLUMNS
from precompute.common.sources import ALSO, Member, Piece, SourceError, told_by

ROWS_AT_ONCE = 32  # in memory: their images come along
USUAL = "image"  # the column that is meant where several could be


@dataclass(frozen=True, slots=True)
class ParquetPiece:
    """Rows ``first`` to ``end`` (not included) of a Parquet file whose images are in ``column``."""

    path: Path
    first: int
    end: int
    column: str

    def members(self) -> Iterator[Member]:
        """See ``sources.Piece``."""
        with _opened(self.path) as file:
            known = {key for column in COLUMNS for key in (column, *ALSO.get(column, ()))}
            columns = [self.column, *(name for name in file.schema_arrow.names if name in known - {self.column})]
            row = 0
            for group in range(file.num_row_groups):
                ends = row + file.metadata.row_group(group).num_rows
                if ends > self.first and row < self.end:
                    yield from self._members(file, group, row, columns)
                row = ends

    def _members(self, file: Any, group: int, row: int, columns: list[str]) -> Iterator[Member]:
        """Those of one row group, whose first row is ``row``; a few at a time, because a group may hold gigabytes."""
        batches = file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
        for batch in batches:
            low, high = max(self.first - row, 0), min(self.end - row, batch.num_rows)
            if low < high:
                for place, told in enumerate(batch.slice(low, high - low).to_pylist(), start=row + low):
                    yield self._member(place, told)
            row += batch.num_rows
            if row >= self.end:
                return

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
    with _opened(path) as file:
        n, column = file.metadata.num_rows, _image_column(path, file.schema_arrow, column)
    for first in range(0, n, size):
        yield ParquetPiece(path, first, min(first + size, n), column)


def n_rows(path: Path) -> int:
    """How many rows a file has, from its footer."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


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
def _opened(path: Path) -> Iterator[Any]:
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
