"""Images of a folder, of tar files or of Parquet files, cut into pieces that are read one by one.

    folder     every image below it, sorted; metadata.csv says more about them, as for extract_features
    *.tar      webdataset: KEY.jpg with KEY.json (an object) or KEY.txt (a title) beside it; not compressed
    *.parquet  a column of image bytes, or of {bytes, path} as the hub's datasets have it; other columns say more

What is said of an image is kept where it is one of title, source, licence, author, url, concept and group; "license" means the
licence, "caption" or "text" the title. A piece never crosses a file. Own code, because the readers of webdataset and datasets read
a file from its beginning and stop at what is damaged: a piece is read from its own place, and one broken image is listed while the
others are kept.
"""

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from aad.bundle import BundleError
from aad.files import file_sha256
from aad.images import MAX_BYTES, SUFFIXES, ImageError, load_image
from precompute.common.gallery import check_place, images_below, tell_passed
from precompute.common.words import ALSO, COLUMNS, LARGEST_NOTE, Told, told_beside, told_by

ROWS_AT_ONCE = 32  # of a Parquet file in memory: their images come along

Span = tuple[int, int]  # where a file begins in its tar file and its length, in bytes


class SourceError(BundleError):
    """A source of images cannot be used. The text says what was required, what came and what to do."""


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a source.

    Attributes:
        name: names it within its source.
        content: the file, its bytes, or why there are none.
        told: what the source says about it, by column.
    """

    name: str
    content: Path | bytes | ImageError
    told: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> list[Any]:
        """Name, sha256 of the content, and what is told: if these stay, so does everything made of them."""
        if isinstance(self.content, bytes):
            digest = hashlib.sha256(self.content).hexdigest()
        elif isinstance(self.content, Path):
            try:
                digest = file_sha256(self.content)
            except OSError:
                digest = "cannot be read"
        else:
            digest = str(self.content)
        return [self.name, digest, dict(self.told)]

    def picture(self) -> Image.Image:
        """The image, decoded.

        Raises:
            ImageError: it cannot be had; the text names it.
        """
        check_place(self.name, self.content.parents[self.name.count("/")] if isinstance(self.content, Path) else None)
        if isinstance(self.content, ImageError):
            raise self.content
        try:
            return load_image(self.content)
        except ImageError as error:  # bytes have no name of their own
            raise ImageError(str(error).replace("the uploaded picture", Path(self.name).name)) from None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some images of a source, in order: what one shard is made of. Names and places, no pictures: it is cheap to send.

    Attributes:
        title: for people.
        members: the images, read as they are asked for.
    """

    title: str
    members: Callable[[], Iterator[Member]]

    def __str__(self) -> str:
        return self.title


def fingerprint(members: Sequence[list[Any]]) -> str:
    """One text that changes with any member's name, bytes or metadata."""
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def checked_sources(given: Sequence[Path]) -> list[Path]:
    """The sources in one order however they were given: one folder, or any number of tar and Parquet files.

    Raises:
        SourceError: something else, or a file twice.
    """
    sources = sorted((path.resolve() for path in given), key=lambda path: (path.name, path))
    if len(sources) == 1 and sources[0].is_dir():
        return sources
    for path in sources:
        if path.suffix not in (".tar", ".parquet") or not path.is_file():
            raise SourceError(
                f"a source must be one folder, or tar and Parquet files that are there, got {path}; unpack a compressed tar file "
                "first, because its pieces are read from the middle"
            )
    for one, other in pairwise(sources):
        if one == other:
            raise SourceError(f"{one} is given twice; name each file once")
    return sources


def cut(sources: Sequence[Path], size: int, column: str | None = None) -> Iterator[Piece]:
    """Pieces of at most ``size`` images, planned as they are asked for.

    Args:
        sources: as ``checked_sources`` gives them.
        size: images.
        column: of the images in Parquet files; found by its type when None.

    Raises:
        SourceError: a file is damaged or holds no images.
    """
    for path in sources:
        if path.is_dir():
            told = Told(path)
            named = ((image.relative_to(path).as_posix(), image) for image in images_below(path))
            listed = (Member(name, image, told.of(name)) for name, image in named)
            while some := tuple(islice(listed, size)):
                yield Piece(f"{path / some[0].name} to {some[-1].name}", partial(iter, some))
            told.tell()
        elif path.suffix == ".tar":
            yield from _tar_pieces(path, size)
        else:
            yield from _parquet_pieces(path, size, column)


