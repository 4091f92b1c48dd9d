"""Embedding in shards: what is stored of a folder, that only images decide it, and what survives a kill; and what runs it."""

import errno
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad.backbones import load_backbone
from aad.images import load_image
from precompute import embed_shards
from precompute.common import embedding, store
from precompute.common.runners import ATTEMPTS, RunnerError, run_shards
from precompute.common.store import ShardError, Shards
from tests.small import SPEC, FakeEncoder, Job, contents, embed, folder_of, killed_midway, picture, rows, square

NAME = "efficientnet_lite0_moments"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_rows_are_the_backbones_and_the_runner_is_no_part_of_them(tmp_path, workers):
    folder, out = folder_of(tmp_path / "photos", 5), tmp_path / "1"
    for n in range(1, workers + 1):  # this process, and one that is started for the only shard
        options = ("--source", folder, "--out", tmp_path / f"{n}", "--workers", n)
        embed_shards.main([str(option) for option in options])
        assert contents(tmp_path / f"{n}") == contents(out)
    stored = rows(out)
    assert list(stored) == ["000.png", "002.png", "004.png", "deep/001.png", "deep/003.png"]
    whole = load_backbone(NAME).embed([load_image(folder / name) for name in stored])
    found = np.stack(list(stored.values()))
    assert found.dtype == np.float16 and np.abs(found - whole).max() < 1e-3
    about = Shards.open(out).about
    assert [(entry["file"], entry["n"]) for entry in about["shards"]] == [("00000.npy", 5)]
    assert about["backbone"]["sha256"] == load_backbone(NAME).spec.sha256 and about["sources"] == ["../photos"]


def test_only_what_is_damaged_changed_or_gone_is_computed_again(tmp_path):
    folder, out = folder_of(tmp_path / "photos", 9), tmp_path / "out"
    assert embed(out, folder) == [3, 3, 3]
    before, times = contents(out), {path: path.stat().st_mtime_ns for path in out.glob("0*")}
    assert embed(out, folder) == [] and contents(out) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
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


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_workers_end_with_their_driver_and_only_what_is_missing_is_computed_again(tmp_path, how):
    folder, out = folder_of(tmp_path / "photos", 30), tmp_path / "out"
    embed(tmp_path / "whole", folder)
    code, said = killed_midway(tmp_path, folder, out, how)
    assert code == (-9 if how == signal.SIGKILL else 130) and "Traceback" not in said, said
    if how == signal.SIGINT:
        assert "interrupted; run the same command again" in said and not list(out.glob(".*.partial"))
    assert not (out / "embedded.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("0*.json")}
    assert 2 <= len(finished) < 10
    assert embed(out, folder) == [3] * (10 - len(finished))
    assert contents(out) == contents(tmp_path / "whole")
    assert all((out / name).stat().st_mtime_ns == time for name, time in finished.items())


def test_images_that_cannot_be_read_are_listed_with_the_reason_and_a_source_of_no_others_is_refused(
    tmp_path, capsys, monkeypatch
):
    folder, out = folder_of(tmp_path / "photos", 4), tmp_path / "out"
    (folder / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(folder / "tiny.png")
    (folder / "notes.txt").write_text("not an image, and not said to be one")
    embed(out, folder)
    said = capsys.readouterr().err
    assert "2 of 6 images left out" in said and "  broken.jpg: an image must be" in said and "16 pixels" in said
    shards = Shards.open(out)
    assert shards.shape == (4, 12) and shards.about["n_refused"] == 2
    refused = {name: why for table in shards.tables() for name, why in table["refused"].items()}
    assert list(refused) == ["broken.jpg", "tiny.png"]
    monkeypatch.setattr(embedding, "SHOWN", 1)
    embed(tmp_path / "by two", folder, size=2)
    assert "and 1 more: the tables in" in capsys.readouterr().err
    assert [entry["n"] for entry in Shards.open(tmp_path / "by two").about["shards"]] == [2, 0, 2]  # kept without any
    for path in folder.rglob("0*.png"):
        path.unlink()
    with pytest.raises(ShardError, match="no readable image"):
        embed(tmp_path / "none", folder)
    assert not (tmp_path / "none" / "embedded.json").exists()


def test_a_worker_with_other_weights_is_refused(tmp_path):
    other = FakeEncoder(tmp_path / "log", spec=replace(SPEC, sha256="beef"))
    with pytest.raises(ShardError, match="this worker has another efficientnet_lite0"):
        embed(tmp_path / "out", folder_of(tmp_path / "photos", 2), encoder=other)


def test_a_full_disk_keeps_what_is_finished_and_the_folder_does_not_pass_for_finished(tmp_path, monkeypatch):
    folder, out = folder_of(tmp_path / "photos", 7), tmp_path / "out"
    assert embed(out, folder) == [3, 3, 1]
    for name in ("000.png", "006.png"):  # of the first two shards
        picture(99).save(folder / name)
    write = store.write_atomically

    def full(path, data):
        if path.name.startswith("00001"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", full)
        with pytest.raises(OSError, match="No space left"):
            embed(out, folder)
    assert not (out / "embedded.json").exists() and embed(out, folder) == [3]


# --- runners: every job is done once and reported, whoever is killed; Ray's part is in test_ray.py ---


def done(folder: Path, column: int = 0) -> list[int]:
    """Jobs in the order in which they were done; or, of column 1, the process of each."""
    return [int(line.split()[column]) for line in (folder / "log").read_text().splitlines()]


def test_every_job_is_done_once_though_workers_are_killed_and_one_that_ends_every_worker_is_named(tmp_path):
    kinds = {1: "dies", 2: "dies once", 5: "dies once"}
    found, jobs = [], [Job(tmp_path, i, kinds.get(i, "")) for i in range(8)]
    with pytest.raises(RunnerError, match=rf"1 given up after ending {ATTEMPTS}.*\n  job 1: killed"):
        found.extend(run_shards(square, jobs, workers=2))
    assert sorted(found) == sorted(done(tmp_path)) == [0, *range(2, 8)]
    assert os.getpid() not in done(tmp_path, 1)


def test_jobs_are_taken_as_workers_become_free_and_left_when_nobody_asks_on(tmp_path):
    taken = []

    def jobs():
        for i in range(50):
            taken.append(i)
            yield Job(tmp_path, i)

    results = run_shards(square, jobs(), workers=2)
    next(results)
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5 and len(set(done(tmp_path, 1))) <= 2


def test_an_error_of_the_function_ends_the_run(tmp_path):
    jobs = [Job(tmp_path, i, "fails" if i == 5 else "slow") for i in range(40)]
    with pytest.raises(OSError, match="No space left") as raised:
        list(run_shards(square, jobs, workers=2))
    assert raised.value.errno == 28 and done(tmp_path)[0] in (0, 1) and len(done(tmp_path)) < 10


def test_a_single_worker_is_this_process_no_jobs_are_no_trouble_and_what_cannot_be_run_is_refused(
    tmp_path, monkeypatch
):
    assert list(run_shards(square, [Job(tmp_path, i) for i in range(3)], workers=1)) == [0, 1, 2]
    assert set(done(tmp_path, 1)) == {os.getpid()}
    assert list(run_shards(square, [], workers=2)) == []
    with pytest.raises(RunnerError, match="--workers must be 1 or more, got 0"):
        run_shards(square, [], workers=0)
    with pytest.raises(RunnerError, match="add --runner ray"):
        run_shards(square, [], address="auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunnerError, match=r"pip install -r requirements-ray\.txt"):
        list(run_shards(square, [Job(tmp_path, 1)], "ray"))
