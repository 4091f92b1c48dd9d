"""People's folders and tables: each picture and each word is taken or told of, and the app opens what comes of it."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

from aad.images import ImageError, is_drawn, load_image
from aad.references import References, _refuse_links
from precompute.abc.splits import BenchmarkError
from precompute.common.cli import run_step
from precompute.common.gallery import from_folders
from precompute.common.sources import cut
from tests.small import picture

Make = Callable[[Path], object]


def put(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, Image.registered_extensions()[path.suffix.lower()])
    return path


PIXELS = {load_image(picture(seed)).tobytes() for seed in (0, 1)}


def link(path: Path, to: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def cached(folder: Path) -> None:
    """As the hub's cache keeps a data set."""
    for i in range(2):
        put(folder.parent / "blobs" / f"{i}.png", i).rename(folder.parent / "blobs" / str(i))
        link(folder / "train" / f"{i}.png", f"../../blobs/{i}")


def bytes_named(folder: Path, name: bytes) -> None:
    path = folder / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    put(folder / "x.png").rename(path)


#: kind -> what makes it of a folder with a.png, the names that are taken besides, and words of what is told
FOLDERS: dict[str, tuple[Make, list[str], str]] = {
    "plain": (lambda at: put(at / "b" / "c.PNG"), ["b/c.PNG"], "^$"),
    "links as of the hub": (cached, ["train/0.png", "train/1.png"], "^$"),
    "a linked folder": (lambda at: (put(at.parent / "far" / "b.png"), link(at / "near", "../far")), ["near/b.png"], "^$"),
    "no browser draws them": (
        lambda at: [put(at / f"{kind}.{kind}") for kind in ("tif", "ppm")], ["ppm.ppm.png", "tif.tif.png"], "^$",
    ),
    "a TIFF by another name": (lambda at: put(at / "b.tif").rename(at / "b.png"), ["b.png.png"], "^$"),
    "a loop": (lambda at: link(at / "b" / "again", ".."), [], r"1 \(a folder that is met again"),
    "a dead link": (lambda at: link(at / "b.png", "nowhere.png"), [], r"1 \(a link to nothing\)"),
    "a link to itself": (lambda at: link(at / "b.png", "b.png"), [], r"1 \(a link to nothing\)"),
    "not UTF-8": (lambda at: bytes_named(at, b"caf\xe9.png"), [], r"1 of 2 images .*\n.*caf\?\.png: .* must be UTF-8"),
    "a folder not UTF-8": (lambda at: bytes_named(at, b"\xff/b.png"), [], "must be UTF-8"),
    "two links in a circle": (lambda at: (link(at / "b.png", "c.png"), link(at / "c.png", "b.png")), [], r"2 \(a link to"),
    "a folder that is gone": (lambda at: link(at / "b", "nowhere"), [], r"1 \(no ending\)"),
    "a pipe": (lambda at: os.mkfifo(at / "b.png"), [], r"1 \(no file\)"),
    "an empty file": (lambda at: (at / "b.png").touch(), [], r"b\.png: an image file must have content"),
    "deep": (lambda at: put(at / "b" / "c" / "d" / "e" / "f.png"), ["b/c/d/e/f.png"], "^$"),
    "a backslash": (lambda at: put(at / "b\\c.png"), [], "without backslashes; rename it"),
    "of a NAS": (lambda at: (put(at / "@eaDir" / "b.png"), put(at / "#recycle" / "b.png")), [], r"2 \(litter of a disk\)"),
    "of a Mac": (lambda at: (put(at / "__MACOSX" / "._a.png"), put(at / "._a.png"), (at / ".DS_Store").touch()), [], r"3 \(litter"),
    "of Windows": (lambda at: ((at / "Thumbs.db").touch(), put(at / "$RECYCLE.BIN" / "b.png")), [], r"2 \(litter"),
    "hidden": (lambda at: put(at / ".thumbnails" / "b.png"), [], r"1 \(litter"),
    "of a phone": (lambda at: [(at / f"{i}.HEIC").touch() for i in (0, 1)], [], r"2 of \.heic; HEIC and JPEG XL must be"),
    "other kinds": (lambda at: [(at / n).touch() for n in ("b.jxl", "c.pdf", "d")], [], r"jxl, 1 of \.pdf, 1 \(no ending\); HEIC"),
    "a folder named as a picture": (lambda at: put(at / "b.png" / "c.png"), ["b.png/c.png"], "^$"),
    "unreadable": (lambda at: [(at / f"{i}.png").write_bytes(b"x") for i in range(25)], [], r"25 of 26 (.*\n){21}.*and 5 more"),
    "odd names": (lambda at: put(at / "<b> 'q\" \n%2f" / "…é.png"), ["<b> 'q\" \n%2f/…é.png"], "^$"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_of_any_folder_the_app_opens_what_is_taken_and_the_rest_is_told(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, names, words = FOLDERS[kind]
    folder, bundle = put(tmp_path / "mine" / "a.png").parent, tmp_path / "out"
    make(folder)
    gallery = from_folders(folder, None, bundle)
    assert re.search(words, told := capsys.readouterr().err), told
    opened = References(gallery.references, gallery.root)
    _refuse_links(gallery.root, opened.words("path"))
    assert {re.sub("^(out/pictures/)?mine/", "", one["path"]) for one in gallery.references} == {"a.png", *names}
    for one in opened:
        assert is_drawn(one.path) and not one.path.is_symlink()
        assert load_image(one.path).tobytes() in PIXELS
    json.dumps(gallery.references, ensure_ascii=False).encode()
    taken = 0
    for member in (member for piece in cut([folder.resolve()], 100) for member in piece.members()):
        with suppress(ImageError):
            taken += bool(member.picture())
    assert taken == 1 + len(names) * (kind not in ("links as of the hub", "a linked folder"))


HEAD = "file_name,title,license"
#: kind -> a table, where it is not metadata.csv its name, and words of what is told or refused; a.png has the title "Möwe" then
TABLES: dict[str, tuple[str | bytes, str, str]] = {
    "as documented": ("file_name,title,licence\na.png,Möwe,CC0\n", "", "^$"),
    "license": (f"{HEAD}\na.png,Möwe,CC0\n", "", "^$"),
    "UTF-8 of Excel": (f"{HEAD}\na.png,Möwe,CC0\n".encode("utf-8-sig"), "", "^$"),
    "Unicode text of Excel": (f"{HEAD}\na.png,Möwe,CC0\n".replace(",", "\t").encode("utf-16"), "", "^$"),
    "UTF-16, the other way": (f"\ufeff{HEAD}\na.png,Möwe,CC0\n".encode("utf-16-be"), "", "^$"),
    "UTF-16 without a mark": (f"{HEAD}\na.png,Möwe,CC0\n".encode("utf-16-le"), "", "^$"),
    "Windows": (f"{HEAD}\r\na.png,Möwe,CC0\r\n".encode("cp1252"), "", "^$"),
    "old Mac": (f"{HEAD}\ra.png,Möwe,CC0\r", "", "^$"),
    "German Excel": (f"{HEAD}\r\na.png,Möwe,CC0\r\n".replace(",", ";").encode("cp1252"), "", "^$"),
    "a line for Excel": ("sep=;\nfile_name;title;license\na.png;Möwe;CC0\n", "", "^$"),
    "tabs": (f"{HEAD}\na.png,Möwe,CC0\n".replace(",", "\t"), "", "^$"),
    "blanks": (f"{HEAD.replace(',', ', ')}\na.png, Möwe, CC0\n", "", "^$"),
    "quoted": (f'{HEAD}\n"a.png","Möwe","CC0"\n', "", "^$"),
    "a comma and a line within quotes": (f'{HEAD}\na.png,"Möwe",CC0\nb.png,"a, b\nc",CC0\n', "", "1 of 2 rows .*: b.png"),
    "a separator of lines in a cell": (f"{HEAD}\na.png,Möwe,CC0\nb.png,x\u2028y,CC0\n", "", "1 of 2 rows .*: b.png"),
    "JSON lines of Windows": ('\ufeff{"FILE_NAME": ".\\\\a.png", "title": "Möwe", "licence": "CC0"}\r\n', "metadata.jsonl", "^$"),
    "CSV with a blank line first": (f"\n{HEAD}\na.png,Möwe,CC0\n", "", "^$"),
    "headings of LAION": ("FILE_NAME,TEXT,LICENSE\na.png,Möwe,CC0\n", "", "^$"),
    "empty rows of a spreadsheet": (f"{HEAD}\na.png,Möwe,CC0,,\n,,\n,,,,\n\n", "", "^$"),
    "a path of Windows": (f"{HEAD}\n.\\a.png,Möwe,CC0\n", "", "^$"),
    "./": (f"{HEAD}\n./a.png,Möwe,CC0\n", "", "^$"),
    "another case": (f"{HEAD}\nA.PNG,Möwe,CC0\n", "", "^$"),
    "JSON lines": ('{"file_name": "a.png", "text": "Möwe", "license": "CC0"}\n\n', "metadata.jsonl", "^$"),
    "a note": ("Möwe\n", "a.txt", "^$"),
    "a note of Windows": ("Möwe".encode("cp1252"), "a.txt", "^$"),
    "an object beside": ('{"caption": "Möwe", "LICENSE": "CC0", "width": 9}', "a.json", "^$"),
    "rows that name nothing": (f"{HEAD}\na.png,Möwe,CC0\nb.png,B,\nsub\\c.png,C,\n", "", r"2 of 3 rows .*b\.png, sub/c"),
    "a comma too many": (f"{HEAD}\na.png,Möwe, or gull,CC0\n", "", r"!1 rows have more cells .*, a\.png: a comma"),
    "no heading": ("a.png,Möwe,CC0\n", "", "!must be a table with the columns file_name .*no file_name.*correct it"),
    "empty": ("", "", "!must be a table with the columns file_name"),
    "a heading alone": (f"{HEAD}\n", "", "-"),
    "no JSON": ("file_name: a.png\n", "metadata.jsonl", "!must be a table with the columns file_name"),
    "JSON of no objects": ("[1]\n", "metadata.jsonl", "!must be a table"),
    "a workbook": (b"PK\3\4" + bytes(range(256)), "", "!must be a table with the columns file_name"),
    "JSON that is none": ("{", "a.json", "-"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_any_program_is_read_and_its_faults_are_told(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, name, words = TABLES[kind]
    folder = put(tmp_path / "mine" / "a.png").parent
    (folder / (name or "metadata.csv")).write_bytes(content.encode() if isinstance(content, str) else content)
    if words.startswith("!"):
        with pytest.raises(BenchmarkError, match=words[1:]) as refused:
            from_folders(folder, None, tmp_path / "out")
        assert "\n" not in str(refused.value)
        return
    (entry,) = from_folders(folder, None, tmp_path / "out").references
    told = re.sub(r"passed over .*\n", "", capsys.readouterr().err)
    if words != "-":
        assert (entry["title"], entry["licence"]) == ("Möwe", "not stated" if name == "a.txt" else "CC0")
        assert re.search(words, told), told
    (member,) = (member for piece in cut([folder.resolve()], 9) for member in piece.members())
    assert {key: entry[key] for key in member.told} == member.told and ("title" in member.told) == (words != "-")


def test_accents_of_a_mac_sources_of_windows_and_two_folders_in_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    put(mine / unicodedata.normalize("NFD", "möwe.png"))
    put(mine / "inner" / "b.png", 1)
    made = put(mine / "made" / "q.png", 2).parent
    (mine / "metadata.csv").write_text("file_name,title\nmöwe.png,A gull\n", "utf-8")
    (mine / "inner" / "metadata.csv").write_text("file_name,title\nb.png,One of the hub\nc.png,Nothing\n")
    (made / "metadata.csv").write_text("file_name,sources\nQ.png,inner\\b.png; ./möwe.png\n", "utf-8")
    gallery = from_folders(mine, made, mine / "made" / "out")
    titles, told = [one["title"] for one in gallery.references], capsys.readouterr().err
    assert titles == ["One of the hub", "A gull"], "what is asked about is no reference"
    assert gallery.queries[0]["exemplar_ids"] == [0, 1]
    assert "1 (the other folder)" in told and "picture that is taken: inner/c.png" in told
    with pytest.raises(BenchmarkError, match=r"must be two folders, got .* twice"):
        from_folders(mine, mine / "inner" / "..", tmp_path / "out")


def test_a_folder_by_a_dot_has_its_name_and_one_on_two_drives_of_windows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(put(tmp_path / "mine" / "a.png").parent)
    gallery = from_folders(Path(), None, tmp_path / "out")
    assert (gallery.name, gallery.references[0]["source"]) == ("mine", "mine")
    no_common = Mock(side_effect=ValueError("Paths don't have the same drive"))
    monkeypatch.setattr(os.path, "commonpath", no_common)  # simulated: as ntpath does
    with pytest.raises(BenchmarkError, match="must be on one drive"):
        from_folders(Path(), None, tmp_path / "out")


def test_what_is_printed_never_fails_for_a_console_of_one_language(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # simulated: output redirected on Windows
    monkeypatch.setattr(sys, "stdout", console)
    run_step(lambda argv: print("done: C:/\u5199\u771f"), [])
    console.flush()
    assert console.buffer.getvalue() == rb"done: C:/\u5199\u771f" + b"\n"