def _tar_pieces(path: Path, size: int) -> Iterator[Piece]:
    """One reading of all headers; a later file of the same name replaces an earlier one, as unpacking would."""
    images: dict[str, tuple[str, Span]] = {}
    notes: dict[str, dict[str, Span]] = {}
    passed = Counter[str]()
    try:
        with tarfile.open(path, "r:") as archive:
            while info := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                folder, slash, file = info.name.rpartition("/")
                stem, _, ending = file.partition(".")  # webdataset: the key ends at the first dot
                key, span = f"{folder}{slash}{stem}", (info.offset_data, info.size)
                if info.islnk() and info.linkname in images:  # a second name of the same file
                    images[info.name] = key, images[info.linkname][1]
                elif info.issym() or info.issparse():
                    passed["a link, or of holes"] += 1
                elif not info.isreg():
                    continue
                elif f".{ending.rpartition('.')[2].lower()}" in SUFFIXES:
                    images[info.name] = key, span
                elif ending in ("json", "txt") and info.size <= LARGEST_NOTE:
                    notes.setdefault(key, {})[ending] = span
                else:
                    passed[f".{ending.rpartition('.')[2].lower()}" if ending else "no ending"] += 1
            with path.open("rb") as content:
                rest = _read(content, (archive.offset, 2**20))
            if rest[:512] != bytes(512) or rest.strip(b"\0"):  # zeros end a whole one
                raise tarfile.ReadError("one that is cut off between two files, or joined to another")
    except tarfile.TarError as error:
        raise SourceError(f"{path} must be a complete tar file, not compressed, got {error}; get it again") from None
    if not images:
        raise SourceError(f"{path} holds no image ({', '.join(SUFFIXES)}); leave it out")
    tell_passed(path, passed)
    source = iter(images.items())
    while some := tuple((name, span, notes.get(key, {})) for name, (key, span) in islice(source, size)):
        yield Piece(f"{path}, {some[0][0]} to {some[-1][0]}", partial(_tar_members, path, some))


def _tar_members(path: Path, images: Iterable[tuple[str, Span, Mapping[str, Span]]]) -> Iterator[Member]:
    with path.open("rb") as file:
        for name, span, notes in images:
            whole = f"{path.name}/{name}"
            if span[1] > MAX_BYTES:
                mb = f"at most {MAX_BYTES / 1e6:g} MB, got {span[1] / 1e6:.1f} MB"
                yield Member(whole, ImageError(f"an image file must be {mb} ({name}); scale it down"))
                continue
            beside = {ending: _read(file, place) for ending, place in notes.items()}
            yield Member(whole, _read(file, span), told_beside(beside))


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])


def _parquet_pieces(path: Path, size: int, column: str | None) -> Iterator[Piece]:
    with _opened(path) as file:
        n, column = file.metadata.num_rows, _image_column(path, file.schema_arrow, column)
    for first in range(0, n, size):
        end = min(first + size, n)
        yield Piece(f"{path}, rows {first} to {end - 1}", partial(_parquet_members, path, first, end, column))


def _parquet_members(path: Path, first: int, end: int, column: str) -> Iterator[Member]:
    """Rows ``first`` to ``end``, not included, from the row groups that hold them; a few at a time: a group may hold gigabytes."""
    known = {key for name in COLUMNS for key in (name, *ALSO.get(name, ()))}
    with _opened(path) as file:
        columns = [column, *(name for name in file.schema_arrow.names if name.lower() in known and name != column)]
        group = row = 0
        while (after := row + file.metadata.row_group(group).num_rows) <= first:
            group, row = group + 1, after
        groups = range(group, file.num_row_groups)
        for batch in file.iter_batches(ROWS_AT_ONCE, groups, columns, use_threads=False):
            low, high = max(first - row, 0), min(end - row, batch.num_rows)
            if low < high:
                for i, told in enumerate(batch.slice(low, high - low).to_pylist(), row + low):
                    yield _parquet_member(f"{path.name}/{i}", i, told[column], told)
            row += batch.num_rows
            if row >= end:
                return


def _parquet_member(name: str, row: int, image: Any, told: Mapping[str, Any]) -> Member:
    named = {}
    if isinstance(image, Mapping):
        if stem := Path(image.get("path") or "").stem:
            named = {"title": stem.replace("_", " ")}
        image = image.get("bytes")
    return Member(name, ImageError(f"row {row} has no image bytes") if image is None else image, named | told_by(told))


def _image_column(path: Path, schema: Any, wanted: str | None) -> str:
    """The column of images: the one asked for, or the only one of bytes, or of several the one that is called image."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(part.name == "bytes" and holds_bytes(part.type) for part in kind)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [part.name for part in schema if holds_bytes(part.type)]
    for name in (wanted,) if wanted else (*(found if len(found) == 1 else ()), "image"):
        if name in found:
            return name
    asked = f"a column {wanted!r} of image bytes" if wanted else "one column of image bytes"
    raise SourceError(f"{path} must have {asked}, got {', '.join(found) or 'none'}; say which with --column")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
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
