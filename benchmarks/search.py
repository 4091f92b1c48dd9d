"""Search in galleries of any size: time, memory, recall and weights of an index, against a matrix product and a full sort.

    python -m benchmarks.search --n 1000 10000 100000 1000000 --json docs/figures/scaling.json
    python -m benchmarks.search --spaces backbone aligned disentangled --methods compressed filtered exact

The galleries are invented. An index is built, and searched for one query at a time, in a process of its own that holds all the
spaces asked for; before it the baseline. What it is built with are other queries, made from other pairs, than those that are timed.
Each figure of a row is the worst of the spaces; by_space has them all.

Methods: the library's own choice where none is named, exact, compressed, and filtered (compressed, with one row in ten allowed; the
answer must be exact). A million rows of 768 dimensions take 3 GB of memory for the baseline, as much a space with exact, and 1.5 GB
a space of the folder --kept (in that for temporary files, $TMPDIR). Galleries and their exact answers stay there for the next run;
one that is made otherwise has another name.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import Bundle, write_atomically
from aad.calibration import Calibration
from aad.scale.building import build_index, open_index
from aad.scale.stored import StoredRows
from aad.search import ExactIndex, SearchResult, method_for
from aad.spaces import SPACES, Space
from benchmarks import invented
from benchmarks.common import arguments, finish, machine_line, memory_of, percentiles, positive, run, table
from benchmarks.invented import make_gallery, make_queries, measure_domain

# As app.py does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

K = 100  # references asked for
SPACE, SEED = "disentangled", 0
N_QUERIES = 50  # of the synthetic domain, that are timed in each space
N_TUNING = 400  # queries that a build measures its own recall on; never those that are timed
SHARE_ALLOWED = 0.1  # of the rows, under a filter
BASELINE = "argsort"
METHODS = ("exact", "compressed", "filtered")
COLUMNS = (
    "n method build_s rows_gb index_gb build_peak_mb resident_mb p50_ms p95_ms speedup_vs_argsort recall_at_10 weights_p50_ms "
    "weight_error remainder_error"
)
Search = Callable[[np.ndarray, "float | None"], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """A gallery of one space, its queries and their exact answers.

    Attributes:
        space: Whose measurements it was invented from.
        path: File of the n rows.
        calibration: The shipped bundle's, of this space.
        tuning: (`N_TUNING`, d) queries that a build measures itself on.
        queries: (m, d) queries that are timed, of other real pairs.
        among: (n,) bool, the filter.
        truth: Exact answers to the queries that are timed.
        filtered: The same under the filter.
    """

    space: Space
    path: Path
    calibration: Calibration
    tuning: np.ndarray
    queries: np.ndarray
    among: np.ndarray
    truth: SearchResult
    filtered: SearchResult


def prepare_case(folder: Path, space: Space | str, n: int, dim: int) -> Case:
    """The gallery of one space, its queries and exact answers; made where the folder does not have them yet."""
    from safetensors.numpy import load_file, save

    space, opened = Space(space), Bundle.open()
    made = repr(
        (opened.manifest, Path(invented.__file__).read_text("utf-8"), dim, SEED, N_QUERIES, N_TUNING, SHARE_ALLOWED, K)
    )
    path = folder / f"{space}_{n}_{hashlib.sha256(made.encode()).hexdigest()[:12]}.npy"
    known, calibration = path.with_suffix(".safetensors"), Calibration(**opened.section("calibration")[space])
    among = np.random.default_rng([SEED, 2]).random(n) < SHARE_ALLOWED
    if not known.exists():  # it is written last
        say(f"{space}: making {n:,} rows")
        domain = measure_domain(space, dim)
        make_gallery(path, domain, n, seed=SEED)
        tuning, queries = (
            make_queries(domain, path, m, seed=SEED, half=half)[0] for m, half in ((N_TUNING, 0), (N_QUERIES, 1))
        )
        index, beta = ExactIndex(StoredRows(path)), calibration.inverse_temperature
        arrays = {"tuning": tuning, "queries": queries}
        for name, one in (("truth", None), ("filtered", among)):
            answer = index.search(queries, K, among=one, inverse_temperature=beta)
            arrays |= {f"{name}_{key}": getattr(answer, key) for key in ("ids", "similarities", "log_mass")}
        write_atomically(known, save(arrays))
    found = load_file(known)
    truth, filtered = (
        SearchResult(found[f"{name}_ids"], found[f"{name}_similarities"], found[f"{name}_log_mass"])
        for name in ("truth", "filtered")
    )
    return Case(space, path, calibration, found["tuning"], found["queries"], among, truth, filtered)


def say(text: str) -> None:
    """A line about progress, on stderr so that stdout stays the report."""
    print(f"  {text}", file=sys.stderr, flush=True)


def apart(work: Callable[..., dict[str, Any]], *told: Any) -> dict[str, Any]:
    """What a function of this module returns in a process of its own, whose memory is its alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *told).result()


