"""One query, the 100 nearest of n references: every method against a matrix product and a full sort, taking turns.

    python -m benchmarks.retrieval --n 1000000 --dim 768 --json retrieval.json
    python -m benchmarks.retrieval --n 200000 --dim 128 --methods argsort compressed --spaces disentangled

An index is built on other queries, made from other pairs, than those that are timed. Each method has all its spaces open in a
process of its own, beside one with the baseline. Stored rows are read through before each turn, as a searched gallery is in the
file cache; `benchmarks.out_of_core` measures the others. Each figure of a row is the worst of the spaces; by_space has them all.

Methods: argsort (torch, matmul and full argsort: the baseline), topk (torch, matmul and topk), exact, compressed, and filtered
(compressed, with one row in ten allowed; the answer must be exact). With --scratch galleries and indices stay, and are used again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from aad.search import method_for
from aad.spaces import SPACES
from benchmarks.common import arguments, finish, machine_line, percentiles, run, table
from benchmarks.search import (
    BASELINES,
    DIM,
    N_QUERIES,
    SEED,
    Case,
    K,
    Searcher,
    SearcherError,
    built,
    open_gallery,
    prepare_case,
    recall_of,
    say,
    search,
    weight_errors,
)

METHODS = (*BASELINES, "exact", "compressed", "filtered")
TURN = 5  # queries of one process before the other's turn
SPEEDUP, RECALL, RESIDENT_MB = 25.0, 0.99, 500.0  # wanted at a million rows
MILLION = 1_000_000
COLUMNS = {
    "method": "method",
    "p50_ms": "median, ms",
    "p95_ms": "95 %, ms",
    "speedup_vs_argsort": "times faster than argsort",
    "recall_at_10": "recall@10",
    "resident_mb": "resident, MB",
    "own_mb": "of that not files, MB",
    "build_s": "build, s",
    "weights_p50_ms": "with weights, ms",
    "weight_error": "weight off by",
    "remainder_error": "remainder off by",
    "note": "",
}


def measure_method(method: str, cases: Sequence[Case], peer: Callable[..., Any] | None) -> dict[str, Any]:
    """One row of the report.

    Args:
        method: One of `METHODS`.
        cases: A gallery per space, all of one size.
        peer: Answers turns of queries by the baseline, in another process; None where memory does not hold it.

    Raises:
        SearcherError: the method failed.
    """
    stored = method not in BASELINES
    index = {case.space: built(case, "compressed" if method == "filtered" else method) for case in cases if stored}
    n_queries = len(cases[0].truth.ids)
    times: dict[str, list[float]] = {case.space: [] for case in cases}
    found: dict[str, list[Any]] = {case.space: [] for case in cases}
    baseline: list[float] = []
    by_space: dict[str, dict[str, Any]] = {}
    with Searcher() as searcher:
        numbers = {case.space: searcher.ask(open_gallery, case, method, index.get(case.space)) for case in cases}

        def ask(case: Case, turn: tuple[int, int], beta: float | None = None) -> dict[str, Any]:
            if stored:
                read_through(case.path)  # another method's matrices, or idleness, may have driven the rows out
            return searcher.ask(search, numbers[case.space], turn, beta)

        say(f"{method}: searching")
        for case in cases:
            ask(case, (0, 2))  # the first search of an index is not its usual one
        for first in range(0, n_queries, TURN):
            turn = (first, min(first + TURN, n_queries))
            if peer is not None:
                baseline += peer(turn)["ms"]
            for case in cases:
                answer = ask(case, turn)
                times[case.space] += answer["ms"]
                found[case.space] += answer["ids"]
        for case in cases:
            truth = case.filtered if method == "filtered" else case.truth
            weighed = ask(case, (0, n_queries), case.calibration.inverse_temperature)
            median, high = percentiles(times[case.space])
            figures = {"p50_ms": median, "p95_ms": high, "recall_at_10": recall_of(found[case.space], truth.ids)}
            figures["weights_p50_ms"] = percentiles(weighed["ms"])[0]
            if method != "filtered":  # the first that may be named is another; the mass is the compressed index's own
                figures |= weight_errors(case, weighed, truth)
            if stored:
                figures |= {key: index[case.space][key] for key in ("build_s", "settings", "index_bytes")}
            by_space[str(case.space)] = figures
        memory = searcher.memory()
    usual = percentiles(baseline)[0] if baseline else None

    def worst(key: str) -> float | None:
        values = [figures[key] for figures in by_space.values() if key in figures]
        return (min if key == "recall_at_10" else max)(values) if values else None

    keys = ("p50_ms", "p95_ms", "recall_at_10", "weights_p50_ms", "weight_error", "remainder_error", "log_mass_error")
    slowest = worst("p50_ms")
    return {
        "method": method,
        "n": cases[0].n,
        "dim": cases[0].dim,
        **{key: worst(key) for key in keys},
        "speedup_vs_argsort": usual / slowest if usual and slowest else None,
        "argsort_p50_ms": usual,
        "build_s": worst("build_s") or 0.0,
        **{key: memory[key] for key in ("resident_mb", "own_mb", "peak_mb")},
        "by_space": by_space,
    }


def measure_methods(methods: Sequence[str], cases: Sequence[Case]) -> list[dict[str, Any]]:
    """A row per method; one that needs more memory than there is is left out, and one that fails says so, in `note`."""
    n, dim = cases[0].n, cases[0].dim
    whole, room = n * dim * 4 / 1e9, available_gb() * 0.9
    rows = []
    with ExitStack() as running:
        peer = None
        if 2 * whole < room:
            say("argsort: opening the baseline")
            searcher = running.enter_context(Searcher())
            peer = partial(searcher.ask, search, searcher.ask(open_gallery, cases[0], "argsort"))
            peer((0, 2))
        for method in methods:
            # the baseline, one matrix per space, and two more while the last is read
            need = (len(cases) + 3) * whole if method in (*BASELINES, "exact") else 0.0
            row: dict[str, Any] = {"method": method, "n": n, "dim": dim}
            if need > room:
                row |= {"note": f"left out: needs {need:.0f} GB of memory, {room:.0f} GB may be used"}
            else:
                try:
                    row = measure_method(method, cases, peer)
                except SearcherError as error:
                    row |= {"note": f"failed: {error}", "failed": True}
            rows.append(row)
    return rows


def read_through(path: Path) -> None:
    """Read a file once, so that it is in the system's file cache as far as memory goes."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def available_gb() -> float:
    """Memory that programs may still take, in 10^9 bytes."""
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 / 1e9


