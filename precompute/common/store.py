"""What precompute embeds, kept in pieces: a run that was ended goes on, and nothing mixes with what other settings made.

    .work/MADE-KEYS.npy  of one bundle: features of some images, (n, v, d); named by a digest of the settings and one of the keys
    .work/MADE-KEYS.json the keys, which change with the images' bytes: what is kept is right, whatever lies beside it by now
    SHARDS/00000.npy     of folders without end: (n, d) float16 unit rows
    SHARDS/00000.json    settings; fingerprint of the images; names, and what the source tells of them, row by row; what could not
                         be read, with the reason; sha256 of the rows
    SHARDS/embedded.json settings, n; of each shard file, n, sha256, first and last image. It comes last: a folder without it is
                         not finished

Every file is written beside its place and renamed; ``embedding.py`` makes them. Finished folders are checked as they are read, and
never all in memory.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import BundleError, write_atomically
from aad.files import beside, naming
from precompute.common.steps import encode

FORMAT = 1  # of such a folder
INDEX = "embedded.json"


class ShardError(BundleError):
    """A folder of shards is missing, unfinished or damaged. The text says what makes it again."""


def write_array(path: Path, array: np.ndarray) -> str:
    """Write a ``.npy`` file beside its place and rename it; its sha256."""
    data = encode(path.name, array)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a ``.npz`` file beside its place and rename it; array by array, as all of them once more may not fit in memory."""
    partial = beside(path)
    try:
        with naming(path), partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def short_digest(content: object) -> str:
    """A short name for anything JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_kept(scratch: Path, made_by: str) -> dict[str, np.ndarray]:
    """By key, the (v, d) rows in a folder that were made with the settings of this digest; they stay on the disk until used."""
    kept: dict[str, np.ndarray] = {}
    for path in scratch.glob(f"{made_by}-*.json"):
        with suppress(OSError, ValueError):  # not there, or shorter than it should be
            rows = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            kept |= dict(zip(json.loads(path.read_bytes()), rows, strict=True))
    return kept


def write_table(path: Path, content: object, indent: int | None = 1) -> None:
    """Write JSON beside its place and rename it."""
    write_atomically(path, (json.dumps(content, indent=indent) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Shards:
    """One finished folder of shards.

    Attributes:
        folder: where it lies.
        about: its index.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Shards":
        """Read the index; shards are checked as they are read.

        Raises:
            ShardError: not finished, not to be read, or of another format.
        """
        try:
            about = json.loads((folder / INDEX).read_bytes())
            sound = about["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise ShardError(f"{folder / INDEX} is missing, damaged or of another version; {_remedy(folder)}")
        return cls(folder, about)

    @property
    def shape(self) -> tuple[int, int]:
        """Of all rows together, (n, d)."""
        return self.about["n"], self.about["backbone"]["dim"]

    @property
    def files(self) -> list[Path]:
        """The files of rows, in order."""
        return [self.folder / entry["file"] for entry in self.about["shards"]]

    def rows(self) -> Iterator[np.ndarray]:
        """The float16 rows of each shard, in order, compared with their sha256.

        Raises:
            ShardError: a file is missing or damaged.
        """
        for path, entry in zip(self.files, self.about["shards"], strict=True):
            data = path.read_bytes() if path.exists() else b""
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ShardError(f"{path} is missing or damaged; {_remedy(self.folder)}")
            yield np.load(io.BytesIO(data), allow_pickle=False)

    def tables(self) -> Iterator[dict[str, Any]]:
        """The table of each shard, in order.

        Raises:
            ShardError: one is missing, damaged, or of another run than the index.
        """
        for file, entry in zip(self.files, self.about["shards"], strict=True):
            path = file.with_suffix(".json")
            try:
                table = json.loads(path.read_bytes())
                sound = table["sha256"] == entry["sha256"] and len(table["names"]) == entry["n"] == len(table["told"])
            except (OSError, ValueError, KeyError, TypeError):
                sound = False
            if not sound:
                raise ShardError(
                    f"{path} is missing, damaged, or not the one that {INDEX} means; {_remedy(self.folder)}"
                )
            yield table


def _remedy(folder: Path) -> str:
    """What makes a folder whole, the end of an error's text."""
    return (
        f"run python -m precompute.embed_shards --out {folder} with the same options as before: only what is missing or damaged "
        "is computed"
    )
