"""One image of a source, and what the source tells of it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from aad.bundle import BundleError
from aad.files import file_sha256
from aad.images import ImageError, load_image
from precompute.common.gallery import COLUMNS

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
        told: what the source says about it, by column; None where nobody asks.
    """

    name: str
    content: Path | bytes | ImageError
    told: Mapping[str, str] | None = field(default_factory=dict)

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
        return [self.name, digest, *([] if self.told is None else [dict(self.told)])]

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
    """Some images of a source, in order: what one shard is made of. Names and places, no pictures: it is cheap to send."""

    def members(self) -> Iterator[Member]:
        """The images, read as they are asked for."""
        ...


def fingerprint(members: Sequence[list[Any]]) -> str:
    """One text that changes with any member's name, bytes or metadata."""
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


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