def verdict(rows: Sequence[dict[str, Any]], default: str) -> str:
    """Whether the default method reaches the targets; they are meant for a million rows and more."""
    row = next((row for row in rows if row["method"] == default and "p50_ms" in row), None)
    if row is None:
        return f"targets: not looked at, {default} was not measured"
    if row["n"] < MILLION:
        return f"targets: meant for {MILLION:,} rows, these are {row['n']:,}"
    speedup = row["speedup_vs_argsort"] or 0.0
    faster = f"{speedup:.1f} of {SPEEDUP:.0f} times faster" if speedup else "speed-up not measured"
    parts = {
        faster: speedup >= SPEEDUP,
        f"recall@10 {row['recall_at_10']:.4f} of {RECALL}": row["recall_at_10"] >= RECALL,
        f"{row['resident_mb']:.0f} of {RESIDENT_MB:.0f} MB": row["resident_mb"] <= RESIDENT_MB,
    }
    said = [f"{text}: {'holds' if holds else 'does NOT hold'}" for text, holds in parts.items()]
    return f"targets, {default}: {'; '.join(said)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table, a line on the targets and one line of JSON.

    Returns:
        0, or 1 where a method failed.

    Raises:
        ShortOfDisk: there is no room for the galleries.
    """
    parser, names = arguments(__doc__, n=MILLION, dim=DIM), list(map(str, SPACES))
    parser.add_argument("--spaces", nargs="+", default=names, choices=names, metavar="SPACE")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--scratch", type=Path, help="folder for galleries and indices, kept; default: deleted")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="aad-retrieval-") as temporary:
        scratch = options.scratch or Path(temporary)
        cases = [prepare_case(scratch, space, options.n, options.dim) for space in options.spaces]
        rows = measure_methods(options.methods, cases)
    report = {"rows": rows, "default": method_for(options.n), "baseline": "argsort", "spaces": options.spaces, "k": K}
    finish(options.json, report | {"n_queries": N_QUERIES, "seed": SEED}, tables)
    return int(any(row.get("failed") for row in rows))


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    rows, spaces = report["rows"], report["spaces"]
    return (
        f"{table(rows, COLUMNS)}\n\n{rows[0]['n']:,} x {rows[0]['dim']}, {len(spaces)} spaces open ({', '.join(spaces)}), "
        f"k = {report['k']}, {report['n_queries']} synthetic-domain queries each, one at a time; rows in the system's file cache; "
        f"default: {report['default']}; {verdict(rows, report['default'])}.\n\n{machine_line(report['machine'])}"
    )


if __name__ == "__main__":
    run(main)
