"""The references and queries of a bundle, checked. References stand in columns, and one is made when it is asked for.

As a tuple of objects 300,000 of them were measured to take 421 MB.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from aad.answers import Query, Reference
from aad.bundle import Bundle, BundleError, safe_path
from aad.schema import require

UNUSABLE = "cannot be used ({})"


class References(Sequence[Reference]):
    """All references of a bundle, by their ids; otherwise as a tuple of them.

    Args:
        entries: of references.json; what ``Reference`` does not name is left out.
        folder: what their paths are relative to.

    Raises:
        BundleError: a path that would leave the folder.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]], folder: Path) -> None:
        self.folder = folder
        seen: dict[str, str] = {}  # each word is kept once
        self._columns = {"path": [safe_path(one["path"]) for one in entries]}
        for field in fields(Reference)[2:]:
            told = (one.get(field.name) for one in entries)
            words = ("" if word is None else str(word) for word in told)
            self._columns[field.name] = [seen.setdefault(word, word) for word in words]

    def __len__(self) -> int:
        return len(self._columns["path"])

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return tuple(self._made(one) for one in range(*i.indices(len(self))))
        return self._made(range(len(self))[i])

    def words(self, field: str) -> list[str]:
        """One field of all references without making any of them; ``path`` is below ``folder``."""
        return self._columns[field]

    def _made(self, i: int) -> Reference:
        words = {name: column[i] for name, column in self._columns.items()}
        return Reference(i, self.folder / words.pop("path"), **words)


def read_references(bundle: Bundle, folder: Path) -> References:
    """The references of a bundle, checked; their paths are relative to a folder of pictures.

    Raises:
        BundleError: references.json is missing, damaged, or holds what no reference is.
    """
    entries = bundle.read_json("references.json")
    with bundle.telling("references.json", UNUSABLE, of=(ValueError, BundleError)):
        references = References(entries, folder)
        _refuse_links(folder, references.words("path"))
    return references


def read_queries(bundle: Bundle, folder: Path, n: int) -> tuple[Query, ...]:
    """The bundled queries, checked; their sources are some of n references.

    Raises:
        BundleError: queries.json is missing, damaged, or holds what no query is.
    """
    entries = bundle.read_json("queries.json")
    with bundle.telling("queries.json", UNUSABLE):
        for i, entry in enumerate(entries):
            require(max(entry["exemplar_ids"], default=-1) < n, f"ids below {n} as 'exemplar_ids' of query {i}", entry)
    paths = read_pictures(bundle, "queries.json", folder, [entry["path"] for entry in entries])
    told = ("type", "generator", "split", "concept")
    return tuple(
        Query(i, path, exemplar_ids=tuple(entry["exemplar_ids"]), **{key: entry[key] for key in told if key in entry})
        for i, (entry, path) in enumerate(zip(entries, paths, strict=True))
    )


def read_pictures(bundle: Bundle, file: str, folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The pictures that a file of the bundle names, seen to lie in the folder of pictures.

    Raises:
        BundleError: one lies outside of it.
    """
    with bundle.telling(file, UNUSABLE, of=(ValueError, BundleError)):
        paths = tuple(folder / safe_path(name) for name in names)
        _refuse_links(folder, names)
    return paths


def _refuse_links(folder: Path, paths: Iterable[str]) -> None:
    """A link would show what lies outside the folder of pictures: one among the folders, or one of the pictures named."""
    root = os.path.realpath(folder)
    links: set[str] = set()  # below the folder; folders are listed, as to ask for each of a million pictures takes long
    for below in {path.rpartition("/")[0] for path in paths}:
        real = os.path.realpath(folder / below)
        _refuse_outside(root, real, f"the folder {below!r:.80}")
        with contextlib.suppress(OSError), os.scandir(real) as entries:  # where it is missing nothing is shown
            start = f"{below}/" if below else ""
            links.update(start + entry.name for entry in entries if entry.is_symlink())
    for path in links.intersection(paths):
        _refuse_outside(root, os.path.realpath(folder / path), f"the picture {path!r:.80}")


def _refuse_outside(root: str, real: str, what: str) -> None:
    if os.path.commonpath([root, real]) != root:
        raise ValueError(f"{what} is a link to {real}, outside {root}; copy what it leads to there instead")
