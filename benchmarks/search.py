"""Search in galleries of any size: time, memory, disk, recall and weights of an index, against a matrix product and a full sort.

    python -m benchmarks.search --n 1000 10000 100000 1000000 --json docs/figures/scaling.json
    python -m benchmarks.search --n 1000000 --spaces backbone aligned disentangled --methods compressed filtered exact
    python -m benchmarks.search --n 10000000 --out-of-core --scratch FOLDER

The galleries are invented. An index is built, and searched for one query at a time, in a process of its own that holds all the
spaces asked for; in turn with it the baseline is asked, where memory holds it. What it is built with are other queries, made from
other pairs, than those that are timed. Each figure of a row is the worst of the spaces; by_space has them all. Rows are read
through before each turn, as a searched gallery is in the file cache; with --out-of-core they are taken out of it before the first
search, and each process may hold 8 GB of its own (`RLIMIT_DATA`, which does not count the files that it maps).

Methods: the library's own choice where none is named, exact, compressed, and filtered (compressed, with one row in ten allowed; the
answer must be exact). With --scratch galleries and indices stay, and a second run goes on from them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import Bundle, write_atomically
from aad.calibration import Calibration
from aad.files import beside
from aad.scale.building import build_index, open_index
from aad.scale.stored import StoredRows
from aad.search import ExactIndex, SearchResult, method_for
from aad.spaces import SPACES, Space
from benchmarks.common import (
    ROOT,
    arguments,
    finish,
    keep,
    machine_line,
    memory_of,
    percentiles,
    positive,
    run,
    table,
)
from benchmarks.invented import make_gallery, make_queries, measure_domain

# As app.py does it. The other process's threads would else go on spinning for a while after its turn, on these cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

K = 100  # references asked for
SPACE, SEED = "disentangled", 0
N_QUERIES = 50  # of the synthetic domain, that are timed in each space
N_TUNING = 400  # queries that a build measures its own recall on; never those that are timed
TURN = 5  # queries of one process before the other's turn
SHARE_ALLOWED = 0.1  # of the rows, under a filter
LIMIT_GB = 8.0  # memory of its own that a process may have, out of core
LOOK_EVERY = 0.05  # seconds between two looks at the memory of a process
BASELINE = "argsort"
METHODS = ("exact", "compressed", "filtered")
COLUMNS = {
    "n": "references",
    "method": "method",
    "build_s": "build, s",
    "rows_gb": "rows on disk, GB",
    "index_gb": "index, GB",
    "build_peak_own_mb": "memory to build, MB",
    "resident_mb": "resident, MB",
    "peak_own_mb": "of its own at most, MB",
    "p50_cold_ms": "first search, median, ms",
    "p50_ms": "one query, median, ms",
    "p95_ms": "95 %, ms",
    "speedup_vs_argsort": "times faster than argsort",
    "recall_at_10": "recall@10",
    "weights_p50_ms": "with weights, ms",
    "weight_error": "weight off by",
    "remainder_error": "remainder off by",
    "note": "",
}
Search = Callable[[np.ndarray, "float | None"], tuple[Any, ...]]
Ask = Callable[..., dict[str, Any]]


class SearcherError(RuntimeError):
    """A process gave up or was ended; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A gallery of one space, its queries and their exact answers.

    Attributes:
        space: Whose measurements it was invented from.
        path: File of the n rows of dim dimensions, in the scratch folder.
        calibration: The shipped bundle's, of this space.
        tuning: (`N_TUNING`, dim) queries that a build measures itself on.
        queries: (m, dim) queries that are timed, of other real pairs.
        among: (n,) bool, the filter.
        truth: Exact answers to the queries that are timed.
        filtered: The same under the filter.
    """

    space: Space
    path: Path
    n: int
    dim: int
    calibration: Calibration
    tuning: np.ndarray
    queries: np.ndarray
    among: np.ndarray
    truth: SearchResult
    filtered: SearchResult


class Searcher:
    """A process for indices and searches: a context manager that starts it and ends it.

    Args:
        limit_gb: Memory of its own that it may have (`RLIMIT_DATA`; mapped files are not counted), or None for no limit.
    """

    def __init__(self, limit_gb: float | None = None) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _limit, (limit_gb,))
        self._peak_mb = 0.0
        self._done = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Searcher:
        """Start it, and begin to watch its memory."""
        self._pid = self.ask(os.getpid)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._done.set()
        self._pool.shutdown()
        self._looking.join()

    def ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of a module returns there.

        Raises:
            SearcherError: it failed, or the process is gone.
        """
        try:
            return self._pool.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            raise SearcherError(f"the process for {work.__name__!r} has ended; was memory short?") from error
        except Exception as error:  # whatever it is, the other methods go on
            raise SearcherError(f"{work.__name__}: {type(error).__name__}: {error}") from error

    def memory(self) -> dict[str, float]:
        """Megabytes (10^6 bytes) of the whole process: now, now without mapped files, and the highest of both so far."""
        found = memory_of(self._pid)
        self._peak_mb = max(self._peak_mb, found["own_mb"])
        return {**found, "peak_own_mb": self._peak_mb}

    def _look(self) -> None:
        with suppress(OSError, KeyError):  # it has ended
            while not self._done.wait(LOOK_EVERY):
                self.memory()


