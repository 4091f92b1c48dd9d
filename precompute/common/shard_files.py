"""Files in folders of shards: written beside their place and renamed, checked by sha256, never mixed with other settings."""

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import BundleError, write_atomically


class ShardError(BundleError):
    """A folder of shards is missing, unfinished or damaged. The text says what makes it again."""


def write_array(path: Path, array: np.ndarray) -> str:
    """Write a ``.npy`` file beside its place and rename it; its sha256."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def write_table(path: Path, content: object) -> None:
    """Write JSON beside its place and rename it."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_index(path: Path, version: int, keys: Set[str], remedy: str) -> dict[str, Any]:
    """The table that is written last, when all shards of a folder are there.

    Args:
        path: of the table.
        version: of its format.
        keys: entries that it must have.
        remedy: what makes it again, the end of the error's text.

    Raises:
        ShardError: not finished, not to be read, or of another format.
    """
    try:
        about = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the folder is not finished, or holds no shards; {remedy}") from None
    except (OSError, ValueError) as error:
        raise ShardError(f"{path} cannot be read ({error}); {remedy}") from None
    if not isinstance(about, dict) or about.get("format") != version or not about.keys() >= keys:
        found = about.get("format") if isinstance(about, dict) else None
        raise ShardError(f"{path} has format {found} or lacks entries, this version reads {version}; {remedy}")
    return about


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
