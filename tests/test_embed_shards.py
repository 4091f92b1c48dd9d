"""Embedding in shards: what is stored of a folder, tar and Parquet files, that only images decide it, and what survives a kill."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aad.backbones import load_backbone
from aad.images import load_image
from precompute import embed_shards
from precompute.common import embedding, shard_files
from precompute.common.embedded_shards import EmbeddedShards
from precompute.common.embedding import embed_sources
from precompute.common.shard_files import ShardError
from precompute.common.sources import SourceError, checked_sources
from tests.shard_work import SPEC, FakeEncoder, contents, folder_of, picture

ROOT = Path(__file__).resolve().parents[1]
NAME = "efficientnet_lite0"


def embed(out: Path, *sources: Path, encoder: FakeEncoder | None = None, workers: int = 1, size: int = 3, **options):
    """Embed with shards of three images; the pictures of each shard that went through the backbone."""
    encoder = encoder or FakeEncoder(out.with_suffix(".log"))
    before = len(encoder.embedded())
    embed_sources(
        checked_sources(sources), encoder, options.pop("spec", SPEC), out, size=size, workers=workers, **options
    )
    return encoder.embedded()[before:]


def rows(out: Path) -> dict[str, np.ndarray]:
    """Rows by the image's name."""
    shards = EmbeddedShards.open(out)
    names = [name for table in shards.tables() for name in table["names"]]
    return dict(zip(names, np.concatenate(list(shards.rows())), strict=True))


def told(out: Path) -> dict[str, dict]:
    tables = EmbeddedShards.open(out).tables()
    return {name: said for table in tables for name, said in zip(table["names"], table["told"], strict=True)}


def encoded(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind)
    return buffer.getvalue()


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_rows_are_the_backbones_and_the_runner_is_no_part_of_them(tmp_path):
    folder = folder_of(tmp_path / "photos", 5)
    for workers in (1, 2):  # this process, and one that is started for the only shard
        options = ("--source", folder, "--out", tmp_path / f"{workers}", "--workers", workers)
        embed_shards.main([str(option) for option in options])
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    stored = rows(tmp_path / "1")
    assert list(stored) == ["000.png", "002.png", "004.png", "deep/001.png", "deep/003.png"]
    whole = load_backbone(NAME).embed([load_image(folder / name) for name in stored])
    found = np.stack(list(stored.values()))
    assert found.dtype == np.float16 and np.abs(found - whole).max() < 1e-3
    about = EmbeddedShards.open(tmp_path / "1").about
    assert [(entry["file"], entry["n"]) for entry in about["shards"]] == [("00000.npy", 5)]
    assert about["backbone"]["sha256"] == load_backbone(NAME).spec.sha256 and about["sources"] == ["../photos"]


def test_a_second_run_computes_nothing_and_changes_nothing(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 7), tmp_path / "out"
    assert embed(out, folder) == [3, 3, 1]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "embedded.json"}
    assert embed(out, folder) == []
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_only_what_is_damaged_changed_or_gone_is_computed_again(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 9), tmp_path / "out"
    embed(out, folder)
    before = contents(out)
    spoilt = bytearray(before["00001.npy"])
    spoilt[-1] ^= 1
    (out / "00001.npy").write_bytes(bytes(spoilt))
    assert embed(out, folder) == [3] and contents(out) == before
    (out / "00002.json").unlink()
    (out / ".00001.npy.77.partial").write_bytes(b"what a power cut leaves")
    assert embed(out, folder) == [3] and contents(out) == before
    picture(99).save(folder / "000.png")
    assert embed(out, folder) == [3]
    changed = [name for name, data in contents(out).items() if data != before[name]]
    assert changed == ["00000.json", "00000.npy", "embedded.json"]
    for path in (folder / "deep").iterdir():
        path.unlink()
    embed(out, folder)
    assert len(rows(out)) == 5 and "00002.npy" not in contents(out)


def test_a_killed_worker_leaves_the_same_bytes(tmp_path):
    folder = folder_of(tmp_path / "photos", 14)
    embed(tmp_path / "whole", folder)
    encoder = FakeEncoder(tmp_path / "log", deadly=tmp_path / "killed")
    done = embed(tmp_path / "out", folder, encoder=encoder, workers=2)
    assert encoder.deadly.exists()
    assert len(done) == 6 and sum(done) in (14 + 2, 14 + 3)  # one shard twice
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