def _limit(gb: float | None) -> None:
    if gb is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(gb * 1e9),) * 2)


def build(case: Case, method: str, out: Path) -> dict[str, Any]:
    """Build the index of a gallery, its arrays to a .safetensors file."""
    from safetensors.numpy import save_file

    rows = StoredRows(case.path)
    began = time.perf_counter()
    arrays, settings = build_index(rows, case.tuning, method=method, seed=SEED)
    taken = round(time.perf_counter() - began, 3)
    save_file(arrays, partial := beside(out))
    partial.replace(out)
    return {"build_s": taken, "settings": settings, "index_bytes": sum(array.nbytes for array in arrays.values())}


_OPENED: list[tuple[Search, np.ndarray]] = []


def open_gallery(case: Case, method: str, index: dict[str, Any] | None = None) -> int:
    """Open an index, or a baseline, for a gallery's queries; the number by which `search` knows it."""
    rows = StoredRows(case.path)
    search = _baseline(rows) if index is None else _indexed(case, rows, method, index)
    _OPENED.append((search, case.queries))
    return len(_OPENED) - 1


def _indexed(case: Case, rows: StoredRows, method: str, built: dict[str, Any]) -> Search:
    from safetensors.numpy import load_file

    index = open_index(rows, load_file(built["path"]), built["settings"])
    among = case.among if method == "filtered" else None

    def search(query: np.ndarray, beta: float | None) -> tuple[Any, ...]:
        found = index.search(query, K, among=among, inverse_temperature=beta)
        return found.ids[0], found.similarities[0], found.log_mass, found.estimated

    return search


def _baseline(rows: StoredRows) -> Search:
    import torch

    held = torch.empty(rows.shape)
    for start, chunk in rows.chunks():
        held[start : start + len(chunk)] = torch.from_numpy(chunk)

    def search(query: np.ndarray, beta: float | None) -> tuple[Any, ...]:
        with torch.inference_mode():
            similarities = held @ torch.from_numpy(query[0])
            ids = torch.argsort(similarities, descending=True)[:K]
            return ids.numpy(), similarities[ids].numpy(), None, False

    return search


def search(number: int, turn: Sequence[int], beta: float | None = None) -> dict[str, Any]:
    """Search for the queries from the first to before the last, one at a time; with ``beta`` for the mass of the gallery, too."""
    one, queries = _OPENED[number]
    found = []
    for query in queries[turn[0] : turn[1]]:
        began = time.perf_counter()
        answer = one(query[None], beta)
        found.append((1000 * (time.perf_counter() - began), *answer))
    times, ids, similarities, masses, estimated = zip(*found, strict=True)
    log_mass = None if beta is None else np.concatenate(masses)
    return {"ms": times, "ids": ids, "similarities": similarities, "log_mass": log_mass, "estimated": any(estimated)}


def say(text: str) -> None:
    """A line about progress, on stderr so that stdout stays the report."""
    print(f"  {text}", file=sys.stderr, flush=True)


def prepare_case(scratch: Path, space: Space | str, n: int, dim: int) -> Case:
    """Make, or find, the gallery of one space, and answer its queries exactly.

    Raises:
        ShortOfDisk: there is no room for the gallery.
    """
    space = Space(space)
    domain = measure_domain(space, dim)
    path = make_gallery(scratch, domain, n, seed=SEED)
    calibration = Calibration(**Bundle.open().section("calibration")[space])
    tuning, queries = (
        make_queries(domain, path, m, seed=SEED, half=half)[0] for m, half in ((N_TUNING, 0), (N_QUERIES, 1))
    )
    among = np.random.default_rng([SEED, 2]).random(n) < SHARE_ALLOWED
    say(f"{space}: {n:,} rows; answering {len(queries)} queries exactly")
    index, beta = ExactIndex(StoredRows(path)), calibration.inverse_temperature
    truth, filtered = (index.search(queries, K, among=one, inverse_temperature=beta) for one in (None, among))
    return Case(space, path, n, dim, calibration, tuning, queries, among, truth, filtered)


def recall_of(found: Sequence[Sequence[int] | np.ndarray], truth: np.ndarray, k: int = 10) -> float:
    """Mean share of the true first k that are among the first k found.

    >>> recall_of([[3, 1, 2]], np.array([[1, 3, 9]]), k=2)
    1.0
    """
    return float(np.mean([np.isin(true[:k], ids[:k]).mean() for ids, true in zip(found, truth, strict=True)]))


