"""Read the split files of the Attribution-by-Customization benchmark (AbC), and of AbC-mini, which has the same form.

A split is a JSON list. Each entry is one customised generator: `{"exemplar": [paths], "synth": {type: [paths]},
"category": text or null, "class_id": text}`. Paths are relative to the folder that holds the dataset's own folder, with
`/` between their parts, and are kept as text here: reading a split needs no picture on disk.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any


class BenchmarkError(ValueError):
    """A file of the benchmark is missing or malformed. The text names the file, the entry and the key."""


def require(
    is_so: bool, key: str, wanted: str, got: object, where: object, remedy: str = "correct or rebuild the file"
) -> None:
    """Refuse an entry that departs from its form.

    Raises:
        BenchmarkError: it does, and the text says how.
    """
    if not is_so:
        raise BenchmarkError(f"`{key}` must be {wanted}, got {got} in {where}; {remedy}")


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
    """Read one split file, such as `test_artchive.json` or AbC-mini's `test.json`: a case for each entry, at least one, in order.

    Keys beyond the four of the form are left alone, so that a file may say more about its cases.

    Raises:
        BenchmarkError: The file is missing, is no JSON, or departs from the form; the first departure is named.
    """
    try:
        entries = json.loads(Path(json_path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not there, not JSON, or not even text
        raise BenchmarkError(f"a split must be a readable JSON file, got {json_path} ({error}); check it") from error
    if not isinstance(entries, list) or not entries:
        got = "an empty list" if entries == [] else type(entries).__name__
        raise BenchmarkError(f"a split must be a JSON list of at least one case, got {got} in {json_path}; rebuild it")
    cases: dict[str, Case] = {}
    for index, entry in enumerate(entries):
        case = _read_case(entry, where := f"{json_path}, entry {index}")
        require(case.class_id not in cases, "class_id", "unique in its file", repr(case.class_id), where)
        cases[case.class_id] = case
    return list(cases.values())


def missing_files(cases: Iterable[Case], root: str | os.PathLike[str]) -> list[str]:
    """List all the images the cases name that are not below ``root``, the dataset's parent folder: each once, in order."""
    paths = dict.fromkeys(path for case in cases for path in case.paths)
    return [path for path in paths if not (Path(root) / path).is_file()]


def _read_case(entry: Any, where: str) -> Case:
    if not isinstance(entry, dict):
        raise BenchmarkError(f"a case must be a JSON object, got {type(entry).__name__} in {where}; rebuild the file")
    for key in ("exemplar", "synth", "category", "class_id"):
        require(key in entry, key, "present", f"only {', '.join(sorted(entry)) or 'no keys'}", where)
    exemplars, synth = _read_paths(entry["exemplar"], where, "exemplar"), entry["synth"]
    require(bool(exemplars), "exemplar", "a list of at least one path", "none", where)
    wanted = "an object from query type to a list of paths"
    require(isinstance(synth, dict), "synth", wanted, type(synth).__name__, where)
    queries = {kind: _read_paths(paths, where, f"synth.{kind}") for kind, paths in synth.items()}
    category, class_id = entry["category"], entry["class_id"]
    require(category is None or isinstance(category, str), "category", "text or null", repr(category), where)
    named = isinstance(class_id, str) and class_id != ""
    require(named, "class_id", "text that is not empty", repr(class_id), where)
    return Case(exemplars, queries, category, class_id)


def _read_paths(value: Any, where: str, key: str) -> tuple[str, ...]:
    require(isinstance(value, list), key, "a list of paths", type(value).__name__, where)
    seen: dict[str, None] = {}
    for index, path in enumerate(value):
        inside = isinstance(path, str) and _stays_inside(path)
        require(inside, f"{key}[{index}]", "a relative path that stays in the dataset", repr(path), where)
        require(path not in seen, key, "a list in which no path stands twice", f"{path!r} twice", where)
        seen[path] = None
    return tuple(seen)


def _stays_inside(path: str) -> bool:
    """Whether joining the path to a folder leads below it, also on a system that parts paths at backslashes."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and not any(c in path for c in "\\\0")
