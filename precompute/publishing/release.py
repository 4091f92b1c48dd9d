"""What a release holds: two repositories of the same name, one a bundle that loads as it is, one its pictures for looking at.

    model     the bundle's files, pictures/ with every picture that its tables name, checksums.json, LICENSE.md, README.md
    dataset   references/SPLIT/ and queries/SPLIT/, each with its pictures and a metadata.jsonl; LICENSE.md, README.md

Nothing is copied: a file of a release is its bytes, where they are made here, or the path where it lies.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from aad.bundle import Bundle, BundleError, safe_path
from aad.hub import CHECKSUMS, FORMAT, PICTURES
from precompute.common.figures import markdown
from precompute.common.steps import encode

File = bytes | Path
TABLES = ("references", "queries")
COMMON = ("licence", "concept", "split", "title", "source", "author", "url")
NOT_STATED = "not stated"
FURTHER = "that of the scene or painting its recipe names"
# The hub's identifiers for the licences that pictures usually carry; any other is "other" with a name and a link there.
_SAME = ("2.0", "2.5", "3.0", "4.0", "sa-3.0", "sa-4.0", "nc-4.0", "nc-sa-4.0")
HUB_IDS = {name: name for name in ("apache-2.0", "mit", "cc0-1.0", *(f"cc-by-{kind}" for kind in _SAME))}
HUB_IDS |= {f"gpl-{n}.0-{which}": f"gpl-{n}.0" for n in (2, 3) for which in ("only", "or-later")} | {"cc0": "cc0-1.0"}
_SHOWN = 20
_LICENCES = Path(__file__).with_name("licences.md").read_text("utf-8")


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
        return sorted({row["path"] for row in self.rows if row["licence"] == NOT_STATED})

    def licence_table(self) -> str:
        """How many pictures are under which licence, in Markdown, the most frequent first."""
        of = [Counter(row["licence"] for row in rows) for rows in (self.references, self.queries)]
        names = sorted(of[0] | of[1], key=lambda name: (-of[0][name] - of[1][name], name))
        return markdown(["licence", *TABLES], ([name, of[0][name], of[1][name]] for name in names))


def read_contents(bundle: Bundle) -> Contents:
    """Read the tables and find every picture.

    Raises:
        BundleError: a file is damaged, or pictures are missing; those are counted and named.
    """
    for name in bundle.manifest["files"]:
        bundle.read_bytes(name)
    root = (bundle.folder / bundle.section("images")).resolve()
    references, queries = (bundle.read_json(f"{name}.json") for name in TABLES)
    references = [{**row, "licence": _stated(row.get("licence"))} for row in references]
    queries = [{**row, "licence": licence_of_query(row, references)} for row in queries]
    names = list(dict.fromkeys(row["path"] for row in [*references, *queries]))
    pictures = {name: root / safe_path(name) for name in names}
    missing = [name for name, path in pictures.items() if not path.is_file()]
    if missing:
        listed = "".join(f"\n  {root / name}" for name in missing[:_SHOWN])
        raise BundleError(
            f"{len(missing)} of {len(pictures)} pictures are missing:{listed}" + ("\n  ..." if missing[_SHOWN:] else "")
        )
    for folder in sorted({parent for name in names for parent in Path(name).parents} - {Path()}):
        for path in sorted((root / folder).glob("LICEN[CS]E*")):  # a collection's own text goes with its pictures
            pictures[(folder / path.name).as_posix()] = path
    return Contents(bundle, references, queries, pictures)


def model_files(contents: Contents) -> dict[str, File]:
    """The model repository without its card: a bundle whose pictures lie inside it, with a checksum for every file."""
    bundle = contents.bundle
    manifest = {**bundle.manifest, "images": PICTURES}
    files: dict[str, File] = {"manifest.json": encode("manifest.json", manifest)}
    files |= {name: bundle.folder / name for name in sorted(manifest["files"])}
    files |= {f"{PICTURES}/{name}": path for name, path in contents.pictures.items()}
    files["LICENSE.md"] = _LICENCES.format(contents.licence_table()).encode()
    told = {}
    for name, file in tqdm(files.items(), desc="checksums", unit="file", disable=None):
        data = file if isinstance(file, bytes) else file.read_bytes()
        told[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return files | {CHECKSUMS: encode(CHECKSUMS, {"format": FORMAT, "files": told})}


def dataset_files(contents: Contents) -> dict[str, File]:
    """The dataset repository without its card: one folder of pictures and one metadata.jsonl per table and split."""
    files: dict[str, File] = {"LICENSE.md": _LICENCES.format(contents.licence_table()).encode()}
    lines: dict[str, list[str]] = {}
    placed = [f"references/{_split(row)}/{row['path']}" for row in contents.references]
    for table in TABLES:
        for row in getattr(contents, table):
            folder = f"{table}/{_split(row)}"
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


def splits(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many rows each split has; train, validation and test first."""
    order = {"train": 0, "validation": 1, "test": 2}
    return Counter(sorted(map(_split, rows), key=lambda name: (order.get(name, 9), name)))


def size(file: File) -> int:
    """Bytes of one file of a release."""
    return len(file) if isinstance(file, bytes) else file.stat().st_size


def licence_of_query(query: Mapping[str, Any], references: Sequence[Mapping[str, Any]]) -> str:
    """A synthetic picture's own licence; without one those of its exemplars, from which it is derived."""
    own = _stated(query.get("licence"))
    if own != NOT_STATED or not query.get("exemplar_ids"):
        return own
    sources = [references[i] for i in query["exemplar_ids"]]
    theirs = sorted({_stated(source.get("licence")) for source in sources})
    if NOT_STATED in theirs:
        return NOT_STATED
    used = {part["name"] for part in (query.get("recipe") or {}).values() if isinstance(part, dict) and "name" in part}
    further = used - {PurePosixPath(source["path"]).stem for source in sources}
    return " and ".join([*theirs, FURTHER] if further else theirs)


def for_card(licences: Iterable[str]) -> dict[str, Any]:
    """The licence entries of a card's front matter: one that the hub knows, or "other" with the place that names them all."""
    kinds = {HUB_IDS.get(licence.lower()) for licence in licences}
    if len(kinds) == 1 and (only := kinds.pop()):
        return {"license": only}
    return {"license": "other", "license_name": "several", "license_link": "LICENSE.md"}


def _stated(licence: str | None) -> str:
    """The licence as given, or ``NOT_STATED`` for the ways of saying nothing."""
    text = (licence or "").strip()
    return NOT_STATED if text.lower() in ("", NOT_STATED, "unknown", "none", "?") else text


def _split(row: Mapping[str, Any]) -> str:
    return re.sub(r"\W+", "_", row.get("split") or "unsplit")