def weight_errors(case: Case, answer: dict[str, Any], truth: SearchResult) -> dict[str, Any]:
    """How far estimated weights are from the exact ones, as mean absolute differences.

    Args:
        case: With the calibration of its space.
        answer: Of `search` with the inverse temperature.
        truth: Exact answers to the same queries.
    """
    assert truth.log_mass is not None

    def shares(similarities: Sequence[np.ndarray] | np.ndarray, log_mass: np.ndarray) -> np.ndarray:
        found = [case.calibration.shares(row[:1], mass) for row, mass in zip(similarities, log_mass, strict=True)]
        return np.array([(weights[0], remainder) for weights, remainder in found])

    exact = shares(truth.similarities, truth.log_mass)
    weight, remainder = np.abs(shares(answer["similarities"], answer["log_mass"]) - exact).mean(0).tolist()
    return {
        "estimated": answer["estimated"],
        "weight_error": weight,
        "remainder_error": remainder,
        "mean_weight": float(exact[:, 0].mean()),
        "mean_remainder": float(exact[:, 1].mean()),
        "log_mass_error": float(np.abs(answer["log_mass"] - truth.log_mass).mean()),
    }


def built(case: Case, method: str, limit_gb: float | None = None) -> dict[str, Any]:
    """Build an index in a process of its own, or find what an earlier run of the same code built.

    Returns:
        ``path``, ``build_s``, ``settings``, ``index_bytes`` and the memory of the process.

    Raises:
        SearcherError: the build failed, or met the limit.
    """
    code = [ROOT / "aad" / "search.py", *sorted((ROOT / "aad" / "scale").glob("[!q]*.py"))]
    asked = hashlib.sha256(b"".join(path.read_bytes() for path in code) + f"{limit_gb} {N_TUNING}".encode())
    path = case.path.with_name(f"index_{case.path.stem}_{method}_{asked.hexdigest()[:8]}.safetensors")
    record = path.with_suffix(".json")
    if not (record.exists() and path.exists()):
        say(f"{case.space}: building the {method} index")
        with Searcher(limit_gb) as searcher:
            answer = searcher.ask(build, case, method, path)
            answer["memory"] = searcher.memory()
        write_atomically(record, json.dumps(answer).encode())
    return {**json.loads(record.read_bytes()), "path": path}


def measure(method: str, cases: Sequence[Case], peer: Ask | None, out_of_core: bool) -> dict[str, Any]:
    """One row of the report: seconds, gigabytes on disk, megabytes of memory, milliseconds, recall and errors.

    Args:
        method: One of `METHODS`.
        cases: A gallery per space, all of one size.
        peer: Answers turns of queries by the baseline, in another process; None where memory does not hold it.
        out_of_core: Limit the processes' memory, and time a first search from disk.

    Raises:
        SearcherError: the method failed, or needs more memory than there is.
    """
    n, dim, limit = cases[0].n, cases[0].dim, LIMIT_GB if out_of_core else None
    need, room = (len(cases) + 3) * n * dim * 4 / 1e9, available_gb() * 0.9
    if method == "exact" and need > room:
        raise SearcherError(f"needs {need:.0f} GB of memory, {room:.0f} GB may be used")
    index = [built(case, "compressed" if method == "filtered" else method, limit) for case in cases]
    base: list[float] = []
    by_space: dict[str, dict[str, Any]] = {}
    with Searcher(limit) as searcher:
        asks = [
            partial(searcher.ask, search, searcher.ask(open_gallery, case, method, one))
            for case, one in zip(cases, index, strict=True)
        ]
        say(f"{method}: searching")
        for case, ask, one in zip(cases, asks, index, strict=True):
            figures: dict[str, Any] = {key: one[key] for key in ("build_s", "settings")}
            figures |= {"rows_gb": n * dim * 2 / 1e9, "index_gb": one["index_bytes"] / 1e9}
            figures["build_peak_own_mb"] = one["memory"]["peak_own_mb"]
            if out_of_core:
                drop_cached(case.path)
                figures["p50_cold_ms"], figures["p95_cold_ms"] = percentiles(ask((0, len(case.queries)))["ms"])
            by_space[str(case.space)] = figures
            ask((0, 2))  # the first search of an index is not its usual one
        times: list[list[float]] = [[] for _ in cases]
        found: list[list[Any]] = [[] for _ in cases]
        for turn in turns(len(cases[0].queries)):
            base += peer(turn)["ms"] if peer is not None else []
            for i, (case, ask) in enumerate(zip(cases, asks, strict=True)):
                if not out_of_core:
                    read_through(case.path)  # idleness may have driven the rows out
                answer = ask(turn)
                times[i] += answer["ms"]
                found[i] += answer["ids"]
        for i, (case, ask) in enumerate(zip(cases, asks, strict=True)):
            truth, figures = case.filtered if method == "filtered" else case.truth, by_space[str(case.space)]
            figures["p50_ms"], figures["p95_ms"] = percentiles(times[i])
            figures["recall_at_10"] = recall_of(found[i], truth.ids)
            weighed = ask((0, len(case.queries)), case.calibration.inverse_temperature)
            figures["weights_p50_ms"] = percentiles(weighed["ms"])[0]
            if method != "filtered":  # the first that may be named is another; the mass is the compressed index's own
                figures |= weight_errors(case, weighed, truth)
        memory = searcher.memory()
    row: dict[str, Any] = {"n": n, "dim": dim, "method": method, **memory, "by_space": by_space}
    for key in COLUMNS:
        if values := [figures[key] for figures in by_space.values() if key in figures]:
            row[key] = (min if key == "recall_at_10" else max)(values)
    if base:
        row["argsort_p50_ms"] = percentiles(base)[0]
        row["speedup_vs_argsort"] = row["argsort_p50_ms"] / row["p50_ms"]
    return row


