"""Files whole or not at all, and rows written and read in parts."""

from pathlib import Path

import numpy as np
import pytest

from aad.files import naming, write_atomically
from precompute.common.rows import stored_chunks, write_rows
from precompute.common.steps import encode


def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    target = tmp_path / "file.bin"
    write_atomically(target, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("error", "name"), [(OSError(28, "full"), "here"), (OSError(28, "full", "there"), "there"), (OSError("?"), None)]
)
def test_only_an_error_of_the_disk_without_a_name_gets_one(error, name):
    with pytest.raises(OSError, match=r"full|\?") as caught, naming(Path("here")):
        raise error
    assert caught.value.filename == name


def test_a_table_is_json_that_people_can_read_and_objects_are_no_array():
    assert encode("t.json", {"b": "é", "a": 1}) == '{\n "b": "é",\n "a": 1\n}\n'.encode()
    assert encode("manifest.json", {"b": 2, "a": 1}) == b'{\n "a": 1,\n "b": 2\n}\n'  # whatever order steps ran in
    with pytest.raises(ValueError, match="allow_pickle"):
        encode("t.npy", np.array([{}], dtype=object))


def test_rows_written_in_parts_are_the_file_that_numpy_writes_and_are_read_in_parts(tmp_path):
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float16)
    np.save(tmp_path / "whole.npy", rows)
    done, path = [], tmp_path / "a" / "b" / "parts.npy"  # whose folder is made
    assert write_rows(path, rows.shape, np.array_split(rows.astype(np.float32), 3), done.append) == path
    assert done == [4, 3, 3] and path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    parts = list(stored_chunks(path, 4))
    assert [len(part) for part in parts] == [4, 4, 2] and parts[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(parts), rows.astype(np.float32))


def test_rows_that_stopped_coming_leave_no_file_and_hide_no_error(tmp_path):
    def stopping(trouble, is_gone=False):
        yield np.zeros((1, 3))
        if is_gone:
            (tmp_path / "rows.npy").unlink()
        if trouble:
            raise trouble

    for stopped, error, why in (
        (stopping(KeyboardInterrupt()), KeyboardInterrupt, None),
        (stopping(KeyError("why"), is_gone=True), KeyError, "why"),
        (stopping(None), ValueError, "2 rows were announced"),
    ):
        with pytest.raises(error, match=why):
            write_rows(tmp_path / "rows.npy", (2, 3), stopped, int)
    assert not list(tmp_path.iterdir())
