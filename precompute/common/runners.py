"""Two ways to run one function over many jobs: processes of this machine, or the nodes of a Ray cluster.

A job must be a pure function of itself that leaves its result in a file, so that doing it twice, or half, does no harm. A worker
that is killed is replaced and its job done again; a job that ends three workers is named once all others are finished.
"""

import argparse
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from threading import Event, Thread, local
from typing import Any, TypeVar, cast

from aad.bundle import BundleError

ATTEMPTS = 3  # a job that ends so many workers is at fault itself, most often by the memory it takes
SECONDS_TO_ANSWER = 10  # for a cluster
_STORE = 128 * 2**20  # bytes of Ray's object store on this machine: jobs are small, results smaller

Job = TypeVar("Job")
Result = TypeVar("Result")
# what does one job and waits for its result, or raises ``_LostError``; how many jobs at a time; and what ends all workers
Started = tuple[Callable[[Any], Any], int, Callable[[], object]]


class RunnerError(BundleError):
    """Jobs could not be run, or some of them ended their workers. The text says which and what to do."""


class _LostError(Exception):
    """A job ended every worker that tried it. The text says how."""


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    """``--runner``, ``--workers`` and ``--address``: what ``run_shards`` takes."""
    add = parser.add_argument
    add("--runner", choices=("local", "ray"), default="local", help="processes of this machine, or Ray (local)")
    add("--workers", type=int, metavar="N", help="jobs at a time, one core each (all cores)")
    add("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto; without it Ray starts on this machine")


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
    if runner == "ray":
        return _side_by_side(jobs, partial(_on_ray, function, workers, address, gpus))
    if address is not None:
        raise RunnerError(f"--address {address} names a Ray cluster; add --runner ray")
    n = workers or os.cpu_count() or 1
    return _side_by_side(jobs, partial(_in_processes, function, n)) if n > 1 else map(function, jobs)


def _side_by_side(jobs: Iterable[Any], start: Callable[[], Started]) -> Iterator[Any]:
    """The results of jobs, each waited for in a thread of its own."""
    call, n, stop = start()
    threads = ThreadPoolExecutor(n, initializer=_deaf)
    source, given_up = iter(jobs), []
    pending = {threads.submit(call, job): job for job in islice(source, n)}
    try:
        while pending:
            for one in wait(pending, return_when=FIRST_COMPLETED).done:
                job = pending.pop(one)
                pending |= {threads.submit(call, following): following for following in islice(source, 1)}
                try:
                    yield one.result()
                except _LostError as error:
                    given_up.append(f"  {job}: {error}")
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        stop()
        threads.shutdown()
    if given_up:
        head = f"{len(given_up)} given up after ending {ATTEMPTS} workers each; all others are finished:"
        again = "Run the same command again with fewer --workers or on a machine with more memory; look at those inputs"
        raise RunnerError("\n".join([head, *given_up, again]))


def _in_processes(function: Callable[[Job], Any], n: int) -> Started:
    """An executor of one process for each thread: of one with several nobody could tell which job broke it."""
    context = get_context("spawn")  # a fork would copy torch's threads in whatever state they are
    resource_tracker.ensure_running()  # it can hear Ctrl-C again once it has started that, so not in a thread
    own, over, pools, others = local(), Event(), list[ProcessPoolExecutor](), set(active_children())

    def call(job: Job) -> Any:
        for _ in range(ATTEMPTS):
            if over.is_set():
                break
            if getattr(own, "pool", None) is None:
                own.pool = ProcessPoolExecutor(1, context, _end_with_driver)
                pools.append(own.pool)
            try:
                return own.pool.submit(function, job).result()
            except BrokenProcessPool:
                own.pool = None
        raise _LostError("killed, as where this machine is out of memory")

    def stop() -> None:
        over.set()
        for process in set(active_children()) - others:
            process.kill()  # half-done files are beside their place, and a worker may be deep in a library
        for pool in pools:
            pool.shutdown()

    return call, n, stop


def _deaf() -> None:
    """Processes that this thread starts never hear Ctrl-C, not even while they load modules: who started them ends them."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _end_with_driver() -> None:
    """A worker whose driver was killed would wait for jobs for ever."""

    def wait_for_it() -> None:
        cast(BaseProcess, parent_process()).join()
        os._exit(1)

    Thread(target=wait_for_it, daemon=True).start()


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


def _on_ray(function: Callable[[Job], Any], n: int | None, address: str | None, gpus: float) -> Started:
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

    def call(job: Job) -> Any:
        try:
            return ray.get(task.remote(job))
        except ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", None) or error from None
        except lost as error:
            raise _LostError(type(error).__name__) from None

    at_once = n or max(1, int(ray.cluster_resources().get("CPU", 1)))
    return call, at_once, ray.shutdown  # which ends this run's workers; a cluster that was there before stays