def measure_size(cases: Sequence[Case], methods: Sequence[str], out_of_core: bool = False) -> Iterator[dict[str, Any]]:
    """Rows of one size as they come, the baseline's first where memory holds it; what fails says why in ``note``."""
    n, dim = cases[0].n, cases[0].dim
    with ExitStack() as running:
        peer = None
        if 2 * n * dim * 4 / 1e9 < available_gb() * 0.9:
            say(f"{BASELINE}: opening the baseline")
            searcher = running.enter_context(Searcher())
            peer = partial(searcher.ask, search, searcher.ask(open_gallery, cases[0], BASELINE))
            peer((0, 2))
            answer = peer((0, len(cases[0].queries)))
            median, high = percentiles(answer["ms"])
            recall = recall_of(answer["ids"], cases[0].truth.ids)
            figures = {"p50_ms": median, "p95_ms": high, "recall_at_10": recall, "speedup_vs_argsort": 1.0}
            yield {"n": n, "dim": dim, "method": BASELINE, **figures, **searcher.memory()}
        for method in methods or [method_for(n)]:
            try:
                yield measure(method, cases, peer, out_of_core)
            except (SearcherError, OSError) as error:
                yield {"n": n, "dim": dim, "method": method, "note": f"failed: {error}"}


def turns(n: int) -> Iterator[tuple[int, int]]:
    """The first of each turn's queries, and the one after its last."""
    yield from ((first, min(first + TURN, n)) for first in range(0, n, TURN))


def read_through(path: Path) -> None:
    """Read a file once, so that it is in the system's file cache as far as memory goes."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def drop_cached(path: Path) -> None:
    """Ask the system to forget a file's pages, so that the next reading is from disk; written ones are saved first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def available_gb() -> float:
    """Memory that programs may still take, in 10^9 bytes."""
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 / 1e9


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON; the report's file is written after every row.

    Returns:
        0, or 1 where a method failed.

    Raises:
        ShortOfDisk: there is no room for the galleries.
    """
    parser, names = arguments(__doc__, dim=768), list(map(str, SPACES))
    parser.add_argument("--n", type=positive, nargs="+", default=[1_000_000], help="references (1,000,000)")
    parser.add_argument("--spaces", nargs="+", default=[SPACE], choices=names, metavar="SPACE")
    parser.add_argument("--methods", nargs="+", default=[], choices=METHODS, metavar="METHOD")
    parser.add_argument("--out-of-core", action="store_true", help="limit memory, and time a first search from disk")
    parser.add_argument("--scratch", type=Path, help="folder for galleries and indices, kept; default: deleted")
    options = parser.parse_args(argv)
    report = {"rows": [], "dim": options.dim, "spaces": options.spaces, "k": K, "n_queries": N_QUERIES, "seed": SEED}
    with tempfile.TemporaryDirectory(prefix="aad-search-") as temporary:
        for n in options.n:
            cases = [prepare_case(options.scratch or Path(temporary), s, n, options.dim) for s in options.spaces]
            for row in measure_size(cases, options.methods, options.out_of_core):
                report["rows"].append(row)
                if options.json:
                    keep(options.json, report)
    finish(options.json, report, tables)
    return int(any("note" in row for row in report["rows"]))


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    shown = {key: words for key, words in COLUMNS.items() if any(key in row for row in report["rows"])}
    return (
        f"{table(report['rows'], shown)}\n\n{report['dim']} dimensions, {', '.join(report['spaces'])}, k = {report['k']}, "
        f"{report['n_queries']} synthetic-domain queries a space, one at a time.\n\n{machine_line(report['machine'])}"
    )


if __name__ == "__main__":
    run(main)
