"""Views in shards: what ``extract_shards`` writes and ``train_heads`` reads without holding it in memory.

    SHARDS/shards.json   format, backbone, domain, n, n_views, kinds, seed; of each shard file, n, sha256, first and last image
    SHARDS/00000.npy     (n, 1 + n_views, d) float16: each image itself, then its views; a few hundred images
    SHARDS/00000.json    names of these images, row by row, and those that could not be read, with the reason

shards.json comes last: a folder without it is not finished.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.backbones.spec import TORCH
from aad.bundle import Bundle
from aad.files import file_sha256
from aad.spaces import Domain
from precompute.common.shard_files import ShardError, read_index

FORMAT = 1
INDEX = "shards.json"
_KEYS = {"format", "backbone", "domain", "n", "n_views", "kinds", "seed", "shards"}


@dataclass(frozen=True, slots=True)
class ViewShards:
    """One finished folder of shards.

    Attributes:
        folder: where it lies.
        about: shards.json.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, domain: Domain) -> "ViewShards":
        """Read shards.json and look at every file's size; ``verify`` reads the contents.

        Raises:
            ShardError: not finished, of another format or domain, or a file is missing or too short.
        """
        about = read_index(folder / INDEX, FORMAT, _KEYS, _again(folder))
        if about["domain"] != domain:
            raise ShardError(
                f"{folder} holds views of {about['domain']} images, {domain} ones are needed here; give it to "
                f"--{about['domain']}, or extract a folder of {domain} images with --domain {domain}"
            )
        shards = cls(folder, about)
        for entry in about["shards"]:
            try:
                file = np.load(folder / entry["file"], mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise ShardError(f"{folder / entry['file']} cannot be read ({error}); {_again(folder)}") from None
            if file.shape != (entry["n"], *shards.shape[1:]) or file.dtype != np.float16:
                raise ShardError(f"{folder / entry['file']} has another shape than {INDEX} says; {_again(folder)}")
        return shards

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, 1 + n_views, d) of all shards together."""
        return self.about["n"], 1 + self.about["n_views"], self.about["backbone"]["dim"]

    def verify(self, progress: Callable[[int], object] | None = None) -> None:
        """Compare every file with its sha256; ``progress`` gets the images of each file.

        Raises:
            ShardError: a file is damaged.
        """
        for entry in self.about["shards"]:
            if file_sha256(self.folder / entry["file"]) != entry["sha256"]:
                raise ShardError(
                    f"{self.folder / entry['file']} is damaged: its sha256 is not {INDEX}'s; {_again(self.folder)}"
                )
            if progress:
                progress(entry["n"])

    def summary(self) -> dict[str, Any]:
        """What a manifest remembers of the folder: all but the list of its files, and the checksum of that list."""
        told = {key: value for key, value in self.about.items() if key not in ("shards", "format", "backbone")}
        return told | {"folder": self.folder.resolve().name, "sha256": file_sha256(self.folder / INDEX)}


def check_backbone(shards: ViewShards, bundle: Bundle) -> None:
    """See that a bundle's features and the shards come from one backbone with the same weights and the same engine.

    Raises:
        ShardError: name, dimension, weights or engine differ.
    """
    made_with = bundle.section("backbone"), shards.about["backbone"]
    ours, theirs = ({"engine": TORCH} | section for section in made_with)
    different = [key for key in ("name", "dim", "sha256", "engine") if ours.get(key) != theirs.get(key)]
    if different:
        told = "; ".join(f"{key} {theirs.get(key)}, the bundle has {ours.get(key)}" for key in different)
        raise ShardError(
            f"{shards.folder} was embedded with another backbone than {bundle.folder}: {told}. Extract the shards again with "
            f"--backbone {ours['name']} --engine {ours['engine']} and the bundle's weights, or make the bundle's features again "
            f"with python -m precompute.extract_features --backbone {theirs['name']} --engine {theirs['engine']} and the shards' "
            "weights"
        )


def _again(folder: Path) -> str:
    return (
        f"run python -m precompute.extract_shards --out {folder} with the same options as before: only what is missing or "
        "damaged is computed"
    )


class StoredRows:
    """``stored_views.Rows`` over several folders: (n, v, d), where v is what the folder with the fewest views has.

    Files are opened for each reading and closed again, so that pages read once do not count as memory of this process.
    """

    def __init__(self, folders: Sequence[ViewShards]) -> None:
        self.files = [folder.folder / entry["file"] for folder in folders for entry in folder.about["shards"]]
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
