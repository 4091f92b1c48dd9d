"""Two ways to run one function over many jobs: processes of this machine, or the nodes of a Ray cluster.

A job must be a pure function of itself that leaves its result in a file, so that doing it twice, or half, does no harm. A worker
that is killed is replaced and its job done again; a job that ends three workers is named once all others are finished.
"""

import argparse
import os
import pickle
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from aad.bundle import BundleError

RUNNERS = ("local", "ray")
ATTEMPTS = 3  # a job that ends so many workers is at fault itself, most often by the memory it takes
SECONDS_TO_ANSWER = 10  # for a cluster
SECONDS_TO_END = 10  # for a worker that has nothing left to do
_STORE = 128 * 2**20  # bytes of Ray's object store on this machine: jobs are small, results smaller

Job = TypeVar("Job")
Result = TypeVar("Result")


class RunnerError(BundleError):
    """Jobs could not be run, or some of them ended their workers. The text says which and what to do."""


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    """``--runner``, ``--workers`` and ``--address``: what ``run_shards`` takes."""
    parser.add_argument("--runner", choices=RUNNERS, default="local", help="processes of this machine, or Ray (local)")
    parser.add_argument("--workers", type=int, metavar="N", help="jobs at a time, one core each (all cores)")
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="of a Ray cluster, or auto; without it Ray starts on this machine"
    )


def run_shards(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    runner: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> Iterator[Result]:
    """Yield the result of every job, in the order in which they finish.

    An error that the function raises is raised here and ends the run; what a job had written by then stays.

    Args:
        function: of a module that workers can import by name, and never of a script.
        jobs: taken one by one as workers become free; ``str(job)`` names one to people.
        runner: ``local`` or ``ray``.
        workers: jobs at a time; None for as many as there are cores. A single local one runs in this very process.
        address: of a Ray cluster; None starts one on this machine. Its nodes need the project under the same path, and must
            see every path that a job names: shared storage.
        gpus: of a Ray node that one job takes; Ray hides them from jobs that ask for none.

    Raises:
        RunnerError: Ray is not installed, or some jobs ended every worker that tried them.
    """
    if workers is not None and workers < 1:
        raise RunnerError(f"--workers must be 1 or more, got {workers}")
    if runner not in RUNNERS:
        raise RunnerError(f"the runner must be one of {', '.join(RUNNERS)}, got {runner!r}")
    if runner == "ray":
        return _on_ray(function, jobs, workers, address, gpus)
    if address is not None:
        raise RunnerError(f"--address {address} names a Ray cluster; add --runner ray")
    n = workers or os.cpu_count() or 1
    return _in_processes(function, jobs, n) if n > 1 else map(function, jobs)


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    job: Any = None
    attempt: int = 0  # at this job; 0 until it has said that it is ready


def _in_processes(function: Callable[[Job], Result], jobs: Iterable[Job], n: int) -> Iterator[Result]:
    """Own processes. Of a broken executor nobody can tell which job broke it, and innocent ones die with it.

    An executor of one process for each worker would tell, but takes as much code: a first job that says ready, a watch over
    orphans, and its private list of processes to end them.
    """
    source = iter(jobs)
    waiting = deque((job, 1) for job in islice(source, n))
    given_up: list[str] = []
    pool: dict[Connection, _Worker] = {}  # by our end of a worker's pipe
    try:
        for _ in range(len(waiting)):
            _start(function, pool)
        while pool:
            for pipe in cast(list[Connection], wait(list(pool))):
                worker = pool[pipe]
                was_ready = worker.attempt > 0
                try:
                    result, error = pipe.recv()
                except (EOFError, OSError):
                    code = _end(pool, pipe)
                    if not was_ready:
                        raise RunnerError(f"a worker ended before its first job ({_how(code)})") from None
                    if worker.attempt < ATTEMPTS:
                        waiting.append((worker.job, worker.attempt + 1))
                    else:
                        given_up.append(f"{worker.job}: {_how(code)}")
                    _start(function, pool)
                    continue
                if error is not None:
                    raise error
                following = waiting.popleft() if waiting else next(((job, 1) for job in source), None)
                if following is None:
                    _end(pool, pipe)
                else:
                    worker.job, worker.attempt = following
                    with suppress(OSError):  # it has just died: the next reading tells
                        pipe.send(worker.job)
                if was_ready:
                    yield result
    finally:
        for worker in pool.values():
            worker.process.kill()  # half-done files are beside their place, and a worker may be deep in a library
        for pipe in list(pool):
            _end(pool, pipe)
    _refuse(given_up)


def _start(function: Callable[[Any], Any], pool: dict[Connection, _Worker]) -> None:
    context = get_context("spawn")  # a fork would copy torch's threads in whatever state they are
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs), daemon=True)
    with _deaf():
        process.start()
    theirs.close()  # so that the pipe ends with the process
    pool[ours] = _Worker(process)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started here never hear Ctrl-C, not even while they load modules; this one hears it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # once it is started all can be heard again, so that must be before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pool: dict[Connection, _Worker], pipe: Connection) -> int | None:
    worker = pool.pop(pipe)
    pipe.close()
    worker.process.join(SECONDS_TO_END)
    worker.process.kill()  # what a library keeps running
    worker.process.join()
    code = worker.process.exitcode
    worker.process.close()
    return code


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does: say that it is ready, then answer job after job until the pipe ends, with the driver or by it."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the driver ends its workers
    answer: tuple[Any, Exception | None] = (None, None)
    while True:
        try:
            pipe.send(answer)
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = function(job), None
        except Exception as error:
            answer = None, _portable(error)


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled in the same breath
        return error
    except Exception:  # of whatever type: an exception may need arguments that it does not keep
        return RuntimeError(f"{type(error).__name__}: {error}")


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (this machine may be out of memory)" if name == "SIGKILL" else "")
    return f"exit code {code}"


