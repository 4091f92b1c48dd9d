"""What people's tables and side files say of pictures, in one reader for folders, tar and Parquet files.

Tables come from Excel, LibreOffice, Windows and the hub: UTF-8, UTF-16 or cp1252, with commas, semicolons or tabs, or JSON a line.
"""

import csv
import io
import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precompute.abc.splits import BenchmarkError

COLUMNS = ("title", "source", "licence", "author", "url", "concept", "group")
TABLES = ("metadata.csv", "metadata.jsonl")
ALSO = {"licence": ("license",), "title": ("caption", "text")}
LONGEST_TITLE = 300  # characters: captions of pictures on the web can run to pages
LARGEST_NOTE = 2**20  # bytes of a KEY.json or KEY.txt that are looked at
N_SHOWN = 3  # names that a sentence lists


def told_by(row: Mapping[str, Any]) -> dict[str, str]:
    """What a row of any table says about its image, by our columns, as texts; the case of its own does not matter.

    >>> told_by({"TEXT": " A boat ", "license": "CC0-1.0", "url": None, "width": 640})
    {'title': 'A boat', 'licence': 'CC0-1.0'}
    """
    told, row = {}, {str(key).lower(): value for key, value in row.items()}
    for column in COLUMNS:
        for key in (column, *ALSO.get(column, ())):
            value = row.get(key)
            if isinstance(value, str | int | float) and (text := " ".join(str(value).split())):
                text = text.encode("utf-8", "replace").decode()  # half a surrogate pair, which JSON allows
                told[column] = text[:LONGEST_TITLE] if column == "title" else text
                break
    return told


def told_beside(notes: Mapping[str, bytes]) -> dict[str, str]:
    """What KEY.txt, a title, and KEY.json, an object, say of the picture KEY beside them; by their endings."""
    row: dict[str, Any] = {"text": _text(notes["txt"])} if "txt" in notes else {}
    try:
        said = json.loads(notes.get("json", b"{}"))
    except ValueError:
        said = None
    return told_by(row | (said if isinstance(said, dict) else {}))


class Told:
    """What metadata.csv or metadata.jsonl of a folder, and of those in it, and the files beside each picture say of its pictures.

    Args:
        folder: of them.
        columns: that are wanted as they are, instead of ours.

    Raises:
        BenchmarkError: the table cannot be read, or lacks file_name.
    """

    def __init__(self, folder: Path, columns: Sequence[str] = ()) -> None:
        self.folder, self.columns, self._rows = folder, columns, dict[str, dict[str, Any]]()
        self._by_case, self._lost, self._read = dict[str, str](), set[str](), set[str]()
        self._look("")

    def _look(self, below: str) -> None:
        """Read the table of a folder within, once; the hub's data sets have one in each."""
        if below not in self._read:
            self._read.add(below)
            for table in TABLES:
                for row in table_rows(self.folder / below / table, ("file_name",)) or ():
                    key = f"{below}{plain(str(row['file_name']))}"
                    self._rows[key] = row
                    self._by_case[key.casefold()] = key
                    self._lost.add(key)

    def of(self, name: str) -> dict[str, str]:
        """Of a picture, by its path below the folder."""
        for parent in reversed(Path(name).parents[:-1]):
            self._look(f"{parent.as_posix()}/")
        key = plain(name)
        key = key if key in self._rows else self._by_case.get(key.casefold(), key)
        self._lost.discard(key)
        row = self._rows.get(key, {})
        if self.columns:
            return {key: str(row[key]) for key in self.columns if row.get(key)}
        notes, stem = {}, self.folder / name
        for ending in ("txt", "json"):
            beside = stem.with_suffix(f".{ending}")
            if beside.is_file() and beside.stat().st_size <= LARGEST_NOTE:
                notes[ending] = beside.read_bytes()
        return told_beside(notes) | told_by(row)

    def tell(self) -> None:
        """Once all pictures were asked for: which rows named none of them."""
        if self._lost:
            some = ", ".join(sorted(self._lost)[:N_SHOWN])
            text = f"{len(self._lost)} of {len(self._rows)} rows of {self.folder}/metadata.* name no picture that is taken: {some}"
            print(text, file=sys.stderr)


def table_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """The rows of a table, which has these columns; None where there is no such file.

    Raises:
        BenchmarkError: it cannot be read, or lacks a column.
    """
    if not path.exists():
        return None
    try:
        text = _text(path.read_bytes()).lstrip("\r\n")
        if path.suffix == ".jsonl":
            objects = (json.loads(line) for line in text.split("\n") if line.strip())
            rows = [{key.lower(): value for key, value in one.items()} for one in objects]
            names = set(columns).intersection(*rows)
        else:
            start, _, rest = text.partition("\n")
            if start.lower().startswith("sep="):  # of Excel
                text, (start, _, _) = rest, rest.partition("\n")
            mark = max(",;\t", key=start.count)
            table = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=mark, skipinitialspace=True)
            table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
            rows, names = [row for row in table if row.get(columns[0])], set(table.fieldnames)
        if missing := [column for column in columns if column not in names]:
            raise ValueError(f"no {missing[0]}")
        if split := [str(row[columns[0]]) for row in rows if any(row.get(None) or ())]:
            some = ", ".join(split[:N_SHOWN])
            raise ValueError(
                f"{len(split)} rows have more cells than the first line, {some}: a comma in a cell needs quotes"
            )
        return rows
    except (ValueError, AttributeError, csv.Error) as error:
        wanted = " and ".join(filter(None, [", ".join(columns[:-1]), columns[-1]]))
        raise BenchmarkError(f"{path} must be a table with the columns {wanted} ({error}); correct it") from None


def _text(data: bytes) -> str:
    """As the program that wrote it would read it: Excel marks UTF-16 and, sometimes, UTF-8; Windows has cp1252."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[1:2] == b"\0" or data[:1] == b"\0":
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def plain(name: str) -> str:
    """A path as it is written here: of Windows, with ./ before it, or with accents apart from their letters, as on a Mac."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")
