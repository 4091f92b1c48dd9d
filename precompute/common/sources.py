"""Where the images of ``embed_shards`` come from: a folder, tar files or Parquet files, cut into pieces that are read one by one.

    folder     every image below it, sorted; metadata.csv says more about them, as for extract_features
    *.tar      webdataset: KEY.jpg with KEY.json (an object) or KEY.txt (a title) beside it; not compressed
    *.parquet  a column of image bytes, or of {bytes, path} as the hub's datasets have it; other columns say more

What is said of an image is kept where it is one of title, source, licence, author, url, concept and group; "license" means the
licence, "caption" or "text" the title. A piece never crosses a file. It holds names and places, no pictures: it is cheap to send.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from aad.bundle import BundleError
from aad.files import file_sha256
from aad.images import SUFFIXES, ImageError, load_image
from precompute.common.gallery import COLUMNS, metadata_of

ALSO = {"licence": ("license",), "title": ("caption", "text")}
LONGEST_TITLE = 300  # characters: captions of pictures on the web can run to pages


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
        try:
            self.name.encode()
        except UnicodeEncodeError:
            raise ImageError("its name is not UTF-8; rename it") from None
        if isinstance(self.content, ImageError):
            raise self.content
        try:
            return load_image(self.content)
        except ImageError as error:  # bytes have no name of their own
            raise ImageError(str(error).replace("the uploaded picture", Path(self.name).name)) from None


class Piece(Protocol):
    """Some images of a source, in order: what one shard is made of."""

    def members(self) -> Iterator[Member]:
        """The images, read as they are asked for."""
        ...


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
        if path.is_dir():
            raise SourceError(f"{path} is a folder: give one folder alone, or tar and Parquet files only")
        if path.suffix not in (".tar", ".parquet"):
            raise SourceError(
                f"a source must be a folder, a .tar or a .parquet file, got {path}; unpack a compressed tar file first, because "
                "its pieces are read from the middle"
            )
        if not path.is_file():
            raise SourceError(f"{path} does not exist; correct --source")
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
            yield from _folder_pieces(path, size)
        elif path.suffix == ".tar":
            from precompute.common.tars import tar_pieces

            yield from tar_pieces(path, size)
        else:
            from precompute.common.parquet import parquet_pieces

            yield from parquet_pieces(path, size, column)


def count(sources: Sequence[Path]) -> int | None:
    """How many images there are, for a progress bar; None for tar files, where only reading them all would tell."""
    if sources[0].is_dir():
        return sum(1 for _ in images_below(sources[0]))
    if any(path.suffix == ".tar" for path in sources):
        return None
    from precompute.common.parquet import n_rows

    return sum(map(n_rows, sources))


def told_by(row: Mapping[str, Any]) -> dict[str, str]:
    """What a row of any table says about its image, by our columns, as texts.

    >>> told_by({"caption": " A boat ", "license": "CC0-1.0", "url": None, "width": 640})
    {'title': 'A boat', 'licence': 'CC0-1.0'}
    """
    told = {}
    for column in COLUMNS:
        for key in (column, *ALSO.get(column, ())):
            value = row.get(key)
            if isinstance(value, str | int | float) and (text := " ".join(str(value).split())):
                text = text.encode("utf-8", "replace").decode()  # half a surrogate pair, which JSON allows
                told[column] = text[:LONGEST_TITLE] if column == "title" else text
                break
    return told


def images_below(folder: Path) -> Iterator[Path]:
    """Every image file, one directory at a time, so that a million names are never held together."""
    for place, below, names in os.walk(folder, onerror=_fail):
        below.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _fail(error: OSError) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class FolderPiece:
    """Some images of a folder: their paths below it, and what is told of each."""

    folder: Path
    images: tuple[tuple[str, Mapping[str, str]], ...]

    def members(self) -> Iterator[Member]:
        """See ``Piece``."""
        for name, told in self.images:
            yield Member(name, self.folder / name, told)

    def __str__(self) -> str:
        return f"{self.folder}, {self.images[0][0]} to {self.images[-1][0]}"


def _folder_pieces(folder: Path, size: int) -> Iterator[Piece]:
    told = metadata_of(folder)
    names = (path.relative_to(folder).as_posix() for path in images_below(folder))
    while images := tuple((name, told_by(told.get(name, {}))) for name in islice(names, size)):
        yield FolderPiece(folder, images)
