"""Which folders the server is told to serve: as few as say the same."""

from collections.abc import Sequence
from pathlib import Path


def whole_folders(served: Sequence[Path], *, private: Sequence[Path] = ()) -> list[Path]:
    """The same files as ``served`` in fewer entries: a folder that holds nothing else stands for all that is in it.

    Gradio goes through the entries one after the other, and resolves each, for every picture it sends and every answer it
    gives, while nobody else is served; the demo has a folder for each of its sources, over a thousand.

    Args:
        served: Resolved folders and files, from `aad.present.served_paths`.
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


def _holds_only(folder: Path, entries: set[Path]) -> bool:
    try:
        return all(path in entries for path in folder.iterdir())  # a link is never an entry: those are resolved
    except OSError:
        return False
