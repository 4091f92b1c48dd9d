"""Folders of any pictures, real or generated and unpaired, that heads are trained on beside a bundle's own; and the list of them.

Every readable image below a folder is taken. Where the folder has a pictures.csv (file, role, licence; repository and generator
where known), only its rows are: real pictures are those whose role is not ``synthetic``, and of both domains those whose licence
permits training. Equal files count once, and what a bundle holds out for validation and test is never trained on.
"""

import argparse
import csv
import functools
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from aad.bundle import Bundle, write_atomically
from aad.files import file_sha256
from aad.spaces import Domain
from precompute.abc.splits import BenchmarkError, require
from precompute.common import figures
from precompute.common.gallery import placed, readable_images
from precompute.common.steps import encode
from precompute.common.words import table_rows

from .drawing import Pictures, may_train

LISTING = "training_pictures.csv"
OPTIONS = {Domain.REAL: "photographs", Domain.SYNTHETIC: "generated"}
_PERMIT = re.compile(r"(mit|apache|bsd|cc0|cc by)\b")
_RESTRICT = re.compile(r"\b(nc|nd|non ?commercial|no ?deriv\w*|code)\b")

Row = dict[str, str]  # of the listing


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """``--photographs`` and ``--generated``: folders to train on beside the bundle's own pictures."""
    add = functools.partial(parser.add_argument, type=Path, nargs="+", action="extend", default=[], metavar="FOLDER")
    said = "folders of {} pictures to train on as well; repeatable. With a pictures.csv: its rows that may be"
    for domain, option in OPTIONS.items():
        add(f"--{option}", help=said.format(domain))


def given_folders(arguments: argparse.Namespace) -> dict[Domain, list[Path]]:
    """What the two options say."""
    return {domain: getattr(arguments, option) for domain, option in OPTIONS.items()}


def permits_training(licence: str) -> bool:
    """Whether it is MIT, Apache, BSD, CC0, CC BY or CC BY-SA, for more than code alone.

    >>> [permits_training(name) for name in ("MIT", "Apache-2.0", "CC-BY-SA-4.0 (website)")]
    [True, True, True]
    >>> [permits_training(name) for name in ("CC BY-NC 4.0", "CC-BY-ND", "MIT (code)", "AGPL-3.0", "none stated", "")]
    [False, False, False, False, False, False]
    """
    words = " ".join(re.findall(r"[a-z0-9.]+", licence.lower()))
    return bool(_PERMIT.match(words)) and not _RESTRICT.search(words)


def training_folders(bundle: Bundle, given: Mapping[Domain, Sequence[Path]]) -> dict[Domain, list[Pictures]]:
    """The pictures of each folder that are to be trained on; says how many are passed over, and why.

    Raises:
        NotADirectoryError: a folder is not there or has no readable image.
        BenchmarkError: a pictures.csv departs from its form, or has nothing to train on.
    """
    taken: dict[Domain, list[Pictures]] = {domain: [] for domain in Domain}
    if not any(given.values()):
        return taken
    known: dict[str, str] = {}  # sha256 -> why a picture of these bytes is passed over
    for name in ("references.json", "queries.json"):
        own = Pictures(bundle, list(enumerate(bundle.read_json(name))))
        for key, entry in zip(own.keys, own.entries, strict=True):
            sha256 = key.rpartition(":")[2]
            if not may_train(entry):
                known[sha256] = f"held out by {bundle.folder} for validation or test"
            known.setdefault(sha256, f"that {bundle.folder} trains on anyway")
    for domain, folders in given.items():
        for folder in folders:
            rows, passed = _rows(folder, domain)
            kept = []
            for row in rows:
                if why := known.get(row["sha256"]):
                    passed[why] += 1
                    continue
                known[row["sha256"]] = "given twice"
                kept.append(row)
            said = [
                f"{len(kept)} {domain} pictures of {folder}",
                *(f"  {n} passed over: {why}" for why, n in passed.items()),
            ]
            print(*said, sep="\n", flush=True)
            if kept:
                taken[domain].append(Pictures(folder.resolve().parent, list(enumerate(kept))))
    return taken


