"""Two ways to run one function over many jobs: processes of this machine, or the nodes of a Ray cluster.

A job must be a pure function of itself that leaves its result in a file, so that doing it twice, or half, does no harm. A worker
that is killed is replaced and its job done again; a job that ends three workers is named once all others are finished.
"""

import argparse
import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Event, Lock
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


class _LostError(Exception):
    """A job ended every worker that tried it. The text says how."""


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


def _each(
    jobs: Iterable[Any],
    n: int,
    submit: Callable[[Any], Any],
    finished: Callable[[Sequence[Any]], Iterable[Any]],
    result: Callable[[Any], Any],
) -> Iterator[Any]:
    """The results of jobs, n of them in work at a time; what is submitted is hashable, and ``result`` may raise ``_LostError``."""
    source, given_up = iter(jobs), []
    pending = {submit(job): job for job in islice(source, n)}
    while pending:
        for one in finished(list(pending)):
            job = pending.pop(one)
            pending |= {submit(following): following for following in islice(source, 1)}
            try:
                yield result(one)
            except _LostError as error:
                given_up.append(f"  {job}: {error}")
    if given_up:
        raise RunnerError(
            "\n".join(
                [
                    f"{len(given_up)} given up after ending {ATTEMPTS} workers each; all others are finished:",
                    *given_up,
                    "Run the same command again with fewer --workers or on a machine with more memory; look at those inputs",
                ]
            )
        )


def _in_processes(function: Callable[[Job], Result], jobs: Iterable[Job], n: int) -> Iterator[Result]:
    """A thread for each process, which knows what it is at: of a broken executor nobody can tell which job broke it."""
    context = get_context("spawn")  # a fork would copy torch's threads in whatever state they are
    started: list[BaseProcess] = []
    idle: list[tuple[BaseProcess, Connection]] = []
    lock, over = Lock(), Event()

    def worker() -> tuple[BaseProcess, Connection]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        with lock:  # a start looks after those that have ended
            process.start()
        started.append(process)
        theirs.close()  # so that the pipe ends with the process
        if over.is_set():
            process.kill()
        try:
            ours.recv()
        except (EOFError, OSError):
            raise RunnerError(f"a worker ended before its first job ({_how(process)})") from None
        return process, ours

    def tried(job: Job) -> Result:
        how = ""
        for _ in range(ATTEMPTS):
            with lock:
                at_rest = idle.pop() if idle else None
            process, pipe = at_rest or worker()
            try:
                pipe.send(job)
                result, error = pipe.recv()
            except (EOFError, OSError):
                pipe.close()
                with lock:
                    how = _how(process)
                if over.is_set():
                    break
                continue
            idle.append((process, pipe))
            if error is not None:
                raise error
            return cast(Result, result)
        raise _LostError(how)

    def finished(pending: Sequence[Future[Result]]) -> Iterable[Future[Result]]:
        return wait(pending, return_when=FIRST_COMPLETED).done

    resource_tracker.ensure_running()  # it can hear Ctrl-C again once it has started that, so not in a thread
    threads = ThreadPoolExecutor(n, initializer=_deaf)
    try:
        yield from _each(jobs, n, lambda job: threads.submit(tried, job), finished, Future.result)
    finally:
        over.set()
        threads.shutdown(wait=False, cancel_futures=True)
        for _, pipe in idle:
            pipe.close()
        for process, _ in idle:
            process.join(SECONDS_TO_END)
        for process in started:
            process.kill()  # half-done files are beside their place, and a worker may be deep in a library
        threads.shutdown()
        for process in started:
            process.join()


def _deaf() -> None:
    """Processes that this thread starts never hear Ctrl-C, not even while they load modules: who started them ends them."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does: say that it is ready, then answer job after job until the pipe ends, with the driver or by it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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


def _how(process: BaseProcess) -> str:
    """What ended a worker."""
    process.join(SECONDS_TO_END)
    process.kill()  # what a library keeps running
    process.join()
    if (code := process.exitcode or 0) < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (this machine may be out of memory)" if name == "SIGKILL" else "")
    return f"exit code {code}"


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
    gone = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "LocalRayletDiedError")
    lost = tuple(getattr(ray.exceptions, name) for name in gone)
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=ATTEMPTS - 1)(function)

    def result(reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", None) or error from None
        except lost as error:
            raise _LostError(type(error).__name__) from None

    try:
        at_once = n or max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield from _each(jobs, at_once, task.remote, lambda pending: ray.wait(list(pending), num_returns=1)[0], result)
    finally:
        ray.shutdown()  # ends this run's workers; a cluster that was there before stays
