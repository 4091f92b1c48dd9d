"""Pictures for the page of references that lie in tar or Parquet files: small WebP files beside the bundle."""

import io
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from aad.bundle import write_atomically
from precompute.common.sources import Member, Piece, fingerprint
from precompute.common.store import ShardError

SIDE = 512  # pixels, at most: what a page shows enlarged
FOLDER = 1000  # pictures in a sub-folder: file systems and their tools stay quick
QUALITY = 82


def shown_name(row: int, images: str) -> str:
    """Where the picture of a reference lies below its folder; another name when the images of its shard change.

    >>> shown_name(1234, "5ac3d7e8aa")
    '00001/00001234-5ac3d7e8.webp'
    """
    return f"{row // FOLDER:05}/{row:08}-{images[:8]}.webp"


@dataclass(frozen=True, slots=True)
class ShownJob:
    """The pictures of one shard.

    Attributes:
        folder: of all pictures.
        piece: the shard's images.
        table: the shard's own table, a file.
        first: row of its first image among all references.
    """

    folder: Path
    piece: Piece
    table: Path
    first: int

    def __str__(self) -> str:
        return f"pictures of {self.piece}"


def write_shown(job: ShownJob) -> int:
    """Write the pictures of a shard that are not there yet; how many images it has.

    Raises:
        ShardError: the source has changed since it was embedded.
    """
    table = json.loads(job.table.read_bytes())
    paths = [job.folder / shown_name(job.first + i, table["images"]) for i in range(len(table["names"]))]
    missing = {name: path for name, path in zip(table["names"], paths, strict=True) if not path.exists()}
    if not missing:
        return len(paths)
    if fingerprint([member.fingerprint() for member in job.piece.members()]) != table["images"]:
        raise ShardError(
            f"{job.piece} has changed since it was embedded: run python -m precompute.embed_shards --out {job.table.parent} again, "
            "with the same options as before"
        )
    for parent in {path.parent for path in missing.values()}:
        parent.mkdir(parents=True, exist_ok=True)
    for member in job.piece.members():
        if member.name in missing:
            write_atomically(missing[member.name], _encoded(member))
    return len(paths)


def _encoded(member: Member) -> bytes:
    picture = member.picture()
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=QUALITY, method=4)
    return buffer.getvalue()


def tidy_shown(folder: Path, names: Collection[str]) -> None:
    """Remove pictures of earlier shards, which are not among these, and what a killed run was writing."""
    for path in folder.glob("[0-9]*/*"):
        ours = re.fullmatch(r"\.?\d{8,}-[0-9a-f]{8}\.webp(\.\d+\.partial)?", path.name)
        if ours and f"{path.parent.name}/{path.name}" not in names:
            path.unlink(missing_ok=True)
