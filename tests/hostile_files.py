"""The corpus of hostile and odd files: what a public page is given sooner or later, each with what must come of it.

    python -m tests.hostile_files FOLDER

writes all of it, and a table ``files.tsv``: name, what it is, what is expected. The corpus itself stands in
`tests.odd_files` (answered), `tests.bad_files` (refused) and `tests.greedy_files` (either, but soon).
"""

from __future__ import annotations

import argparse
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from tests.bad_files import BAD
from tests.greedy_files import GREEDY, LARGEST
from tests.image_bytes import encode, picture
from tests.odd_files import ODD

#: names under which a sound picture may come, as the bytes a file system keeps
NAMES: dict[str, bytes] = {
    "not UTF-8": b"caf\xe9 \xff\xfe.png",
    "control codes": b"line\nend \x1b[31mred\x07.png",
    "a script": b"<img src=x onerror=alert(1)>.png",
    "a path, encoded": b"..%2f..%2f..%2fetc%2fpasswd",
    "a path of Windows": rb"..\..\windows\win.ini",
    "an option": b"--help.png",
    "format codes": b"%s%n{0.__class__}$HOME`id`.png",
    "writing direction": "\u202egnp.exe".encode(),
    "very long": b"a" * 251 + b".png",
    "a device of Windows": b"CON.png",
    "spaces": b"   ",
    "a dot file": b".png",
}

#: what stands where a file should -> the words of the refusal
PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder.png": (lambda path: path.mkdir(), r"must be a file, got a folder: .*name one picture file"),
    "pipe.png": (os.mkfifo, r"must be a file, got a device or pipe"),  # opening it would wait for ever
    "zero.png": (lambda path: path.symlink_to("/dev/zero"), r"must be a file, got a device or pipe"),  # never ends
    "socket.png": (lambda path: _listen(path), r"must be a file, got a device or pipe"),
    "itself.png": (lambda path: path.symlink_to(path), r"must be a readable file, .*check the path"),
    "nothing.png": (lambda path: path.symlink_to("no such file"), r"must be a readable file, .*check the path"),
    "secret.png": (lambda path: path.symlink_to("/etc/passwd"), r"got none of these \(secret.png\)"),
    "endless.png": (lambda path: path.symlink_to("/proc/self/pagemap"), r"an image (file )?must "),
}


def _listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        try:
            os.chdir(path.parent)  # the path of a socket may have 107 bytes only
            listener.bind(path.name)
        finally:
            os.chdir(here)
    assert stat.S_ISSOCK(path.stat().st_mode)


def named(folder: Path, name: bytes) -> Path:
    """A sound picture under a name of any bytes."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))  # noqa: PTH118 - pathlib joins no bytes
    path.write_bytes(encode(picture()))
    return path


def corpus() -> dict[str, tuple[Callable[[], bytes], str, str]]:
    """Name -> how it is made, what it is, what is expected."""
    files: dict[str, tuple[Callable[[], bytes], str, str]] = {}
    for name, odd in ODD.items():
        files[name] = odd.make, odd.what, f"answered: {odd.size[0]} x {odd.size[1]}, pixels known"
    for name, (what, make, words) in BAD.items():
        files[name] = make, what, f"refused: {words}"
    for name, (work, n) in GREEDY.items():
        files[name] = lambda work=work, n=n: work(n), (work.__doc__ or "greedy").splitlines()[0], "either, soon"
    for name, make in LARGEST.items():
        files[f"largest_{name}"] = make, "as large as the limits allow", "answered, within the memory ceiling"
    return files


def write_corpus(folder: Path) -> int:
    """Write every file and the table; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    files = corpus()
    for name, (make, _, _) in files.items():
        (folder / name).write_bytes(make())
    rows = ["\t".join((name, what, expected)) for name, (_, what, expected) in files.items()]
    (folder / "files.tsv").write_text("\n".join(["name\twhat it is\texpected", *rows]) + "\n", encoding="utf-8")
    return len(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go; 300 MB in all")
    folder = parser.parse_args().folder
    print(f"{write_corpus(folder)} files and files.tsv in {folder}")


if __name__ == "__main__":
    main()
