"""Embeddings in shards: what ``embed_shards`` writes, wherever it runs, and ``assemble`` makes a bundle of.

    SHARDS/embedded.json   format, backbone, kind and paths of sources, size, n; of each shard file, n, n_refused, sha256,
                           first and last image
    SHARDS/00000.npy       (n, d) float16 unit rows
    SHARDS/00000.json      settings; fingerprint of the images; names and what the source tells of them, row by row; what could not
                           be read, with the reason; sha256 of the rows

embedded.json comes last: a folder without it is not finished. Its paths of sources are relative to the folder.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.shard_files import ShardError, read_index
from precompute.common.sources import Piece, checked_sources, cut

FORMAT = 1
INDEX = "embedded.json"
_KEYS = {"backbone", "kind", "sources", "size", "column", "n", "shards"}


@dataclass(frozen=True, slots=True)
class EmbeddedShards:
    """One finished folder of embeddings.

    Attributes:
        folder: where it lies.
        about: embedded.json.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "EmbeddedShards":
        """Read embedded.json; the shards are checked as they are read.

        Raises:
            ShardError: not finished, or of another format.
        """
        return cls(folder, read_index(folder / INDEX, FORMAT, _KEYS, _again(folder)))

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of all shards together."""
        return self.about["n"], self.about["backbone"]["dim"]

    @property
    def sources(self) -> list[Path]:
        """Where the images were, from here."""
        return [(self.folder / path).resolve() for path in self.about["sources"]]

    @property
    def is_folder(self) -> bool:
        """Whether the source is a folder of images rather than tar or Parquet files."""
        return self.about["kind"] == "folder"

    def pieces(self) -> Iterator[Piece]:
        """The images of each shard, in order, for those who need to see them again."""
        return cut(checked_sources(self.sources), self.about["size"], self.about["column"])

    def tables(self) -> Iterator[dict[str, Any]]:
        """The table of each shard, in order.

        Raises:
            ShardError: one is missing, damaged, or of another run than embedded.json.
        """
        for entry in self.about["shards"]:
            path = (self.folder / entry["file"]).with_suffix(".json")
            try:
                table = json.loads(path.read_bytes())
                sound = table["sha256"] == entry["sha256"] and len(table["names"]) == entry["n"] == len(table["told"])
            except (OSError, ValueError, KeyError, TypeError):
                sound = False
            if not sound:
                raise ShardError(
                    f"{path} is missing, damaged, or not the one that {INDEX} means; {_again(self.folder)}"
                )
            yield table

    def rows(self) -> Iterator[np.ndarray]:
        """The (n, d) float16 rows of each shard, in order, compared with their sha256.

        Raises:
            ShardError: a file is missing or damaged.
        """
        for entry in self.about["shards"]:
            path = self.folder / entry["file"]
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ShardError(f"{path} cannot be read ({error.strerror or error}); {_again(self.folder)}") from None
            if sha256(data).hexdigest() != entry["sha256"]:
                raise ShardError(f"{path} is damaged: its sha256 is not {INDEX}'s; {_again(self.folder)}")
            yield np.load(io.BytesIO(data), allow_pickle=False)


def _again(folder: Path) -> str:
    return (
        f"run python -m precompute.embed_shards --out {folder} with the same options as before: only what is missing or damaged "
        "is computed"
    )
