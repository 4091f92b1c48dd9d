"""What precompute embeds, kept in pieces: a run that was ended goes on, and nothing mixes with what other settings made.

    .work/DIGEST.npy     of one bundle: features of some images, (n, v, d). The name is a digest of all that decides them, so what
                         is there is right, and other settings are other files
    SHARDS/00000.npy     of folders without end: (n, d) or, with views, (n, 1 + n_views, d) float16 unit rows
    SHARDS/00000.json    settings; fingerprint of the images; names, and what the source tells of them, row by row; what could not
                         be read, with the reason; sha256 of the rows
    SHARDS/embedded.json (of embed_shards; shards.json of extract_shards) settings, n; of each shard file, n, sha256, first and last
                         image. It comes last: a folder without it is not finished

Every file is written beside its place and renamed; ``embedding.py`` makes them. Finished folders are checked as they are read, and
never all in memory.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.backbones.spec import TORCH
from aad.bundle import Bundle, BundleError, write_atomically
from aad.files import beside, file_sha256, naming
from aad.spaces import Domain
from precompute.common.steps import encode

FORMAT = 1  # of both kinds of folder


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


def write_table(path: Path, content: object, indent: int | None = 1) -> None:
    """Write JSON beside its place and rename it."""
    write_atomically(path, (json.dumps(content, indent=indent) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of folder of shards.

    Attributes:
        step: that makes it.
        index: the table that is written last.
        tells: whether tables and index say more of the images: metadata, and how many could not be read.
        needs: entries of the index besides format, backbone, n and shards.
    """

    step: str
    index: str
    tells: bool
    needs: tuple[str, ...]


EMBEDDED = Kind("embed_shards", "embedded.json", True, ("kind", "sources", "size", "column"))
VIEWS = Kind("extract_shards", "shards.json", False, ("domain", "n_views", "kinds", "seed"))


@dataclass(frozen=True, slots=True)
class Shards:
    """One finished folder of shards.

    Attributes:
        folder: where it lies.
        kind: of which kind it is.
        about: its index.
    """

    folder: Path
    kind: Kind
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, kind: Kind) -> "Shards":
        """Read the index; shards are checked as they are read.

        Raises:
            ShardError: not finished, not to be read, or of another format.
        """
        shards = cls(folder, kind, {})
        path, remedy = folder / kind.index, shards.remedy
        try:
            about = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise ShardError(f"{path} is missing: the folder is not finished, or holds no shards; {remedy}") from None
        except (OSError, ValueError) as error:
            raise ShardError(f"{path} cannot be read ({error}); {remedy}") from None
        found = about.get("format") if isinstance(about, dict) else None
        if found != FORMAT or not about.keys() >= {"backbone", "n", "shards", *kind.needs}:
            raise ShardError(f"{path} has format {found} or lacks entries, this version reads {FORMAT}; {remedy}")
        shards.about.update(about)
        return shards

    @property
    def remedy(self) -> str:
        """What makes the folder whole, the end of an error's text."""
        return (
            f"run python -m precompute.{self.kind.step} --out {self.folder} with the same options as before: only what is missing "
            "or damaged is computed"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together: (n, d) or, with views, (n, 1 + n_views, d)."""
        views = (1 + self.about["n_views"],) if "n_views" in self.about else ()
        return self.about["n"], *views, self.about["backbone"]["dim"]

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
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ShardError(f"{path} cannot be read ({error.strerror or error}); {self.remedy}") from None
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ShardError(f"{path} is damaged: its sha256 is not {self.kind.index}'s; {self.remedy}")
            rows = np.load(io.BytesIO(data), allow_pickle=False)
            if rows.shape != (entry["n"], *self.shape[1:]) or rows.dtype != np.float16:
                raise ShardError(f"{path} has another shape than {self.kind.index} says; {self.remedy}")
            yield rows

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
                    f"{path} is missing, damaged, or not the one that {self.kind.index} means; {self.remedy}"
                )
            yield table

    def summary(self) -> dict[str, Any]:
        """What a manifest remembers of the folder: all but the list of its files, and the checksum of that list."""
        told = {key: value for key, value in self.about.items() if key not in ("shards", "format", "backbone")}
        return told | {"folder": self.folder.resolve().name, "sha256": file_sha256(self.folder / self.kind.index)}

    def check_views(self, domain: Domain, bundle: Bundle) -> None:
        """See that these are views of a domain, by the very backbone of a bundle's features.

        Raises:
            ShardError: another domain; or name, dimension, weights or engine of the backbone differ.
        """
        own = self.about["domain"]
        if own != domain:
            raise ShardError(
                f"{self.folder} holds views of {own} images, {domain} ones are needed here; give it to --{own}, or extract a "
                f"folder of {domain} images with --domain {domain}"
            )
        made_with = bundle.section("backbone"), self.about["backbone"]
        ours, theirs = ({"engine": TORCH} | section for section in made_with)
        different = [key for key in ("name", "dim", "sha256", "engine") if ours.get(key) != theirs.get(key)]
        if different:
            told = "; ".join(f"{key} {theirs.get(key)}, the bundle has {ours.get(key)}" for key in different)
            raise ShardError(
                f"{self.folder} was embedded with another backbone than {bundle.folder}: {told}. Extract the shards again with "
                f"--backbone {ours['name']} --engine {ours['engine']} and the bundle's weights, or make the bundle's features "
                f"again with python -m precompute.extract_features --backbone {theirs['name']} --engine {theirs['engine']} and "
                "the shards' weights"
            )


class StoredRows:
    """Rows for ``StoredViews`` over several folders: (n, v, d), where v is what the folder with the fewest views has.

    Files are opened for each reading and closed again, so that pages read once do not count as memory of this process.
    """

    def __init__(self, folders: Sequence[Shards]) -> None:
        self.files = [file for folder in folders for file in folder.files]
        sizes = [entry["n"] for folder in folders for entry in folder.about["shards"]]
        self.ends = np.cumsum(sizes, dtype=np.int64)
        self.shape = (sum(sizes), min(folder.shape[1] for folder in folders), folders[0].shape[2])

    def __getitem__(self, images: slice | np.ndarray) -> np.ndarray:
        """The (m, v, d) float32 views of m images, in the order asked for."""
        wanted = np.arange(*images.indices(self.shape[0])) if isinstance(images, slice) else np.asarray(images)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.shape[0]:
            raise IndexError(f"images must be within 0..{self.shape[0] - 1}, got {wanted.min()} to {wanted.max()}")
        views = np.empty((len(wanted), *self.shape[1:]), np.float32)
        shard = np.searchsorted(self.ends, wanted, side="right")
        for number in np.unique(shard):
            places = np.flatnonzero(shard == number)
            stored = np.load(self.files[number], mmap_mode="r", allow_pickle=False)
            views[places] = stored[wanted[places] - (self.ends[number] - len(stored)), : self.shape[1]]
        return views
