"""Which images a bundle is about: the demo benchmark's tables, or a person's own folders."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from aad.images import SUFFIXES, ImageError, load_image
from precompute.abc.splits import BenchmarkError, load_split, missing_files

N_SHOWN = 3  # missing images that an error text lists
COLUMNS = ("title", "source", "licence", "author", "url", "concept", "group")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Entries for references.json and queries.json, with the folder that their paths are relative to."""

    name: str
    root: Path
    references: list[dict[str, Any]]
    queries: list[dict[str, Any]]
    examples: list[int]
    absent: tuple[str, ...] = ()


def from_benchmark(folder: Path, names: Sequence[str] | None = None) -> Gallery:
    """The cases of a benchmark in AbC's layout, `json/*.json`; the name of a file is the split of its cases.

    exemplars.json and queries.json, where the folder has them as AbC-mini does, add what AbC's form has no room for: titles,
    licences, groups, generators, recipes. examples.json picks the queries that the app offers, and pictures beside them whose
    source is in no list.

    Args:
        folder: the dataset's own folder; paths in its json files start with the folder's name.
        names: which json files, with or without their ending; all of them when None.

    Raises:
        FileNotFoundError: no cases, or images missing; all of them are counted.
        BenchmarkError: no such json file, or one that departs from AbC's form.
    """
    cases = [(path.stem, case) for path in _case_files(folder, names) for case in load_split(path)]
    if not cases:
        raise FileNotFoundError(
            f"{folder}/json holds no cases; make the demo with: python -m precompute.build_benchmark"
        )
    if missing := missing_files([case for _, case in cases], folder.parent):
        raise FileNotFoundError(
            f"{len(missing)} images of {folder} are missing, {', '.join(missing[:N_SHOWN])} first; their paths start at "
            f"{folder.parent.resolve()}: unpack there what is missing, or choose json files with --cases"
        )
    told = {row["path"]: row for name in ("exemplars.json", "queries.json") for row in _table(folder / name)}
    references: dict[str, dict[str, Any]] = {}
    queries: dict[str, dict[str, Any]] = {}
    for split, case in cases:
        common = {"concept": case.category or case.class_id, "split": split}
        for path in case.exemplars:
            named = {"title": Path(path).stem, "source": folder.name, "licence": "not stated"}
            references[path] = told.get(path, {"path": path} | named | common)
        for kind, paths in case.queries.items():
            for path in paths:
                row = told.get(path, {"path": path, "type": kind} | common)
                queries[path] = {key: value for key, value in row.items() if key != "exemplars"}
                queries[path]["exemplar_ids"] = case.exemplars
    ids = {path: i for i, path in enumerate(sorted(references))}
    query_ids = {path: i for i, path in enumerate(sorted(queries))}
    for query in queries.values():
        query["exemplar_ids"] = [ids[path] for path in query["exemplar_ids"]]
    ordered = [queries[path] for path in query_ids]
    chosen = _table(folder / "examples.json")
    examples = [query_ids[path] for path in chosen if path in query_ids] or spread(ordered)
    absent = tuple(path for path in chosen if path not in query_ids)
    return Gallery(folder.name, folder.parent, [references[path] for path in ids], ordered, examples, absent)


def _case_files(folder: Path, names: Sequence[str] | None) -> list[Path]:
    found = sorted((folder / "json").glob("*.json"))
    if names is None:
        return found
    wanted = {name.removesuffix(".json") for name in names}
    if unknown := sorted(wanted - {path.stem for path in found}):
        there = ", ".join(path.stem for path in found) or "none"
        raise BenchmarkError(f"{folder}/json has no {', '.join(unknown)}; there are: {there}")
    return [path for path in found if path.stem in wanted]


def _table(path: Path) -> list[Any]:
    return json.loads(path.read_text("utf-8")) if path.exists() else []


