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
from aad.bundle import BundleError, write_atomically

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
