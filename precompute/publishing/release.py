"""What a release holds: two repositories of the same name, one a bundle that loads as it is, one its pictures for looking at.

    model     the bundle's files, pictures/ with every picture that its tables name, checksums.json, LICENSE.md, README.md
    dataset   references/SPLIT/ and queries/SPLIT/, each with its pictures and a metadata.jsonl; LICENSE.md, README.md

Nothing is copied: a file of a release is its bytes, where they are made here, or the path where it lies.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aad.bundle import Bundle, BundleError, safe_paths
from aad.hub import CHECKSUMS, FORMAT, PICTURES
from precompute.publishing import licences

File = bytes | Path
COMMON = ("licence", "concept", "split", "title", "source", "author", "url")
UNSPLIT = "unsplit"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Contents:
    """A bundle read for publishing: its tables with a licence in every row, and where each picture lies.

    Attributes:
        bundle: the open bundle.
        references: entries of references.json.
        queries: entries of queries.json.
        pictures: path in the tables to the file on this machine, and the licence texts found beside the pictures.
    """

    bundle: Bundle
    references: list[dict[str, Any]]
    queries: list[dict[str, Any]]
    pictures: dict[str, Path]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Entries of both tables."""
        return [*self.references, *self.queries]

    @property
    def unstated(self) -> list[str]:
        """Pictures that nobody has given a licence."""
        return sorted({row["path"] for row in self.rows if row["licence"] == licences.NOT_STATED})

    def licence_table(self) -> str:
        """How many pictures are under which licence."""
        return licences.table(*([row["licence"] for row in rows] for rows in (self.references, self.queries)))


def read_contents(bundle: Bundle) -> Contents:
    """Read the tables and find every picture.

    Raises:
        BundleError: a file is damaged, or pictures are missing; those are counted and named.
    """
    for name in bundle.manifest["files"]:
        bundle.read_bytes(name)
    root = (bundle.folder / bundle.section("images", "extract_features")).resolve()
    references, queries = (bundle.read_json(f"{name}.json") for name in ("references", "queries"))
    references = [{**row, "licence": licences.stated(row.get("licence"))} for row in references]
    queries = [{**row, "licence": licences.of_query(row, references)} for row in queries]
    names = list(dict.fromkeys(row["path"] for row in [*references, *queries]))
    pictures = dict(zip(names, safe_paths(root, names), strict=True))
    missing = [name for name, path in pictures.items() if not path.is_file()]
    if missing:
        listed = "".join(f"\n  {root / name}" for name in missing[:_SHOWN])
        raise BundleError(
            f"{len(missing)} of {len(pictures)} pictures are missing:{listed}" + ("\n  ..." if missing[_SHOWN:] else "")
        )
    folders = sorted({parent for name in names for parent in Path(name).parents} - {Path()})
    for folder in folders:  # a collection's own licence text goes with its pictures
        for path in sorted((root / folder).glob("LICEN[CS]E*")):
            pictures[(folder / path.name).as_posix()] = path
    return Contents(bundle, references, queries, pictures)


def model_files(contents: Contents) -> dict[str, File]:
    """The model repository without its card: a bundle whose pictures lie inside it, with a checksum for every file."""
    bundle = contents.bundle
    manifest = {**bundle.manifest, "images": PICTURES}
    files: dict[str, File] = {"manifest.json": _json(manifest, sort_keys=True)}
    files |= {name: bundle.folder / name for name in sorted(manifest["files"])}
    files |= {f"{PICTURES}/{name}": path for name, path in contents.pictures.items()}
    files["LICENSE.md"] = licence_text(contents).encode()
    told = {}
    for name, file in tqdm(files.items(), desc="checksums", unit="file", disable=None):
        data = file if isinstance(file, bytes) else file.read_bytes()
        told[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return files | {CHECKSUMS: _json({"format": FORMAT, "files": told})}


def dataset_files(contents: Contents) -> dict[str, File]:
    """The dataset repository without its card: one folder of pictures and one metadata.jsonl per table and split."""
    files: dict[str, File] = {"LICENSE.md": licence_text(contents).encode()}
    lines: dict[str, list[str]] = {}
    placed = [f"{_folder('references', row)}/{row['path']}" for row in contents.references]
    for table, rows in (("references", contents.references), ("queries", contents.queries)):
        for row in rows:
            folder = _folder(table, row)
            told: dict[str, Any] = {"file_name": row["path"]} | {key: str(row.get(key) or "") for key in COMMON}
            if table == "references":
                told["group"] = str(row.get("group") or "")
            else:
                told |= {"type": row["type"], "generator": str(row.get("generator") or "")}
                told["exemplars"] = [placed[i] for i in row["exemplar_ids"]]
                told["recipe"] = json.dumps(row["recipe"], ensure_ascii=False) if row.get("recipe") else ""
            lines.setdefault(f"{folder}/metadata.jsonl", []).append(json.dumps(told, ensure_ascii=False))
            files[f"{folder}/{row['path']}"] = contents.pictures[row["path"]]
    shown = {row["path"] for row in contents.rows}
    files |= {f"licences/{name}": path for name, path in contents.pictures.items() if name not in shown}
    return files | {name: ("\n".join(rows) + "\n").encode() for name, rows in lines.items()}


def splits(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many rows each split has; train, validation and test first."""
    counts = Counter(_split(row) for row in rows)
    order = ("train", "validation", "test")
    return {name: counts[name] for name in sorted(counts, key=lambda n: (order.index(n) if n in order else 9, n))}


def licence_text(contents: Contents) -> str:
    """LICENSE.md of both repositories."""
    return f"""# Licences of the pictures

{contents.licence_table()}

The licence, the author and the address of every picture, where they are known, stand in `references.json` (model repository) and
in `metadata.jsonl` (dataset). A query without a licence of its own is derived from its exemplars, and from the pictures that its
recipe names besides them; it is under their terms. Whoever passes on single pictures keeps their credits with them.
"""


def size(file: File) -> int:
    """Bytes of one file of a release."""
    return len(file) if isinstance(file, bytes) else file.stat().st_size


def _folder(table: str, row: dict[str, Any]) -> str:
    return f"{table}/{_split(row)}"


def _split(row: dict[str, Any]) -> str:
    return re.sub(r"\W+", "_", row.get("split") or UNSPLIT)


def _json(content: Any, sort_keys: bool = False) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=sort_keys) + "\n").encode()
