"""Where the page finds a picture: its address, and which folders the server is told to serve, as few as say the same."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from aad.images import SUFFIXES

BESIDE = (*SUFFIXES, ".csv", ".txt", ".md", ".json", ".jsonl")  # with them: what is said of them
TERMS = ("LICENCE", "LICENSE", "COPYING", "README", "NOTICE")


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


def whole_folders(served: Sequence[Path], *, private: Sequence[Path] = ()) -> list[Path]:
    """The same files as ``served`` in fewer entries: a folder that holds nothing else stands for all that is in it.

    Gradio goes through the entries one after the other, and resolves each, for every picture it sends and every answer it
    gives, while nobody else is served; the demo has a folder for each of its sources, over a thousand.

    Args:
        served: Resolved folders and files, from `served_paths`.
        private: Folders that no entry may hold.

    Returns:
        Sorted folders and files. Nothing is in them that was not in ``served``.
    """
    guarded = [folder.resolve() for folder in private]
    entries = set(served)
    waiting = {path.parent for path in served}
    while waiting:
        folder = max(waiting, key=lambda path: len(path.parts))  # the deepest first: it may fill its parent
        waiting.discard(folder)
        if any(keep.is_relative_to(folder) for keep in guarded) or not _holds_only(folder, entries):
            continue
        entries = {path for path in entries if path.parent != folder} | {folder}
        waiting.update(folder.parents[:1])  # the disk's root has none
    return sorted(entries)


def only_pictures(served: Sequence[Path], named: Sequence[Path]) -> list[Path]:
    """The same without what is no picture by its name, and without folders that hold other things: of those the named pictures.

    A bundle says where its pictures lie and what they are called, and one made by a stranger may say ``../../../etc``, ``passwd``.

    Args:
        served: Resolved folders and files, from `served_paths`.
        named: The paths of all pictures of the bundle.
    """
    folders = {entry for entry in served if entry.is_dir()}
    mixed = {folder for folder in folders if not _holds_pictures(folder)}
    files = {*served} - folders
    if mixed:
        files |= {path for path in (path.resolve() for path in named) if mixed.intersection(path.parents)}
    return sorted(folders - mixed | {path for path in files if is_picture(path)})


def is_picture(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(SUFFIXES)


def _holds_pictures(folder: Path) -> bool:
    def fail(error: OSError) -> None:
        raise error

    try:
        for _, _, names in os.walk(folder, onerror=fail):
            if not all(name.lower().endswith(BESIDE) or name.upper().startswith(TERMS) for name in names):
                return False
    except OSError:  # what cannot be looked through is not opened to others
        return False
    return True


def _holds_only(folder: Path, entries: set[Path]) -> bool:
    try:
        return all(path in entries for path in folder.iterdir())  # a link is never an entry: those are resolved
    except OSError:
        return False
