"""Where the page finds a picture: its address, and which folders the server is told to serve, as few as say the same."""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from aad import Attributor
from aad.files import write_atomically
from aad.images import SUFFIXES
from interface.decoder import decoded

BESIDE = (*SUFFIXES, ".csv", ".txt", ".md", ".json", ".jsonl")  # with them: what is said of them
REPORT = "report.html"  # of what the server makes, the one thing that is no picture
SHOWN, SHOWN_SIDE = ".shown.jpg", 2048  # ending of a rendition, and its longer side, in pixels
TERMS = ("LICENCE", "LICENSE", "COPYING", "README", "NOTICE")


def file_url(path: str | os.PathLike[str]) -> str:
    """Address of a served file, relative to the page so that it holds behind a proxy.

    Args:
        path: Absolute path of a file that is served, see `to_serve`.

    Returns:
        For example `gradio_api/file=/srv/pictures/a%20b.webp`.
    """
    return "gradio_api/file=" + quote(Path(path).resolve().as_posix(), safe="/:")


def rendition(upload: Path) -> Path:
    """An upload as the page shows it: what the network sees, scaled down where it is large, with no word of who made it.

    Raises:
        ImageError: It is no picture that is answered.
    """
    beside = upload.with_name(f"{upload.name[:40]}{SHOWN}")
    if not beside.exists():
        image, file = decoded(upload).copy(), io.BytesIO()
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        image.save(file, "JPEG", quality=95, subsampling=0)
        write_atomically(beside, file.getvalue())
    return beside


def places(attributor: Attributor) -> list[str]:
    """Paths of all references, and then of all queries; a `Path` each would take seconds of a large collection."""
    known = attributor.references
    return [
        *(f"{known.folder}/{path}" for path in known.words("path")),
        *(str(query.path) for query in attributor.queries),
    ]


def to_serve(pictures: Iterable[str | Path], *, private: Sequence[Path]) -> list[Path]:
    """The fewest folders and files to serve so that every picture can be shown, and nothing else that matters.

    A picture's folder is served, unless it holds one of the private folders (the working directory, the home folder, the code), or
    other things than pictures and what is said of them: then only what is a picture by its name. A bundle says where its
    pictures lie and what they are called, and one made by a stranger may say ``../../../etc``, ``passwd``.

    A folder that holds nothing but what is served stands for all of it. Gradio goes through the entries one after the other, and
    resolves each, for every picture it sends and every answer it gives, while nobody else is served; the demo has a
    folder for each of its sources, over a thousand.

    Args:
        pictures: Absolute paths.
        private: Folders that must not be reachable, nor anything in them but the pictures.

    Returns:
        Sorted folders and files, resolved.
    """
    guarded = [folder.resolve() for folder in private]
    by_folder: dict[str, list[str | Path]] = {}
    for path in pictures:
        # resolving a path asks the disk: once a folder is enough
        by_folder.setdefault(os.path.split(path)[0], []).append(path)
    entries: set[Path] = set()
    for parent, members in by_folder.items():
        folder = Path(parent).resolve()
        if any(keep.is_relative_to(folder) for keep in guarded) or not _holds_pictures(folder):
            entries.update(path for path in (Path(member).resolve() for member in members) if is_picture(path))
        else:
            entries.add(folder)
    waiting = {path.parent for path in entries}
    while waiting:
        folder = max(waiting, key=lambda path: len(path.parts))  # the deepest first: it may fill its parent
        waiting.discard(folder)
        if _holds_only(folder, entries) and not any(keep.is_relative_to(folder) for keep in guarded):
            entries = {path for path in entries if path.parent != folder} | {folder}
            waiting.update(folder.parents[:1])  # the disk's root has none
    return sorted(entry for entry in entries if not entries.intersection(entry.parents))


def is_picture(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(SUFFIXES)


def _holds_pictures(folder: Path) -> bool:
    def fail(error: OSError) -> None:
        raise error

    names = (name for _, _, some in os.walk(folder, onerror=fail) for name in some)
    try:
        return all(name.lower().endswith(BESIDE) or name.upper().startswith(TERMS) for name in names)
    except OSError:  # what cannot be looked through is not opened to others
        return False


def _holds_only(folder: Path, entries: set[Path]) -> bool:
    try:
        return all(path in entries for path in folder.iterdir())  # a link is never an entry: those are resolved
    except OSError:
        return False