def _rows(folder: Path, domain: Domain) -> tuple[list[Row], Counter[str]]:
    """A folder's pictures of a domain, with paths from the folder's own name on; and how many are passed over, by the reason."""
    root, passed, told = folder.resolve(), Counter[str](), dict[Path, Row]()  # what pictures.csv tells of each file
    table = table_rows(folder / "pictures.csv", ("file", "role", "licence"))
    for row in table or ():
        if (row["role"] == "synthetic") != (domain == Domain.SYNTHETIC):
            continue
        if not permits_training(row["licence"]):
            passed[f"licence {row['licence']!r} does not permit training" if row["licence"] else "no licence"] += 1
            continue
        path, _ = placed(root, row["file"])
        wanted = f"a path that starts at {folder} or with its own name"
        require(path.is_relative_to(root), "file", wanted, row["file"], folder / "pictures.csv", "correct it")
        told[path] = row
    if table is not None and not told:
        reasons = "; ".join(f"{n}: {why}" for why, n in passed.items()) or "no row has that role"
        raise BenchmarkError(
            f"{folder}/pictures.csv must name a {domain} picture that may be trained on, got none ({reasons}); leave {folder} out "
            f"of --{OPTIONS[domain]}"
        )
    rows = []
    for path in readable_images(folder, None if table is None else told):
        about = told.get(path, {})
        row = {"path": path.relative_to(root.parent).as_posix(), "folder": root.name}
        row |= {key: about.get(key) or "" for key in ("repository", "licence")}
        row |= {"generator": about.get("generator") or "unknown"} if domain == Domain.SYNTHETIC else {}
        rows.append(row | {"sha256": file_sha256(path)})
    return rows, passed


def write_listing(scratch: Path, folders: Mapping[Domain, Sequence[Pictures]]) -> None:
    """Write the list of all pictures into a scratch folder; where there is none, see that there is no list."""
    rows = [
        {"domain": str(domain), "folder": entry["folder"], "file": entry["path"]}
        | {key: entry.get(key, "") for key in ("repository", "generator", "licence", "sha256")}
        for domain, groups in folders.items()
        for pictures in groups
        for entry in pictures.entries
    ]
    if rows:
        write_atomically(scratch / LISTING, encode(LISTING, rows))
    else:
        (scratch / LISTING).unlink(missing_ok=True)


def read_listing(place: Path | Bundle) -> list[Row]:
    """The list in a scratch folder or in a bundle; empty where there is none."""
    if isinstance(place, Bundle):
        data = place.read_bytes(LISTING) if place.has(LISTING) else b""
    else:
        data = path.read_bytes() if (path := place / LISTING).exists() else b""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def count(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many pictures of each domain, by folder."""
    counts: dict[str, dict[str, int]] = {}
    for (folder, domain), n in Counter((row["folder"], row["domain"]) for row in rows).items():
        counts.setdefault(folder, {})[domain] = n
    return counts


def table(rows: Sequence[Row]) -> str:
    """The list in Markdown, by repository; pictures of none by their folder."""
    if not rows:
        return "These heads saw no pictures but those of their benchmark."
    rows_of: dict[str, list[Row]] = {}
    for row in rows:
        rows_of.setdefault(row["repository"] or f"{row['folder']}, of no repository", []).append(row)
    cells = []
    for place, some in [*sorted(rows_of.items(), key=lambda one: one[0].lower()), ("all", rows)]:
        n = Counter(row["domain"] for row in some)
        licences = sorted({row["licence"] or "not stated" for row in some}) if place != "all" else []
        told = (place, str(n[Domain.REAL]), str(n[Domain.SYNTHETIC]), "; ".join(licences))
        cells.append([cell.replace("|", "\\|") for cell in told])
    return figures.markdown(["repository", "real", "generated", "licence"], cells)