def from_folders(references: Path, queries: Path | None) -> Gallery:
    """Every readable image under one's own folders.

    Titles come from file names, groups from sub-folders. A ``metadata.csv`` in the references folder, with a ``file_name`` column
    and any of title, source, licence, author, url, concept and group, says more. One in the queries folder, with a column
    ``sources``, says which references a query was made from: their file names, with ``;`` between them. Else truth is not known.

    Raises:
        NotADirectoryError: a folder does not exist or has no readable image.
        BenchmarkError: a metadata.csv lacks its column, or names a source that is not among the references.
    """
    root = Path(os.path.commonpath([folder.resolve() for folder in (references, queries) if folder]))
    told, places = metadata_of(references), dict[str, int]()
    reference_entries: list[dict[str, Any]] = []
    for path in readable_images(references):
        name = path.relative_to(references.resolve()).as_posix()
        group, title = name.rpartition("/")[0], path.stem.replace("_", " ")
        entry = {"title": f"{group} / {title}" if group else title, "source": references.name, "licence": "not stated"}
        entry |= {"group": group} if group else {}
        places[name] = len(reference_entries)
        reference_entries.append({"path": path.relative_to(root).as_posix()} | entry | told.get(name, {}))
    query_entries: list[dict[str, Any]] = []
    if queries:
        known = metadata_of(queries, ("sources",))
        for path in readable_images(queries):
            told_of = known.get(path.relative_to(queries.resolve()).as_posix(), {}).get("sources", "")
            sources = [name.strip() for name in told_of.split(";") if name.strip()]
            if lacking := [name for name in sources if name not in places]:
                raise BenchmarkError(
                    f"{queries / 'metadata.csv'} must name files below {references} as sources, got {lacking[0]} for "
                    f"{path.name}; correct it"
                )
            ids = sorted({places[name] for name in sources})
            query_entries.append({"path": path.relative_to(root).as_posix(), "type": "upload", "exemplar_ids": ids})
    return Gallery(references.name, root, reference_entries, query_entries, spread(query_entries))


def spread(queries: Sequence[dict[str, Any]], n: int = 12) -> list[int]:
    """Up to n query ids in turn from each type, test split first."""
    by_type: dict[str, list[int]] = {}
    for i in sorted(range(len(queries)), key=lambda i: queries[i].get("split") != "test"):
        by_type.setdefault(queries[i]["type"], []).append(i)
    rows = max((len(ids) for ids in by_type.values()), default=0)
    return [ids[row] for row in range(rows) for ids in by_type.values() if row < len(ids)][:n]


def readable_images(folder: Path, paths: Iterable[Path] | None = None) -> list[Path]:
    """The images of a folder that can be read; the others are listed on stderr.

    Args:
        folder: with folders in it or not.
        paths: which of its images; all below it when None.

    Raises:
        NotADirectoryError: it does not exist or has no readable image.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder of images")
    readable, refused = [], []
    images = sorted(images_below(folder.resolve())) if paths is None else list(paths)
    for path in tqdm(images, f"look through {folder.name}", unit="image", disable=None):
        try:
            load_image(path)
            readable.append(path)
        except ImageError as error:
            refused.append(f"  {path.name}: {error}")
    if refused:
        n = len(readable) + len(refused)
        print(f"{len(refused)} of {n} images in {folder} left out:", *refused, sep="\n", file=sys.stderr)
    if not readable:
        raise NotADirectoryError(f"{folder} holds no readable image ({', '.join(SUFFIXES)})")
    return readable


def images_below(folder: Path) -> Iterator[Path]:
    """Every image file, one directory at a time, so that a million names are never held together."""

    def fail(error: OSError) -> None:
        raise error

    for place, below, names in os.walk(folder, onerror=fail):
        below.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def placed(folder: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    """Where a picture lies whose name starts at the folder or with its own name, and the parts of its path below the folder."""
    parts = PurePosixPath(name).parts
    if (folder / name).exists():
        return folder / name, parts
    return folder.resolve().parent / name, parts[1:]


def picture_rows(folder: Path, columns: Sequence[str]) -> list[dict[str, str]] | None:
    """The rows of a folder's pictures.csv, which has these columns; None where there is no such file.

    Raises:
        BenchmarkError: it cannot be read, or lacks a column.
    """
    return _rows(folder / "pictures.csv", columns)


def metadata_of(folder: Path, columns: Sequence[str] = COLUMNS) -> dict[str, dict[str, str]]:
    """What a folder's metadata.csv says of each file in these columns, by its name; nothing where there is no such file."""
    rows = _rows(folder / "metadata.csv", ("file_name",)) or ()
    return {row["file_name"]: {key: row[key] for key in columns if row.get(key)} for row in rows}


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]] | None:
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines, restval="")
            if missing := [column for column in columns if column not in (table.fieldnames or ())]:
                raise ValueError(f"no {missing[0]}")
            return list(table)
    except (ValueError, csv.Error) as error:
        wanted = " and ".join(filter(None, [", ".join(columns[:-1]), columns[-1]]))
        raise BenchmarkError(f"{path} must be UTF-8 with the columns {wanted} ({error}); correct it") from None
