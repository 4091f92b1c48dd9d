"""Which images a bundle is about: the demo benchmark's tables, or a person's own folders."""

import json
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from aad.bundle import BundleError, safe_path
from aad.files import write_atomically
from aad.images import SUFFIXES, ImageError, drawn_bytes, is_drawn, load_image
from precompute.abc.splits import BenchmarkError, load_split, missing_files
from precompute.common.ahead import ahead
from precompute.common.words import TABLES, Told, plain

N_SHOWN = 3  # missing images that an error text lists
N_LISTED = 20  # images that are left out
#: what disks, systems and archives leave in folders; and all that begins with a dot
LITTER = {"@eadir", "__macosx", "$recycle.bin", "#recycle", "@recycle", "lost+found", "thumbs.db", "desktop.ini"}


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
        raise FileNotFoundError(f"{folder}/json holds no cases; make the demo: python -m precompute.build_benchmark")
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


def from_folders(
    references: Path, queries: Path | None, bundle: Path, check: Callable[[Path], object] = load_image
) -> Gallery:
    """Every readable image under one's own folders, as ``readable_images`` sees it.

    Titles come from file names, groups from sub-folders. A ``metadata.csv`` or ``metadata.jsonl`` in the references folder, with a
    ``file_name`` and any of title, source, licence, author, url, concept and group, says more; so do KEY.txt and KEY.json beside
    KEY.jpg. One in the queries folder, with ``sources``, says which references a query was made from: their file names, with ``;``
    between them. Else truth is not known. Pictures that are links out of their folder are copied into the bundle, as the page
    serves nothing through a link; those that no browser draws become PNG there, of the same pixels. Of two folders of which
    one lies in the other, each picture counts once.

    Raises:
        NotADirectoryError: a folder does not exist or has no readable image.
        BenchmarkError: a table cannot be read, or names a source that is not among the references; or both folders are the same.
    """
    folders = [folder.resolve() for folder in (references, queries) if folder]
    if len(set(folders)) < len(folders):
        raise BenchmarkError(f"--references and --queries must be two folders, got {references} twice; name another")
    found = [
        readable_images(one, without=[other for other in (*folders, bundle.resolve()) if other != one], check=check)
        for one in folders
    ]
    try:
        everything = os.path.commonpath([*folders, bundle.resolve()])
    except ValueError:  # of Windows
        raise BenchmarkError(f"pictures and bundle must be on one drive, got {folders}, {bundle}; copy them") from None
    pairs = [(one, path) for one, paths in zip(folders, found, strict=True) for path in paths]
    stays = {path: is_drawn(path) and path.resolve().is_relative_to(one) for one, path in pairs}
    root = Path(os.path.commonpath(folders) if all(stays.values()) else everything)

    def placed_below(folder: Path, path: Path) -> tuple[str, str]:
        name = path.relative_to(folder).as_posix()
        if not stays[path]:
            data, ending = (path.read_bytes(), "") if is_drawn(path) else (drawn_bytes(path), ".png")
            path = bundle.resolve() / "pictures" / folder.name / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        return name, path.relative_to(root).as_posix()

    told, places = Told(folders[0]), dict[str, int]()
    reference_entries: list[dict[str, Any]] = []
    for path in found[0]:
        name, place = placed_below(folders[0], path)
        group, title = name.rpartition("/")[0], path.stem.replace("_", " ")
        entry = {"title": f"{group} / {title}" if group else title, "source": folders[0].name, "licence": "not stated"}
        entry |= {"group": group} if group else {}
        places[plain(name)] = len(reference_entries)
        reference_entries.append({"path": place} | entry | told.of(name))
    told.tell()
    query_entries: list[dict[str, Any]] = []
    if queries:
        known = Told(folders[1], ("sources",))
        for path in found[1]:
            name, place = placed_below(folders[1], path)
            sources = [plain(one) for one in known.of(name).get("sources", "").split(";") if one.strip()]
            if lacking := [one for one in sources if one not in places]:
                raise BenchmarkError(
                    f"{queries / 'metadata.csv'} must name files below {references} as sources, got {lacking[0]} for "
                    f"{path.name}; correct it"
                )
            ids = sorted({places[one] for one in sources})
            query_entries.append({"path": place, "type": "upload", "exemplar_ids": ids})
        known.tell()
    return Gallery(folders[0].name, root, reference_entries, query_entries, spread(query_entries))


