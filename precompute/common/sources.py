"""Where the images of ``embed_shards`` come from: a folder, tar files or Parquet files, cut into pieces that are read one by one.

    folder     every image below it, sorted; metadata.csv says more about them, as for extract_features
    *.tar      webdataset: KEY.jpg with KEY.json (an object) or KEY.txt (a title) beside it; not compressed
    *.parquet  a column of image bytes, or of {bytes, path} as the hub's datasets have it; other columns say more

What is said of an image is kept where it is one of title, source, licence, author, url, concept and group; "license" means the
licence, "caption" or "text" the title. A piece never crosses a file.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from aad.images import SUFFIXES
from precompute.common.archives import opened, parquet_pieces, tar_pieces
from precompute.common.gallery import metadata_of
from precompute.common.members import Member, Piece, SourceError, told_by

Listed = tuple[str, str, Mapping[str, str] | None]  # name, path, and what is told of an image


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
            told = metadata_of(path)
            named = ((image.relative_to(path).as_posix(), str(image)) for image in images_below(path))
            yield from listed_pieces(((name, image, told_by(told.get(name, {}))) for name, image in named), size)
        elif path.suffix == ".tar":
            yield from tar_pieces(path, size)
        else:
            yield from parquet_pieces(path, size, column)


def count(sources: Sequence[Path]) -> int | None:
    """How many images there are, for a progress bar; None for tar files, where only reading them all would tell."""
    if sources[0].is_dir():
        return sum(1 for _ in images_below(sources[0]))
    if any(path.suffix == ".tar" for path in sources):
        return None
    n = 0
    for path in sources:
        with opened(path) as file:
            n += file.metadata.num_rows
    return n


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
class ListedPiece:
    """Some image files."""

    images: tuple[Listed, ...]

    def members(self) -> Iterator[Member]:
        """See ``members.Piece``."""
        for name, path, told in self.images:
            yield Member(name, Path(path), told)

    def __str__(self) -> str:
        return f"{self.images[0][1]} to {self.images[-1][0]}"


def listed_pieces(images: Iterable[Listed], size: int) -> Iterator[Piece]:
    """Pieces of a list."""
    source = iter(images)
    while some := tuple(islice(source, size)):
        yield ListedPiece(some)
