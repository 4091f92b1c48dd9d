"""Where the page finds a picture: its address, and the folders that must be served for it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote


def file_url(path: str | os.PathLike[str]) -> str:
    """Address of a served file, relative to the page so that it holds behind a proxy.

    Args:
        path: Absolute path of a file under one of `served_paths`.

    Returns:
        For example `gradio_api/file=/srv/pictures/a%20b.webp`.
    """
    return "gradio_api/file=" + quote(Path(path).resolve().as_posix(), safe="/:")


def served_paths(paths: Iterable[Path], *, private: Sequence[Path]) -> list[Path]:
    """Smallest set of folders and files to serve so that every picture can be shown.

    A picture's folder is served, unless it holds one of the `private` folders (the working directory, the home
    folder, the code): then only the picture itself is.

    Args:
        paths: Absolute paths of the pictures.
        private: Folders that must not be reachable, nor anything in them but the pictures.

    Returns:
        Sorted folders and files.
    """
    guarded = [folder.resolve() for folder in private]
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)  # resolving a path asks the disk: once a folder is enough
    served: set[Path] = set()
    for parent, members in by_folder.items():
        folder = parent.resolve()
        exposes = any(keep == folder or keep.is_relative_to(folder) for keep in guarded)
        served.update([path.resolve() for path in members] if exposes else [folder])
    folders = {entry for entry in served if entry.is_dir()}
    return sorted(entry for entry in served if not folders.intersection(entry.parents))