def _refuse(given_up: list[str]) -> None:
    if given_up:
        raise RunnerError(
            "\n".join(
                [
                    f"{len(given_up)} given up after ending {ATTEMPTS} workers each; all others are finished:",
                    *(f"  {line}" for line in given_up),
                    "Run the same command again with fewer --workers or on a machine with more memory; look at those inputs",
                ]
            )
        )


def _see_that_it_is_there(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.removeprefix("ray://"), int(port)), SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise RunnerError(
                f"no Ray cluster answers at {address} ({error.strerror or error}): correct --address, or start one: "
                "ray start --head"
            ) from None


def _on_ray(
    function: Callable[[Job], Result], jobs: Iterable[Job], n: int | None, address: str | None, gpus: float
) -> Iterator[Result]:
    """Core tasks: Ray retries those whose worker or node died, and a small answer lives with the driver, not on a node."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    os.environ.setdefault("RAY_task_oom_retries", str(ATTEMPTS - 1))  # without end otherwise
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RunnerError("--runner ray needs Ray: run pip install -r requirements-ray.txt") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address is None:
        ray.init(address="local", num_cpus=n, include_dashboard=False, object_store_memory=_STORE, **quiet)
    else:
        _see_that_it_is_there(address)
        ray.init(address=address, **quiet)
    lost = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.LocalRayletDiedError,
    )
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS - 1)(function)
    at_once = n or max(1, int(ray.cluster_resources().get("CPU", 1)))
    given_up: list[str] = []
    try:
        source = iter(jobs)
        pending = {task.remote(job): job for job in islice(source, at_once)}
        while pending:
            finished, _ = ray.wait(list(pending), num_returns=1)
            for reference in finished:
                job = pending.pop(reference)
                following = list(islice(source, 1))
                pending |= {task.remote(one): one for one in following}
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise getattr(error, "cause", None) or error from None
                except lost as error:
                    given_up.append(f"{job}: {type(error).__name__}")
    finally:
        ray.shutdown()  # ends this run's workers; a cluster that was there before stays
    _refuse(given_up)
