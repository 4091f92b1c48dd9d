"""The references of a bundle in columns: one is made when it is asked for, so that a million of them are not a gigabyte."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path, PurePosixPath
from typing import Any, overload

import numpy as np

from aad.answers import Query, Reference
from aad.bundle import Bundle, BundleError, safe_paths
from aad.schema import check_queries, check_references


class Words(Sequence[str]):
    """n words, each different one kept once, in the order of first sight.

    Args:
        words: the words; what is no text becomes one, and nothing at all becomes an empty one.

    >>> Words(["a", "b", "a", None])[2], Words(["a", "b", "a"]).codes.tolist()
    ('a', [0, 1, 0])
    """

    def __init__(self, words: Sequence[Any]) -> None:
        seen: dict[str, int] = {}
        texts = (word if isinstance(word, str) else "" if word is None else str(word) for word in words)
        self.codes = np.fromiter((seen.setdefault(text, len(seen)) for text in texts), np.int32, len(words))
        encoded = [text.encode("utf-8", "surrogatepass") for text in seen]
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._bytes = b"".join(encoded)  # one block: a text of its own costs fifty bytes beside its letters

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self._value(int(one)) for one in self.codes[i]]
        return self._value(int(self.codes[i]))

    def __iter__(self) -> Iterator[str]:
        values = self.values
        return (values[one] for one in self.codes.tolist())

    @property
    def values(self) -> list[str]:
        """The different words, in the order in which ``codes`` number them."""
        return [self._value(one) for one in range(len(self._ends) - 1)]

    def _value(self, one: int) -> str:
        return self._bytes[self._ends[one] : self._ends[one + 1]].decode("utf-8", "surrogatepass")


class References(Sequence[Reference]):
    """All references of a bundle, by their ids; otherwise like a tuple of them.

    Args:
        entries: of references.json; what ``Reference`` does not name is left out.
        folder: what their paths are relative to.

    Raises:
        BundleError: a path that would leave the folder.
        KeyError: an entry without a path, a title, a source or a licence.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]], folder: Path) -> None:
        self.folder = folder
        paths = [one["path"] for one in entries]
        safe_paths(folder, (path for path in paths if not _is_plain(path)))
        plain = [path if _is_plain(path) else PurePosixPath(path).as_posix() for path in paths]
        self._columns = {"path": Words(plain)}
        for field in fields(Reference)[2:]:
            is_needed = field.default is MISSING
            words = (one[field.name] if is_needed else one.get(field.name, field.default) for one in entries)
            self._columns[field.name] = Words(list(words))

    def __len__(self) -> int:
        return len(self._columns["path"])

    @overload
    def __getitem__(self, i: int) -> Reference: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Reference, ...]: ...
    def __getitem__(self, i: int | slice) -> Reference | tuple[Reference, ...]:
        if isinstance(i, slice):
            return tuple(self._made(one) for one in range(*i.indices(len(self))))
        return self._made(range(len(self))[i])

    def __iter__(self) -> Iterator[Reference]:
        return (self._made(i) for i in range(len(self)))

    def __add__(self, more: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self) + more

    def words(self, field: str) -> Words:
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
    name = "references.json"
    entries = bundle.read_json(name)
    try:
        check_references(entries)
        references = References(entries, folder)
        _refuse_links(folder, references.words("path").values)
    except (ValueError, BundleError) as error:
        raise bundle.refusal(name, f"cannot be used ({error})") from None
    return references


def read_queries(bundle: Bundle, folder: Path, n: int) -> tuple[Query, ...]:
    """The bundled queries, checked; their sources are some of n references.

    Raises:
        BundleError: queries.json is missing, damaged, or holds what no query is.
    """
    name = "queries.json"
    entries = bundle.read_json(name)
    try:
        check_queries(entries, n)
        paths = safe_paths(folder, [entry["path"] for entry in entries])
        _refuse_links(folder, [entry["path"] for entry in entries])
    except (ValueError, BundleError) as error:
        raise bundle.refusal(name, f"cannot be used ({error})") from None
    told = ("type", "generator", "split", "concept", "recipe")
    return tuple(
        Query(i, path, exemplar_ids=tuple(entry["exemplar_ids"]), **{key: entry[key] for key in told if key in entry})
        for i, (entry, path) in enumerate(zip(entries, paths, strict=True))
    )


def _refuse_links(folder: Path, paths: Sequence[str]) -> None:
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


def words_of(references: Sequence[Reference], field: str) -> Words:
    """One field of all references, whatever holds them."""
    if isinstance(references, References):
        return references.words(field)
    return Words([getattr(one, field) for one in references])


def _is_plain(path: str) -> bool:
    """Surely below its folder and as a path writes itself; a look at its parts takes microseconds, of a million paths."""
    if "\\" in path or not path.isprintable():  # NUL and what is no text are not printable
        return False
    return path[:1] not in ("", "/", ".") and "//" not in path and "/." not in path and not path.endswith("/")