DRIVER = """
import sys
from pathlib import Path
from precompute.common.cli import run_step
from precompute.common.embedding import embed_sources
from precompute.common.sources import checked_sources
from tests.shard_work import SPEC, FakeEncoder
def main(argv):
    encoder = FakeEncoder(Path(argv[2]), seconds=0.2)
    options = {"runner": argv[3], "address": argv[4]} if argv[3:] else {}
    embed_sources(checked_sources([Path(argv[0])]), encoder, SPEC, Path(argv[1]), size=3, workers=2, **options)
if __name__ == "__main__": run_step(main)
"""


def killed_midway(tmp_path: Path, folder: Path, out: Path, *, how: int = signal.SIGKILL, runner: tuple[str, ...] = ()):
    """Start a run in another process and end it once two shards are finished; its exit code and what it said."""
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, tmp_path / "driver.py", folder, out, tmp_path / "killed.log", *runner]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True) as driver:
        while len(list(out.glob("0*.json"))) < 2 and driver.poll() is None:
            time.sleep(0.02)
        driver.send_signal(how)
        _, said = driver.communicate(timeout=60)
    time.sleep(0.5)  # a worker that was at it may finish its shard
    return driver.returncode, said


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_a_killed_driver_only_what_is_missing_is_computed(tmp_path, how):
    folder, out = folder_of(tmp_path / "photos", 30), tmp_path / "out"
    embed(tmp_path / "whole", folder)
    code, said = killed_midway(tmp_path, folder, out, how=how)
    assert code == (-9 if how == signal.SIGKILL else 130), said
    assert not (out / "embedded.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("0*.json")}
    assert 2 <= len(finished) < 10
    assert embed(out, folder) == [3] * (10 - len(finished))
    assert contents(out) == contents(tmp_path / "whole")
    assert all((out / name).stat().st_mtime_ns == time for name, time in finished.items())


def test_images_that_cannot_be_read_are_listed_with_the_reason(tmp_path, capsys, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 4), tmp_path / "out"
    (folder / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(folder / "tiny.png")
    (folder / "notes.txt").write_text("not an image, and not said to be one")
    embed(out, folder)
    said = capsys.readouterr().err
    assert "2 of 6 images left out" in said and "  broken.jpg: an image must be" in said and "16 pixels" in said
    shards = EmbeddedShards.open(out)
    assert shards.shape == (4, 12) and shards.about["n_refused"] == 2
    refused = {name: why for table in shards.tables() for name, why in table["refused"].items()}
    assert list(refused) == ["broken.jpg", "tiny.png"]
    monkeypatch.setattr(embedding, "SHOWN", 1)
    embed(out, folder)
    assert "and 1 more: the shards' tables have all" in capsys.readouterr().err


def test_a_shard_without_a_readable_image_is_kept_and_a_source_without_one_is_refused(tmp_path):
    folder = folder_of(tmp_path / "photos", 1)
    for i in range(3):
        (folder / f"a{i}.png").write_bytes(b"broken")
    embed(tmp_path / "out", folder, size=2)
    assert [entry["n"] for entry in EmbeddedShards.open(tmp_path / "out").about["shards"]] == [1, 0]
    (folder / "000.png").unlink()
    with pytest.raises(ShardError, match="no readable image"):
        embed(tmp_path / "none", folder)
    assert not (tmp_path / "none" / "embedded.json").exists()


def test_a_tar_file_is_read_in_pieces_with_what_lies_beside_each_image(tmp_path):
    told_json = json.dumps({"caption": "A  boat", "license": "CC0-1.0", "url": "https://example.org/1", "width": 40})
    files = {"000.json": told_json.encode(), "000.png": encoded(0)}
    files |= {
        "deep/001.jpg": encoded(1, "JPEG"),
        "deep/001.txt": b"A dog\nruns",
        "002.json": b"{broken",
        "002.png": encoded(2),
    }
    files |= {
        "003.left.webp": encoded(3, "WEBP"),
        "readme.md": b"no image",
        "other/003.txt": b"of another key",
        "004.png": b"no picture",
    }
    out, source = tmp_path / "out", tar_of(tmp_path / "a.tar", files)
    embed(out, source, size=2)
    names = ["a.tar/000.png", "a.tar/deep/001.jpg", "a.tar/002.png", "a.tar/003.left.webp"]
    assert list(rows(out)) == names
    said = told(out)
    assert said[names[0]] == {"title": "A boat", "licence": "CC0-1.0", "url": "https://example.org/1"}
    assert said[names[1]] == {"title": "A dog runs"} and said[names[2]] == said[names[3]] == {}
    table = json.loads((out / "00002.json").read_bytes())
    assert list(table["refused"]) == ["a.tar/004.png"] and "(004.png)" in table["refused"]["a.tar/004.png"]
    fake = FakeEncoder(tmp_path / "log")
    expected = fake.embed([load_image(files[name.removeprefix("a.tar/")]) for name in names])
    assert np.array_equal(np.stack(list(rows(out).values())), expected.astype(np.float16))


def test_several_tar_files_change_apart_and_their_order_does_not_matter(tmp_path):
    tars = [
        tar_of(tmp_path / f"{name}.tar", {f"{i}.png": encoded(i) for i in some})
        for name, some in (("a", range(4)), ("b", range(4, 6)))
    ]
    assert embed(tmp_path / "out", *tars) == [3, 1, 2]
    embed(tmp_path / "back", *reversed(tars))
    assert contents(tmp_path / "out") == contents(tmp_path / "back")
    tar_of(tars[0], {f"{i}.png": encoded(i if i < 3 else 99) for i in range(4)})
    assert embed(tmp_path / "out", *tars) == [1]


def test_a_later_file_of_a_tar_replaces_an_earlier_one_of_its_name(tmp_path):
    path = tar_of(tmp_path / "a.tar", {"0.png": encoded(0), "1.png": encoded(1)})
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("0.png")
        info.size = len(encoded(5))
        archive.addfile(info, io.BytesIO(encoded(5)))
    embed(tmp_path / "out", path)
    fake = FakeEncoder(tmp_path / "log")
    assert np.array_equal(rows(tmp_path / "out")["a.tar/0.png"], fake.embed([picture(5)])[0].astype(np.float16))


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_rows_are_read_across_row_groups(tmp_path, form):
    images = [encoded(i) for i in range(7)]
    images[4] = None
    column = (
        images
        if form == "bytes"
        else [image and {"bytes": image, "path": f"a/my_boat_{i}.png"} for i, image in enumerate(images)]
    )
    table = pa.table(
        {
            "image": column,
            "caption": [f"boat {i}" if i < 2 else None for i in range(7)],
            "license": ["CC0"] * 7,
            "n": range(7),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    out = tmp_path / "out"
    assert embed(out, tmp_path / "a.parquet") == [3, 2, 1]
    assert list(rows(out)) == [f"a.parquet/{i}" for i in (0, 1, 2, 3, 5, 6)]
    fake = FakeEncoder(tmp_path / "log")
    expected = fake.embed([picture(i) for i in (0, 1, 2, 3, 5, 6)])
    assert np.array_equal(np.stack(list(rows(out).values())), expected.astype(np.float16))
    said = told(out)
    assert said["a.parquet/1"] == {"title": "boat 1", "licence": "CC0"}
    assert said["a.parquet/6"] == {"licence": "CC0"} | ({"title": "my boat 6"} if form == "struct" else {})
    assert "row 4 has no image bytes" in (out / "00001.json").read_text()


def test_the_column_of_images_is_found_or_asked_for(tmp_path):
    both = {"thumbnail": [encoded(0)], "photo": [encoded(1)]}
    pq.write_table(pa.table(both), tmp_path / "two.parquet")
    pq.write_table(pa.table({"url": ["https://example.org"]}), tmp_path / "none.parquet")
    pq.write_table(pa.table({"mask": [encoded(0)], "image": [encoded(1)]}), tmp_path / "usual.parquet")
    with pytest.raises(SourceError, match=r"one column of image bytes, got thumbnail, photo; say which with --column"):
        embed(tmp_path / "out", tmp_path / "two.parquet")
    with pytest.raises(SourceError, match=r"got none; say which with --column"):
        embed(tmp_path / "out", tmp_path / "none.parquet")
    with pytest.raises(SourceError, match=r"a column 'picture' of image bytes, got thumbnail, photo"):
        embed(tmp_path / "out", tmp_path / "two.parquet", column="picture")
    fake = FakeEncoder(tmp_path / "log")
    embed(tmp_path / "photo", tmp_path / "two.parquet", column="photo")
    embed(tmp_path / "usual", tmp_path / "usual.parquet")
    expected = fake.embed([picture(1)])[0].astype(np.float16)
    assert np.array_equal(rows(tmp_path / "photo")["two.parquet/0"], expected)
    assert np.array_equal(rows(tmp_path / "usual")["usual.parquet/0"], expected)


def test_a_metadata_table_is_kept_and_a_change_of_it_is_seen(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 6), tmp_path / "out"
    (folder / "metadata.csv").write_text("file_name,title,licence\ndeep/001.png,A boat,CC0-1.0\n")
    embed(out, folder)
    assert told(out)["deep/001.png"] == {"title": "A boat", "licence": "CC0-1.0"} and told(out)["000.png"] == {}
    (folder / "metadata.csv").write_text("file_name,title,licence\ndeep/001.png,A ship,CC0-1.0\n")
    assert embed(out, folder) == [3] and told(out)["deep/001.png"]["title"] == "A ship"


def test_sources_that_cannot_be_used_are_refused(tmp_path):
    folder = folder_of(tmp_path / "photos", 2)
    whole = tar_of(tmp_path / "a.tar", {"0.png": encoded(0), "1.png": encoded(1)})
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    tar_of(tmp_path / "empty.tar", {"readme.txt": b"nothing"})
    for sources, why in (
        ([folder, whole], "give one folder alone"),
        ([tmp_path / "a.tar.gz"], r"must be a folder, a \.tar or a \.parquet file, got .*unpack a compressed tar"),
        ([tmp_path / "absent.tar"], "does not exist"),
        ([whole, whole], "given twice"),
        ([tmp_path / "cut.tar"], "must be a complete tar file"),
        ([tmp_path / "empty.tar"], "holds no image"),
        ([tmp_path / "broken.parquet"], "must be a whole Parquet file"),
    ):
        with pytest.raises(SourceError, match=why):
            embed(tmp_path / "out", *sources)
    with pytest.raises(SystemExit):
        embed_shards.main(["--source", str(folder), "--out", str(tmp_path / "out"), "--size", "0"])


def test_a_folder_of_other_shards_is_not_written_over(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 4), tmp_path / "out"
    embed(out, folder)
    (out / "00000.json").unlink()  # a killed run of several workers need not have finished the first
    before = contents(out)
    with pytest.raises(ShardError, match="another size; choose another --out"):
        embed(out, folder, size=2)
    with pytest.raises(ShardError, match="another backbone"):
        embed(out, folder, spec=replace(SPEC, sha256="beef"))
    assert contents(out) == before


def test_a_worker_with_other_weights_is_refused(tmp_path):
    other = FakeEncoder(tmp_path / "log", spec=replace(SPEC, sha256="beef"))
    with pytest.raises(ShardError, match="this worker has another efficientnet_lite0"):
        embed(tmp_path / "out", folder_of(tmp_path / "photos", 2), encoder=other)


def test_a_full_disk_says_so_and_keeps_what_is_finished(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 7), tmp_path / "out"
    write = shard_files.write_atomically

    def full(path, data):
        if path.name.startswith("00001"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(shard_files, "write_atomically", full)
        with pytest.raises(
            ShardError, match=r"shard 00001 .* cannot be made: .*No space left.*what is finished is kept"
        ):
            embed(out, folder)
    assert embed(out, folder) == [3, 1]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ShardError, match="choose another --out"):
        embed(tmp_path / "file" / "out", folder)


def test_unfinished_and_damaged_folders_say_how_to_go_on(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 4), tmp_path / "out"
    with pytest.raises(ShardError, match=r"is missing: .*python -m precompute\.embed_shards --out"):
        EmbeddedShards.open(out)
    embed(out, folder)
    (out / "00000.npy").write_bytes(b"damaged")
    with pytest.raises(ShardError, match="sha256 is not"):
        list(EmbeddedShards.open(out).rows())
    (out / "00001.json").write_text("{}")
    with pytest.raises(ShardError, match=r"00001\.json is missing, damaged"):
        list(EmbeddedShards.open(out).tables())
    (out / "embedded.json").write_text('{"format": 99}')
    with pytest.raises(ShardError, match="format 99"):
        EmbeddedShards.open(out)
