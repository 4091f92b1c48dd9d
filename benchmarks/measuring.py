"""What the benchmarks of search have in common: an invented gallery with queries and exact answers, builds, and their figures."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import Bundle, write_atomically
from aad.calibration import Calibration
from aad.scale.stored import StoredRows
from aad.search import ExactIndex, SearchResult
from aad.spaces import SPACES, Space
from benchmarks.common import ROOT, percentiles
from benchmarks.invented import make_gallery, make_queries, measure_domain
from benchmarks.searcher import Searcher

K = 100  # references asked for
LIMIT_GB = 8.0  # memory of its own that a process may have, out of core
N_TUNING = 400  # queries that a build measures its own recall on; never those that are timed
SHARE_ALLOWED = 0.1  # of the rows, under a filter


@dataclass(frozen=True, slots=True)
class Case:
    """A gallery of one space, its queries and their exact answers, all of them files in the scratch folder.

    Attributes:
        space: Whose measurements it was invented from.
        path: File of the n rows of dim dimensions.
        seed: What they were made from.
        calibration: The shipped bundle's, of this space.
        truth: Exact answers to the queries that are timed.
        filtered: The same under the filter.
    """

    space: Space
    path: Path
    n: int
    dim: int
    seed: int
    calibration: Calibration
    truth: SearchResult
    filtered: SearchResult

    def beside(self, part: str) -> Path:
        """The file of its `tuning` queries, of the `queries` that are timed (of other real pairs), or of the filter `among`."""
        return self.path.with_name(f"{part}_{self.path.name}")

    def opening(self, method: str, index: Path | None) -> dict[str, Any]:
        """The request that opens it in a `Searcher`."""
        request = {"rows": str(self.path), "queries": str(self.beside("queries")), "method": method}
        among = {"among": str(self.beside("among"))} if method == "filtered" else {}
        return request | among | ({"index": str(index)} if index else {})


def say(text: str) -> None:
    """A line about progress, on stderr so that stdout stays the report."""
    print(f"  {text}", file=sys.stderr, flush=True)


def add_gallery(parser: argparse.ArgumentParser, n: int | None = None, *, one_space: bool = True) -> None:
    """The options that say which galleries are invented."""
    names = [str(space) for space in SPACES]
    if n is not None:
        parser.add_argument("--n", type=int, default=n, help="references")
    parser.add_argument("--dim", type=int, default=768, help="dimensions of an embedding")
    if one_space:
        parser.add_argument("--space", default="disentangled", choices=names, help="to invent rows from")
    else:
        parser.add_argument("--spaces", nargs="+", default=names, choices=names, metavar="SPACE")
    parser.add_argument(
        "--queries", type=int, default=50, help="synthetic-domain queries that are timed, of each space"
    )
    parser.add_argument("--seed", type=int, default=0)


def prepare_case(scratch: Path, space: Space | str, n: int, options: argparse.Namespace) -> Case:
    """Make, or find, the gallery of one space, and answer its queries exactly; ``options`` as `add_gallery` has them.

    Raises:
        ShortOfDisk: there is no room for the gallery.
    """
    space, seed = Space(space), options.seed
    domain = measure_domain(space, options.dim)
    path = make_gallery(scratch, domain, n, seed=seed)
    index, calibration = ExactIndex(StoredRows(path)), Calibration(**Bundle.open().section("calibration")[space])
    tuning, queries = (
        make_queries(domain, path, m, seed=seed, half=half)[0] for m, half in ((N_TUNING, 0), (options.queries, 1))
    )
    allowed = np.random.default_rng([seed, 2]).random(n) < SHARE_ALLOWED
    say(f"{space}: {n:,} rows; answering {len(queries)} queries exactly")
    beta = calibration.inverse_temperature
    truth, filtered = (index.search(queries, K, among=one, inverse_temperature=beta) for one in (None, allowed))
    case = Case(space, path, n, options.dim, seed, calibration, truth, filtered)
    for part, array in (("tuning", tuning), ("queries", queries), ("among", allowed)):
        np.save(case.beside(part), array)
    return case


def recall_of(found: Sequence[Sequence[int]], truth: np.ndarray, k: int = 10) -> float:
    """Mean share of the true first k that are among the first k found.

    >>> recall_of([[3, 1, 2]], np.array([[1, 3, 9]]), k=2)
    1.0
    """
    shares = [
        len(set(ids[:k]) & set(true[:k].tolist())) / len(true[:k]) for ids, true in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


def weight_errors(case: Case, answer: dict[str, Any], truth: SearchResult) -> dict[str, Any]:
    """How far estimated weights are from the exact ones, as mean absolute differences.

    Args:
        case: With the calibration of its space.
        answer: Of a `Searcher` that was asked with the inverse temperature.
        truth: Exact answers to the same queries.
    """
    assert truth.log_mass is not None
    first = np.array([row[0] for row in answer["similarities"]], dtype=np.float64)
    weights, remainders = _shares(case.calibration, first, np.array(answer["log_mass"]))
    true_weights, true_remainders = _shares(case.calibration, truth.similarities[:, 0], truth.log_mass)
    return {
        "estimated": answer["estimated"],
        "weight_error": float(np.abs(weights - true_weights).mean()),
        "remainder_error": float(np.abs(remainders - true_remainders).mean()),
        "mean_weight": float(true_weights.mean()),
        "mean_remainder": float(true_remainders.mean()),
        "log_mass_error": float(np.abs(np.array(answer["log_mass"]) - truth.log_mass).mean()),
    }


def _shares(calibration: Calibration, first: np.ndarray, log_mass: np.ndarray) -> Iterator[np.ndarray]:
    found = [calibration.shares(row[None], mass) for row, mass in zip(first, log_mass, strict=True)]
    yield np.array([weights[0] for weights, _ in found])
    yield np.array([remainder for _, remainder in found])


def built(case: Case, method: str, *, limit_gb: float | None = None) -> dict[str, Any]:
    """Build an index in a process of its own, or find what an earlier run of the same code built.

    Returns:
        ``path``, ``build_s``, ``settings``, ``index_bytes`` and the memory of the process.

    Raises:
        SearcherError: the build failed, or met the limit.
    """
    code = [path for path in sorted((ROOT / "aad" / "scale").glob("*.py")) if not path.name.startswith("qdrant")]
    sources = b"".join(path.read_bytes() for path in [ROOT / "aad" / "search.py", *code])
    asked = hashlib.sha256(sources + f"{limit_gb} {N_TUNING}".encode()).hexdigest()[:8]
    path = case.path.with_name(f"index_{case.path.stem}_{method}_{asked}.safetensors")
    record = path.with_suffix(".build.json")
    if record.exists() and path.exists():
        say(f"{case.space}: {method} index found")
        return {**json.loads(record.read_bytes()), "path": path}
    say(f"{case.space}: building the {method} index")
    with Searcher(limit_gb) as searcher:
        asked_for = {"rows": str(case.path), "queries": str(case.beside("tuning")), "method": method, "seed": case.seed}
        answer = searcher.ask("build", **asked_for, out=str(path))
        answer["memory"] = searcher.memory()
    write_atomically(record, json.dumps(answer).encode())
    return {**answer, "path": path}


def measure_index(case: Case, method: str, *, limit_gb: float | None = None, cold: bool = False) -> dict[str, Any]:
    """Build and search one index of one space, each in a process of its own.

    Args:
        case: The gallery.
        method: Of `aad.scale.building`, to begin with: the row says what the build made of it.
        limit_gb: Memory of its own that each process may have.
        cold: Take the rows out of the system's file cache before the first search, and time that pass too.

    Returns:
        A row of figures: seconds, gigabytes on disk, megabytes of memory, milliseconds, recall.
    """
    index = built(case, method, limit_gb=limit_gb)
    m = len(case.truth.ids)
    first: dict[str, Any] = {}
    with Searcher(limit_gb) as searcher:
        searcher.ask("open", **case.opening(method, index["path"]))
        if cold:
            drop_cached(case.path)
            say(f"{case.space}: searching, rows on disk")
            median, high = percentiles(searcher.ask("search", index=0, range=[0, m], k=K)["ms"])
            first = {"p50_cold_ms": median, "p95_cold_ms": high}
        say(f"{case.space}: searching")
        searcher.ask("search", index=0, range=[0, min(m, 3)], k=K)
        answer = searcher.ask("search", index=0, range=[0, m], k=K)
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
