"""What a killed, interrupted, starved or doubled run of a step leaves. Many times over: `python -m tests.endurance precompute`."""

import errno
import fcntl
import importlib
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from precompute import build_index
from precompute import run as run_steps
from precompute.common import rows
from precompute.common.cli import run_step
from precompute.common.lock import HeldError, hold
from precompute.common.store import write_table
from tests.small import python

ONE_LINE = r"^error: [^\n]*File too large[^\n]*free some space[^\n]*$"


def step(name: str, *options: object) -> None:
    """A step as its command runs it, in this process."""
    run_step(importlib.import_module(f"precompute.{name}").main, [str(option) for option in options])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def other_run(bundle: Path) -> Iterator[None]:
    """Hold the bundle as another run does: the kernel tells files that were opened apart, not processes."""
    folder = os.open(bundle, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(folder)


@contextmanager
def limited(n_bytes: int) -> Iterator[None]:
    """No file may become larger than n bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_second_run_is_refused(bundle):
    before = files(bundle)
    with other_run(bundle):
        with pytest.raises(HeldError, match=r"another run is at work in .*bundle: wait .*again$"):
            hold(bundle)
        for name, options in (
            ("calibrate", ()),
            ("train_heads", ("--heads-from", bundle)),
            ("extract_features", ("--references", bundle.parent / "pictures")),
            ("run", ("--references", bundle.parent / "pictures")),
        ):
            with pytest.raises(SystemExit, match=r"^error: another run is at work"):
                step(name, "--bundle", bundle, *options)
    assert files(bundle) == before


def test_a_run_that_died_holds_nothing_and_what_it_was_writing_is_removed(bundle):
    with other_run(bundle):
        pass
    before = files(bundle)
    (bundle / ".work").mkdir()
    for name in (".manifest.json.123.partial", ".work/.0a1b.npy.4567.partial", ".work/.tmpd1s55P"):
        (bundle / name).write_bytes(b"half")
    (bundle / ".somebody's.partial").write_bytes(b"not ours")
    hold(bundle)
    hold(bundle)  # what a run holds its own steps may use
    assert files(bundle) == before | {".somebody's.partial": b"not ours"}


def test_a_run_keeps_its_folder_from_step_to_step_and_ctrl_c_in_one_ends_it(bundle, monkeypatch, capsys):
    done = []

    def one(argv: Sequence[str]) -> None:
        hold(bundle)
        done.append(argv)
        if len(done) == 2:
            raise KeyboardInterrupt

    def other(argv: Sequence[str]) -> None:
        with pytest.raises(BlockingIOError), other_run(bundle):
            pass

    monkeypatch.setattr("precompute.calibrate.main", one)
    monkeypatch.setattr("precompute.project.main", other)
    monkeypatch.setattr(run_steps, "steps", lambda *_: [("calibrate", []), ("project", []), ("calibrate", ["--x"])] * 2)
    with pytest.raises(SystemExit) as stop:
        step("run", "--bundle", bundle, "--references", bundle.parent / "pictures")
    given = ["--bundle", str(bundle)]
    assert stop.value.code == 130 and done == [given, ["--x", *given]]
    assert "run the same command again" in capsys.readouterr().err
    with other_run(bundle):
        pass  # free again


@pytest.mark.parametrize("n_bytes", [20_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 100, 24_000))])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(bundle, capsys, n_bytes):
    before = files(bundle)
    with pytest.raises(SystemExit, match=ONE_LINE), limited(n_bytes):
        step("train_heads", "--bundle", bundle, "--heads-from", bundle)
    assert files(bundle) == before


@pytest.mark.parametrize(
    ("name", "write"),
    [  # the first is held back until it is closed
        ("rows.npy", lambda path: rows.write_rows(path, (2, 8), [np.zeros((2, 8))], int)),
        ("index.safetensors", lambda path: build_index._written(path, {"codes": np.zeros(10_000)})),
    ],
)
def test_a_large_file_that_a_full_disk_refuses_is_removed_and_named(tmp_path, name, write):
    with pytest.raises(SystemExit, match=ONE_LINE) as ended, limited(100):
        run_step(lambda _: write(tmp_path / name), [])
    assert name in str(ended.value) and not files(tmp_path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, number):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    write_table(tmp_path / "shards.json", {"n": 1})
    monkeypatch.setattr(Path, "write_bytes", refuse)
    said = rf"^error: .*{os.strerror(number)}: '.*shards.json'; give .* same command again$"
    with pytest.raises(SystemExit, match=said):
        run_step(lambda _: write_table(tmp_path / "shards.json", {"n": 2}), [])
    assert list(files(tmp_path)) == ["shards.json"] and b'"n": 1' in (tmp_path / "shards.json").read_bytes()


def test_ctrl_c_while_rows_are_written_leaves_the_bundle_as_it_was(bundle, monkeypatch, capsys):
    before = files(bundle)
    append = rows.append

    def interrupted(file: BinaryIO, part: np.ndarray) -> None:
        append(file, part)
        if "disentangled" in file.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(rows, "append", interrupted)
    with pytest.raises(SystemExit) as stop:
        step("train_heads", "--bundle", bundle, "--heads-from", bundle)
    assert stop.value.code == 130 and "run the same command again" in capsys.readouterr().err
    assert files(bundle) == before


LONG_CHECK = """
import os
from pathlib import Path
from aad.bundle import write_atomically
from tests.endurance import interrupted

def two_files(_=()):
    for name in ("a.bin", "b.bin"):
        write_atomically(Path("out", name), b"content")

Path("out").mkdir()
interrupted.everything = two_files
assert interrupted.disturbed("kills", 3)[0] == -9
left = interrupted.files()
assert left.pop("out/a.bin") == b"content" and list(left.values()) == [b"con"]
for how, code in (("full_disks", 1), ("interrupts", 130)):
    assert interrupted.disturbed(how, 1)[0] == code and interrupted.files().keys() == {"out/a.bin", *left}
"""


def test_the_long_check_sees_what_a_killed_write_leaves(tmp_path):
    # In a process of its own: it forks, which a process full of threads does not survive each time.
    python(LONG_CHECK, cwd=tmp_path)
