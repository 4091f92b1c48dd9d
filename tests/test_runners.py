"""Runners: every job is done once and reported, whoever is killed on the way; Ray's part is in test_ray.py."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from precompute.common.runners import ATTEMPTS, RunnerError, run_shards
from tests.shard_work import Job, fail_awkwardly, square

ROOT = Path(__file__).resolve().parents[1]


def done(folder: Path) -> list[int]:
    """Jobs in the order in which they were done."""
    return [int(line.split()[0]) for line in (folder / "log").read_text().splitlines()]


def processes(folder: Path) -> set[int]:
    return {int(line.split()[1]) for line in (folder / "log").read_text().splitlines()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_job_is_done_once_and_reported(tmp_path):
    jobs = [Job(tmp_path, i) for i in range(7)]
    assert sorted(run_shards(square, jobs, workers=2)) == sorted(done(tmp_path)) == list(range(7))
    assert len(processes(tmp_path)) <= 2 and os.getpid() not in processes(tmp_path)


def test_a_single_worker_is_this_process(tmp_path):
    assert list(run_shards(square, [Job(tmp_path, i) for i in range(3)], workers=1)) == [0, 1, 2]
    assert processes(tmp_path) == {os.getpid()}


def test_no_jobs_are_no_trouble(tmp_path):
    assert list(run_shards(square, [], workers=2)) == []


def test_jobs_are_taken_as_workers_become_free(tmp_path):
    taken = []

    def jobs():
        for i in range(50):
            taken.append(i)
            yield Job(tmp_path, i)

    results = run_shards(square, jobs(), workers=2)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_a_killed_worker_is_replaced_and_its_job_done_again(tmp_path):
    kinds = {2: "dies once", 5: "dies once"}
    jobs = [Job(tmp_path, i, kinds.get(i, "")) for i in range(8)]
    assert sorted(run_shards(square, jobs, workers=2)) == sorted(done(tmp_path)) == list(range(8))


def test_a_job_that_ends_every_worker_is_named_once_all_others_are_finished(tmp_path):
    jobs = [Job(tmp_path, i, "dies" if i == 1 else "") for i in range(6)]
    with pytest.raises(RunnerError, match=rf"1 given up after ending {ATTEMPTS}.*\n  job 1: killed by SIGKILL"):
        list(run_shards(square, jobs, workers=2))
    assert sorted(done(tmp_path)) == [0, 2, 3, 4, 5]


def test_an_error_of_the_function_ends_the_run(tmp_path):
    jobs = [Job(tmp_path, i, "fails" if i == 5 else "slow") for i in range(40)]
    with pytest.raises(OSError, match="No space left") as raised:
        list(run_shards(square, jobs, workers=2))
    assert raised.value.errno == 28 and done(tmp_path)[0] in (0, 1) and len(done(tmp_path)) < 10
    with pytest.raises(RuntimeError, match="Awkward: one"):
        list(run_shards(fail_awkwardly, jobs, workers=2))


def test_a_worker_that_cannot_start_is_not_started_for_ever(monkeypatch):
    nowhere = types.ModuleType("nowhere")
    exec("def function(job): return job", nowhere.__dict__)
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    with pytest.raises(RunnerError, match=r"a worker ended before its first job \(exit code 1\)"):
        list(run_shards(nowhere.function, [1, 2, 3], workers=2))


def test_what_cannot_be_run_is_refused(tmp_path):
    with pytest.raises(RunnerError, match="--workers must be 1 or more, got 0"):
        run_shards(square, [], workers=0)
    with pytest.raises(RunnerError, match="add --runner ray"):
        run_shards(square, [], address="auto")
    with pytest.raises(RunnerError, match="one of local, ray, got 'cloud'"):
        run_shards(square, [], "cloud")


def test_ray_is_an_extra_and_its_absence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunnerError, match=r"pip install -r requirements-ray\.txt"):
        list(run_shards(square, [Job(tmp_path, 1)], "ray"))


DRIVER = """
from pathlib import Path
from precompute.common.cli import run_step
from precompute.common.runners import run_shards
from tests.shard_work import Job, square
def main(argv):
    jobs = [Job(Path(argv[0]), i, "slow") for i in range(200)]
    for result in run_shards(square, jobs, workers=2): print(result, flush=True)
if __name__ == "__main__": run_step(main)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_driver(tmp_path, how):
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with driver:
        driver.stdout.readline()
        driver.stdout.readline()
        if how == signal.SIGKILL:
            driver.kill()
        else:
            os.killpg(driver.pid, how)  # as a terminal does: to the driver and to its workers
        _, said = driver.communicate(timeout=30)
    if how == signal.SIGINT:
        assert (
            driver.returncode == 130 and "interrupted; run the same command again" in said and "Traceback" not in said
        )
    deadline = time.monotonic() + 10
    while any(map(alive, processes(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, processes(tmp_path)))
    assert not list(tmp_path.glob(".*.partial")) or how == signal.SIGKILL
