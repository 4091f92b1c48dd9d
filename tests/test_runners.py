"""Runners: every job is done once and reported, whichever worker is killed. Killed drivers: test_embed_shards.py, test_ray.py."""

import os
import sys
import types
from pathlib import Path

import pytest

from precompute.common.runners import ATTEMPTS, RunnerError, run_shards
from tests.small import Job, square


def done(folder: Path, column: int = 0) -> list[int]:
    """Jobs in the order in which they were done; or, of column 1, the process of each."""
    return [int(line.split()[column]) for line in (folder / "log").read_text().splitlines()]


def test_every_job_is_done_once_though_workers_are_killed_and_one_that_ends_every_worker_is_named(tmp_path):
    kinds = {1: "dies", 2: "dies once", 5: "dies once"}
    found, jobs = [], [Job(tmp_path, i, kinds.get(i, "")) for i in range(8)]
    with pytest.raises(RunnerError, match=rf"1 given up after ending {ATTEMPTS}.*\n  job 1: killed by SIGKILL"):
        found.extend(run_shards(square, jobs, workers=2))
    assert sorted(found) == sorted(done(tmp_path)) == [0, *range(2, 8)]
    assert os.getpid() not in done(tmp_path, 1)


def test_a_single_worker_is_this_process_and_no_jobs_are_no_trouble(tmp_path):
    assert list(run_shards(square, [Job(tmp_path, i) for i in range(3)], workers=1)) == [0, 1, 2]
    assert set(done(tmp_path, 1)) == {os.getpid()}
    assert list(run_shards(square, [], workers=2)) == []


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
    with pytest.raises(RuntimeError, match="AwkwardError: one"):
        list(run_shards(square, [Job(tmp_path, 1, "fails awkwardly")], workers=2))


def test_what_cannot_be_run_is_refused(tmp_path, monkeypatch):
    with pytest.raises(RunnerError, match="--workers must be 1 or more, got 0"):
        run_shards(square, [], workers=0)
    with pytest.raises(RunnerError, match="add --runner ray"):
        run_shards(square, [], address="auto")
    with pytest.raises(RunnerError, match="one of local, ray, got 'cloud'"):
        run_shards(square, [], "cloud")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunnerError, match=r"pip install -r requirements-ray\.txt"):
        list(run_shards(square, [Job(tmp_path, 1)], "ray"))
    nowhere = types.ModuleType("nowhere")
    exec("def function(job): return job", nowhere.__dict__)
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    with pytest.raises(RunnerError, match=r"a worker ended before its first job \(exit code 1\)"):
        list(run_shards(nowhere.function, [1, 2, 3], workers=2))