def spread(queries: Sequence[dict[str, Any]], n: int = 12) -> list[int]:
    """Up to n query ids in turn from each type, test split first."""
    by_type: dict[str, list[int]] = {}
    for i in sorted(range(len(queries)), key=lambda i: queries[i].get("split") != "test"):
        by_type.setdefault(queries[i]["type"], []).append(i)
    rows = max((len(ids) for ids in by_type.values()), default=0)
    return [ids[row] for row in range(rows) for ids in by_type.values() if row < len(ids)][:n]


def readable_images(
    folder: Path,
    paths: Iterable[Path] | None = None,
    without: Sequence[Path] = (),
    links: bool = True,
    check: Callable[[Path], object] = load_image,
) -> list[Path]:
    """The images of a folder that can be read; the others are listed on stderr, the first of them by name.

    Args:
        folder: with folders in it or not.
        paths: which of its images; all below it when None.
        without: folders whose images do not count, resolved; one that holds this folder has no effect.
        links: whether those that lie elsewhere are taken.
        check: raises an ``ImageError`` for one that cannot be read; called from several threads.

    Raises:
        NotADirectoryError: it does not exist or has no readable image.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder of images")
    root, why = folder.resolve(), dict[Path, ImageError]()
    images = sorted(images_below(root, without)) if paths is None else list(paths)

    def look(path: Path) -> None:
        try:
            check_place(os.path.relpath(path, root), None if links else root)
            check(path)
        except ImageError as error:
            why[path] = error

    with ahead(look, images, len(images)) as looked:
        deque(tqdm(looked, f"look through {folder.name}", len(images), unit="image", disable=None), 0)
    readable = [path for path in images if path not in why]
    if why:
        refused = [f"  {path.name}: {why[path]}".encode("utf-8", "replace").decode() for path in images if path in why]
        more = len(refused) - N_LISTED
        listed = [*refused[:N_LISTED], *([f"  and {more} more"] if more > 0 else [])]
        print(f"{len(refused)} of {len(images)} images in {folder} left out:", *listed, sep="\n", file=sys.stderr)
    if not readable:
        raise NotADirectoryError(f"{folder} holds no readable image ({', '.join(SUFFIXES)})")
    return readable


def check_place(name: str, folder: Path | None = None) -> None:
    """That the app opens a bundle which names this picture, by its path below its folder, and serves it out of there.

    Raises:
        ImageError: it refuses to.
    """
    try:
        safe_path(name)
    except BundleError:
        raise ImageError("a picture's name must be UTF-8 without backslashes; rename it, or its folder") from None
    if folder and not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ImageError("a picture must lie in its folder, got a link out of it; copy what it leads to there")


def images_below(folder: Path, without: Sequence[Path] = ()) -> Iterator[Path]:
    """Every image file, one directory at a time, so that a million names are never held together; links are followed.

    What is passed over is counted on stderr at the end: other files by their endings, litter, dead links, folders met again.

    Args:
        folder: to look through.
        without: folders below it that are not.
    """

    def fail(error: OSError) -> None:
        raise error

    passed, seen = Counter[str](), set[str]()
    for place, below, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or any(real == str(other) for other in without):
            passed["a folder that is met again, through a link" if real in seen else "the other folder"] += 1
            below.clear()
            continue
        seen.add(real)
        litter = [name for name in (*below, *names) if name.startswith(".") or name.lower() in LITTER]
        passed["litter of a disk"] += len(litter)
        below[:] = sorted(set(below).difference(litter), key=lambda name: (Path(place, name).is_symlink(), name))
        for name in sorted(set(names).difference(litter)):
            path = Path(place, name)
            if path.suffix.lower() not in SUFFIXES:
                if name not in TABLES:
                    passed[path.suffix.lower() or "no ending"] += 1
            elif path.is_file():
                yield path
            else:
                passed["a link to nothing" if path.is_symlink() else "no file"] += 1
    tell_passed(folder, passed)


def tell_passed(place: Path, passed: Counter[str]) -> None:
    """What is not taken of a folder or a file, by its ending or the reason, on stderr."""
    if passed := +passed:
        told = ", ".join(f"{n} of {why}" if why.startswith(".") else f"{n} ({why})" for why, n in passed.most_common())
        advice = "; HEIC and JPEG XL must be converted first" if {".heic", ".heif", ".jxl"} & passed.keys() else ""
        print(f"passed over in {place}: {told}{advice}".encode("utf-8", "replace").decode(), file=sys.stderr)


def placed(folder: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    """Where a picture lies whose name starts at the folder or with its own name, and the parts of its path below the folder."""
    parts = PurePosixPath(name).parts
    if (folder / name).exists():
        return folder / name, parts
    return folder.resolve().parent / name, parts[1:]