def build(case: Case, method: str) -> dict[str, Any]:
    """Build the index of a gallery, its arrays to a file beside the gallery."""
    from safetensors.numpy import save_file

    rows, path = StoredRows(case.path), case.path.with_suffix(f".{method}.safetensors")  # which the next run replaces
    began = time.perf_counter()
    arrays, settings = build_index(rows, case.tuning, method=method, seed=SEED)
    figures = {"build_s": round(time.perf_counter() - began, 3), "settings": settings}
    save_file(arrays, path)
    figures |= {"rows_gb": 2e-9 * np.prod(rows.shape).item(), "index_gb": sum(x.nbytes for x in arrays.values()) / 1e9}
    return {"path": path, "figures": figures | {"build_peak_mb": memory_of("self")["peak_mb"]}}


def searched(cases: Sequence[Case], method: str, built: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds, recall and errors of each space, all of them open, and the memory of this process.

    Args:
        cases: A gallery per space.
        method: One of `METHODS`, or the baseline.
        built: Their indices, from `build`; none for the baseline.
    """
    if method == BASELINE:
        opened = [_baseline(case) for case in cases]
    else:
        opened = [_indexed(case, method, one) for case, one in zip(cases, built, strict=True)]
    by_space = {}
    for case, search in zip(cases, opened, strict=True):
        with case.path.open("rb") as file:  # what the system has taken back and read again lies in small pages
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        StoredRows(case.path).read_through()  # a searched gallery is in the file cache, as after a start
        asked(search, case.queries[:2], None)  # the first search of an index is not its usual one
        answer = asked(search, case.queries, None)
        truth = case.filtered if method == "filtered" else case.truth
        figures = dict(zip(("p50_ms", "p95_ms"), percentiles(answer["ms"]), strict=True))
        figures["recall_at_10"] = recall_of(answer["ids"], truth.ids)
        if built:
            weighed = asked(search, case.queries, case.calibration.inverse_temperature)
            figures["weights_p50_ms"] = percentiles(weighed["ms"])[0]
            if method != "filtered":  # the first that may be named is another; the mass is the compressed index's own
                figures |= weight_errors(case.calibration, weighed, truth)
        by_space[str(case.space)] = figures
    return {"memory": memory_of("self"), "by_space": by_space}


def _indexed(case: Case, method: str, built: dict[str, Any]) -> Search:
    from safetensors.numpy import load_file

    index = open_index(StoredRows(case.path), load_file(built["path"]), built["figures"]["settings"])
    among = case.among if method == "filtered" else None

    def search(query: np.ndarray, beta: float | None) -> tuple[Any, ...]:
        found = index.search(query, K, among=among, inverse_temperature=beta)
        return found.ids[0], found.similarities[0], found.log_mass

    return search


def _baseline(case: Case) -> Search:
    import torch

    held = torch.from_numpy(StoredRows(case.path)[:])

    def search(query: np.ndarray, beta: float | None) -> tuple[Any, ...]:
        with torch.inference_mode():
            similarities = held @ torch.from_numpy(query[0])
            ids = torch.argsort(similarities, descending=True)[:K]
            return ids.numpy(), similarities[ids].numpy(), None

    return search


def asked(search: Search, queries: np.ndarray, beta: float | None) -> dict[str, Any]:
    """Answers to queries, one at a time; with ``beta`` the mass of the gallery, too."""
    found = []
    for query in queries:
        began = time.perf_counter()
        answer = search(query[None], beta)
        found.append((1000 * (time.perf_counter() - began), *answer))
    return dict(zip(("ms", "ids", "similarities", "log_mass"), zip(*found, strict=True), strict=True))


def recall_of(found: Sequence[Sequence[int] | np.ndarray], truth: np.ndarray, k: int = 10) -> float:
    """Mean share of the true first k that are among the first k found.

    >>> recall_of([[3, 1, 2]], np.array([[1, 3, 9]]), k=2)
    1.0
    """
    return float(np.mean([np.isin(true[:k], ids[:k]).mean() for ids, true in zip(found, truth, strict=True)]))


def weight_errors(calibration: Calibration, answer: dict[str, Any], truth: SearchResult) -> dict[str, float]:
    """How far estimated weights are from the exact ones, as mean absolute differences.

    Args:
        calibration: Of the space.
        answer: Of `asked` with the inverse temperature.
        truth: Exact answers to the same queries.
    """

    def shares(similarities: Sequence[np.ndarray] | np.ndarray, log_mass: Any) -> np.ndarray:
        masses = np.ravel(log_mass)
        found = [calibration.shares(row[:1], mass) for row, mass in zip(similarities, masses, strict=True)]
        return np.array([(weights[0], remainder) for weights, remainder in found])

    exact, estimated = shares(truth.similarities, truth.log_mass), shares(answer["similarities"], answer["log_mass"])
    weight, remainder = np.abs(estimated - exact).mean(0).tolist()
    return {"weight_error": weight, "remainder_error": remainder}


def measure_size(cases: Sequence[Case], methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of one size, the baseline's first; an index is built once."""
    built: dict[str, list[dict[str, Any]]] = {BASELINE: []}
    argsort_ms = 0.0
    for method in (BASELINE, *methods):
        kind = "compressed" if method == "filtered" else method
        for case in cases if kind not in built else ():
            say(f"{case.space}: building the {kind} index")
            built.setdefault(kind, []).append(apart(build, case, kind))
        told = apart(searched, cases if built[kind] else cases[:1], method, built[kind])
        for case, one in zip(cases, built[kind], strict=False):
            told["by_space"][str(case.space)] |= one["figures"]
        row: dict[str, Any] = {"method": method, **told["memory"], "by_space": told["by_space"]}
        for key in COLUMNS.split():
            if values := [figures[key] for figures in told["by_space"].values() if key in figures]:
                row[key] = (min if key == "recall_at_10" else max)(values)
        argsort_ms = argsort_ms or row["p50_ms"]
        yield row | {"speedup_vs_argsort": argsort_ms / row["p50_ms"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON."""
    parser, names = arguments(__doc__, dim=768), list(map(str, SPACES))
    parser.add_argument("--n", type=positive, nargs="+", default=[1_000_000], help="references (1,000,000)")
    parser.add_argument("--spaces", nargs="+", default=[SPACE], choices=names, metavar="SPACE")
    parser.add_argument("--methods", nargs="+", default=[], choices=METHODS, metavar="METHOD")
    kept = Path(tempfile.gettempdir()) / "aad-search"
    parser.add_argument("--kept", type=Path, default=kept, help="folder of galleries, made once ($TMPDIR/aad-search)")
    options = parser.parse_args(argv)
    options.kept.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in options.n:
        cases = [prepare_case(options.kept, space, n, options.dim) for space in options.spaces]
        found = measure_size(cases, options.methods or [method_for(n)])
        rows += [{"n": n, "dim": options.dim, **row} for row in found]
    report = {"rows": rows, "dim": options.dim, "spaces": options.spaces, "k": K, "n_queries": N_QUERIES, "seed": SEED}
    finish(options.json, report, tables)
    return 0


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    shown = " ".join(key for key in COLUMNS.split() if any(key in row for row in report["rows"]))
    return (
        f"{table(report['rows'], shown)}\n\n{report['dim']} dimensions, {', '.join(report['spaces'])}, k = {report['k']}, "
        f"{report['n_queries']} synthetic-domain queries a space, one at a time.\n\n{machine_line(report['machine'])}"
    )


if __name__ == "__main__":
    run(main)
