"""Images in tar files, as webdataset has them: a piece is some of the images, read from their places in the file."""

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from aad.images import SUFFIXES, ImageError, ImageLimits
from precompute.common.sources import Member, Piece, SourceError, told_by

LARGEST_NOTE = 2**20  # bytes of a KEY.json or KEY.txt that are looked at
_LARGEST = ImageLimits().max_bytes  # larger files are refused unread, as everywhere

Span = tuple[int, int]  # where a file begins in its tar file and its length, in bytes


@dataclass(frozen=True, slots=True)
class TarPiece:
    """Some images of a tar file: name, place, and the places of the texts beside each."""

    path: Path
    images: tuple[tuple[str, Span, Mapping[str, Span]], ...]

    def members(self) -> Iterator[Member]:
        """See ``sources.Piece``."""
        with self.path.open("rb") as file:
            for name, span, notes in self.images:
                whole = f"{self.path.name}/{name}"
                if span[1] > _LARGEST:
                    mb = f"at most {_LARGEST / 1e6:g} MB, got {span[1] / 1e6:.1f} MB"
                    yield Member(whole, ImageError(f"an image file must be {mb} ({name}); scale it down"))
                else:
                    yield Member(whole, _read(file, span), self._told(file, notes))

    def _told(self, file: BinaryIO, notes: Mapping[str, Span]) -> dict[str, str]:
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

    def __str__(self) -> str:
        return f"{self.path}, {self.images[0][0]} to {self.images[-1][0]}"


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])


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
