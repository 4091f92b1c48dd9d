"""What precompute embeds, kept in pieces: a run that was ended goes on, and nothing mixes with what other settings made.

    .work/DIGEST.npy     of one bundle: features of some images, (n, v, d). The name is a digest of all that decides them, so what
                         is there is right, and other settings are other files
    SHARDS/00000.npy     of folders without end: (n, d) or, with views, (n, 1 + n_views, d) float16 unit rows
    SHARDS/00000.json    settings; fingerprint of the images; names, and what the source tells of them, row by row; what could not
                         be read, with the reason; sha256 of the rows
    SHARDS/embedded.json (of embed_shards; shards.json of extract_shards) settings, n; of each shard file, n, sha256, first and last
                         image. It comes last: a folder without it is not finished

Every file is written beside its place and renamed.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import BATCH_SIZE, ahead
from aad.backbones.spec import TORCH
from aad.bundle import Bundle, BundleError, write_atomically
from aad.files import file_sha256
from aad.spaces import Domain

FORMAT = 1  # of both kinds of folder


class ShardError(BundleError):
    """A folder of shards is missing, unfinished or damaged. The text says what makes it again."""


def write_array(path: Path, array: np.ndarray) -> str:
    """Write a ``.npy`` file beside its place and rename it; its sha256."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a ``.npz`` file beside its place and rename it."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def write_table(path: Path, content: object) -> None:
    """Write JSON beside its place and rename it."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def file_key(path: Path, name: str) -> str:
    """A text that names an image and changes with its bytes."""
    return f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def kept(
    scratch: Path,
    pieces: Sequence[tuple[str, range]],
    prepare: Callable[[int], Iterable[np.ndarray]],
    embed: Callable[[Iterator[np.ndarray]], np.ndarray],
    label: str,
) -> list[np.ndarray]:
    """The first form: arrays of pieces, made where they are missing or cut short while the next images are prepared.

    Args:
        scratch: folder of the files; safe to delete.
        pieces: name of each, which changes with anything that decides its content, and the numbers of its images.
        prepare: gives the v arrays of image i, v the same for all of a piece; called from several threads.
        embed: rows of the arrays of one piece.
        label: shown beside the progress bar.

    Returns:
        (n, v, ...) of each piece, mapped into memory.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    missing = {name: members for name, members in pieces if _mapped(scratch, name, len(members)) is None}
    n, to_do = sum(len(members) for _, members in pieces), sum(map(len, missing.values()))
    with (
        tqdm(total=n, initial=n - to_do, desc=label, unit="image", disable=None) as bar,
        ahead(prepare, chain.from_iterable(missing.values()), BATCH_SIZE) as prepared,  # 20 MB, times views per image
    ):
        for name, members in missing.items():
            rows = embed(chain.from_iterable(islice(prepared, len(members))))
            write_array(scratch / f"{name}.npy", rows.reshape(len(members), -1, *rows.shape[1:]))
            bar.update(len(members))
    return [np.load(scratch / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name, _ in pieces]


def _mapped(scratch: Path, name: str, n: int) -> np.ndarray | None:
    try:
        array: np.ndarray = np.load(scratch / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array if len(array) == n else None
    except (OSError, ValueError):  # not there, or shorter than its header says
        return None


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
        made_with = bundle.section("backbone", "extract_features"), self.about["backbone"]
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


def refuse_other_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """See that the shards in a folder, if any, were made with these settings; whichever was written first will do.

    Raises:
        ShardError: names what differs.
    """
    with os.scandir(out) as entries:
        for entry in entries:
            if not re.fullmatch(r"\d{5,}\.json", entry.name):
                continue
            try:
                found = json.loads(Path(entry.path).read_bytes())["settings"]
                changed = [key for key in settings if found.get(key) != settings[key]]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # damaged: it is made again
            if changed:
                raise ShardError(
                    f"{out} holds shards made with another {' and '.join(changed)}; choose another --out, delete {out}, or give "
                    "the same options as before"
                )
            return


def tidy(out: Path, index: str, n_shards: int) -> None:
    """Remove shards beyond the last, of a source that had more images, and what a killed run was writing."""
    for path in out.iterdir():
        own = re.fullmatch(rf"\.?(\d{{5,}}|{Path(index).stem})\.(npy|json)(\.\d+\.partial)?", path.name)
        if own and (path.name.startswith(".") or (own[1].isdigit() and int(own[1]) >= n_shards)):
            path.unlink(missing_ok=True)


class StoredRows:
    """``aad.method.training.Rows`` over several folders: (n, v, d), where v is what the folder with the fewest views has.

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
