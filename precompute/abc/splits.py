"""Read the split files of the Attribution-by-Customization benchmark (AbC), and of AbC-mini, which has the same form.

A split is a JSON list. Each entry is one customised generator: `{"exemplar": [paths], "synth": {type: [paths]},
"category": text or null, "class_id": text}`. Paths are relative to the folder that holds the dataset's own folder, with
`/` between their parts, and are kept as text here: reading a split needs no picture on disk.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_KEYS = ("exemplar", "synth", "category", "class_id")


class BenchmarkError(ValueError):
    """A split file is missing or malformed. The text names the file, the entry and the key."""


@dataclass(frozen=True, slots=True)
class Case:
    """One customised generator: its exemplars, which are the true source of each of its queries.

    Attributes:
        exemplars: Image paths relative to the dataset's parent folder; at least one, no two alike.
        queries: For each query type (`gpt`, `object`, `media` ...) the paths of its synthetic images. There may be
            none: AbC-mini has exemplars that only make the gallery larger.
        category: The concept's name, or None where the benchmark gives none (its artist and style sets).
        class_id: Names the case; unique in its file.
    """

    exemplars: tuple[str, ...]
    queries: dict[str, tuple[str, ...]]
    category: str | None
    class_id: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path of the case: exemplars, then queries type by type."""
        return self.exemplars + tuple(path for paths in self.queries.values() for path in paths)


def load_split(json_path: str | os.PathLike[str]) -> list[Case]:
    """Read one split file, in its order.

    Keys beyond the four of the form are left alone, so that a file may say more about its cases.

    Args:
        json_path: A file such as `test_artchive.json` or AbC-mini's `test.json`.

    Returns:
        One case for each entry; at least one.

    Raises:
        BenchmarkError: The file is missing, is no JSON, or departs from the form; the first departure is named.
    """
    try:
        entries = json.loads(Path(json_path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise BenchmarkError(f"a split must be a readable JSON file, got {json_path} ({reason}); check it") from error
    except ValueError as error:  # not JSON, or not even text
        raise BenchmarkError(f"a split must be JSON, got {json_path} ({error}); get the file again") from error
    if not isinstance(entries, list) or not entries:
        got = "an empty list" if entries == [] else type(entries).__name__
        raise BenchmarkError(f"a split must be a JSON list of at least one case, got {got} in {json_path}; rebuild it")
    cases = [_read_case(entry, f"{json_path}, entry {index}") for index, entry in enumerate(entries)]
    first_seen: dict[str, int] = {}
    for index, case in enumerate(cases):
        first = first_seen.setdefault(case.class_id, index)
        if first != index:
            where = f"{json_path}, entry {index}"
            raise _departure(where, "class_id", "unique in its file", f"{case.class_id!r}, as in entry {first}")
    return cases


def missing_files(cases: Iterable[Case], root: str | os.PathLike[str]) -> list[str]:
    """List all the images the cases name that are not there, each once, in the order they are named.

    Args:
        cases: Cases of one or several splits.
        root: The folder their paths start from, which holds the dataset's own folder.
    """
    folder = Path(root)
    paths = dict.fromkeys(path for case in cases for path in case.paths)
    return [path for path in paths if not (folder / path).is_file()]


def _read_case(entry: Any, where: str) -> Case:
    if not isinstance(entry, dict):
        raise BenchmarkError(f"a case must be a JSON object, got {type(entry).__name__} in {where}; rebuild the file")
    for key in _KEYS:
        if key not in entry:
            raise _departure(where, key, "present", f"only {', '.join(sorted(entry)) or 'no keys'}")
    exemplars = _read_paths(entry["exemplar"], where, "exemplar")
    if not exemplars:
        raise _departure(where, "exemplar", "a list of at least one path", "none")
    synth = entry["synth"]
    if not isinstance(synth, dict):
        raise _departure(where, "synth", "an object from query type to a list of paths", type(synth).__name__)
    queries = {kind: _read_paths(paths, where, f"synth.{kind}") for kind, paths in synth.items()}
    category, class_id = entry["category"], entry["class_id"]
    if category is not None and not isinstance(category, str):
        raise _departure(where, "category", "text or null", repr(category))
    if not isinstance(class_id, str) or not class_id:
        raise _departure(where, "class_id", "text that is not empty", repr(class_id))
    return Case(exemplars, queries, category, class_id)


def _read_paths(value: Any, where: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _departure(where, key, "a list of paths", type(value).__name__)
    for index, path in enumerate(value):
        if not isinstance(path, str) or not _stays_inside(path):
            raise _departure(where, f"{key}[{index}]", "a relative path that stays in the dataset", repr(path))
    _refuse_duplicates(value, where, key)
    return tuple(value)


def _stays_inside(path: str) -> bool:
    """Whether joining the path to a folder leads below it, also on a system that parts paths at backslashes."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and not any(c in path for c in "\\\0")


def _refuse_duplicates(paths: Sequence[str], where: str, key: str) -> None:
    if len(set(paths)) < len(paths):
        twice = next(path for index, path in enumerate(paths) if path in paths[:index])
        raise _departure(where, key, "a list in which no path stands twice", f"{twice!r} twice")


def _departure(where: str, key: str, required: str, got: str) -> BenchmarkError:
    return BenchmarkError(f"`{key}` must be {required}, got {got} in {where}; correct or rebuild the file")
