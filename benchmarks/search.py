"""What the benchmarks of search share: invented galleries with exact answers, and processes that hold one method's indices each.

What is timed is one call for one query, inside such a process: so memory is one method's own, and two methods can take turns.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import Bundle, write_atomically
from aad.calibration import Calibration
from aad.files import beside
from aad.scale.building import build_index, open_index
from aad.scale.stored import StoredRows
from aad.search import ExactIndex, SearchResult, method_for
from aad.spaces import Space
from benchmarks.common import ROOT, memory_of, percentiles
from benchmarks.invented import ShortOfDisk, make_gallery, make_queries, measure_domain

# As app.py does it. The other process's threads would else go on spinning for a while after its turn, on these cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

K = 100  # references asked for
DIM, SPACE, SEED = 768, "disentangled", 0  # of a gallery, where nothing else is asked for
N_QUERIES = 50  # of the synthetic domain, that are timed in each space
N_TUNING = 400  # queries that a build measures its own recall on; never those that are timed
SHARE_ALLOWED = 0.1  # of the rows, under a filter
LIMIT_GB = 8.0  # memory of its own that a process may have, out of core
LOOK_EVERY = 0.05  # seconds between two looks at the memory of a process
BASELINES = ("argsort", "topk")
Search = Callable[[np.ndarray, "float | None"], tuple[Any, ...]]


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
    search = _baseline(rows, method) if index is None else _indexed(case, rows, method, index)
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


def _baseline(rows: StoredRows, method: str) -> Search:
    import torch

    held = torch.empty(rows.shape)
    for start, chunk in rows.chunks():
        held[start : start + len(chunk)] = torch.from_numpy(chunk)

    def search(query: np.ndarray, beta: float | None) -> tuple[Any, ...]:
        with torch.inference_mode():
            similarities = held @ torch.from_numpy(query[0])
            if method == "argsort":
                ids = torch.argsort(similarities, descending=True)[:K]
            else:
                ids = torch.topk(similarities, min(K, len(held))).indices
            mass = None if beta is None else torch.logsumexp(beta * similarities.double(), 0).numpy()[None]
            return ids.numpy(), similarities[ids].numpy(), mass, False

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


def measure_size(scratch: Path, n: int, dim: int, *, cold: bool = False) -> dict[str, Any]:
    """A row of figures of the library's own choice of index, in `SPACE`; what cannot be measured says why in `note`.

    Args:
        scratch: Folder for the gallery and the index.
        n: References.
        dim: Dimensions of each.
        cold: Take the rows out of the system's file cache before the first search, and time that pass too.
    """
    row: dict[str, Any] = {"n": n, "dim": dim, "space": SPACE, "method": method_for(n)}
    try:
        return measure_index(prepare_case(scratch, SPACE, n, dim), method_for(n), cold)
    except ShortOfDisk as error:
        return row | {"note": f"left out: {error}"}
    except (SearcherError, OSError) as error:
        return row | {"note": f"failed: {error}"}


def measure_index(case: Case, method: str, cold: bool) -> dict[str, Any]:
    """Build and search one index, each in a process of its own that may hold `LIMIT_GB`; the row says what the build made of it.

    Returns:
        Seconds, gigabytes on disk, megabytes of memory, milliseconds, recall.
    """
    index, everything = built(case, method, LIMIT_GB), (0, len(case.truth.ids))
    first: dict[str, Any] = {}
    with Searcher(LIMIT_GB) as searcher:
        number = searcher.ask(open_gallery, case, method, index)
        say(f"{case.space}: searching")
        if cold:
            drop_cached(case.path)
            median, high = percentiles(searcher.ask(search, number, everything)["ms"])
            first = {"p50_cold_ms": median, "p95_cold_ms": high}
        searcher.ask(search, number, (0, 3))
        answer = searcher.ask(search, number, everything)
        memory = searcher.memory()
    median, high = percentiles(answer["ms"])
    return {
        "method": index["settings"]["method"],
        "n": case.n,
        "dim": case.dim,
        "space": str(case.space),
        "build_s": index["build_s"],
        "rows_gb": case.n * case.dim * 2 / 1e9,
        "index_gb": index["index_bytes"] / 1e9,
        "build_peak_own_mb": index["memory"]["peak_own_mb"],
        "build_peak_mb": index["memory"]["peak_mb"],
        "search_peak_own_mb": memory["peak_own_mb"],
        "search_peak_mb": memory["peak_mb"],
        "resident_mb": memory["resident_mb"],
        **first,
        "p50_ms": median,
        "p95_ms": high,
        "recall_at_10": recall_of(answer["ids"], case.truth.ids),
        "settings": index["settings"],
    }


def drop_cached(path: Path) -> None:
    """Ask the system to forget a file's pages, so that the next reading is from disk; written ones are saved first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
