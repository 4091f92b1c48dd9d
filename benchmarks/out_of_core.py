"""A gallery far larger than memory, built and searched from disk, under a limit on memory.

    python -m benchmarks.out_of_core --n 10000000 --dim 768 --scratch FOLDER --limit-gb 8 --json out_of_core.json

Invented rows are written (15.4 GB for the line above), the index is built in a process whose own memory is
limited, and another such process searches: once with the rows out of the system's file cache, then again. The limit is
`RLIMIT_DATA`, which counts what a process allocates and not the files that it maps: those pages the system takes back when it needs
them. "Own" is the peak of RssAnon, looked at 20 times a second; "with files" is VmHWM, the peak of all resident pages.

Rows and the built index are kept in the scratch folder, and a second run goes on from them. Where the disk does not hold n
rows, the two sizes that it does hold are measured, and a line through them says what n would take; that row is marked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aad.scale.building import METHODS
from aad.search import method_for
from aad.spaces import SPACES
from benchmarks.common import machine, machine_line, run, table, write_report
from benchmarks.invented import CHUNK, rows_that_fit
from benchmarks.measuring import K, measure_index, prepare_case, say
from benchmarks.real_domain import measure_domain
from benchmarks.searcher import SearcherError

INDEX_SHARE = 0.25  # bytes of an index, and of its file while it is written, over those of float16 rows; generous
COLUMNS = {
    "n": "references",
    "method": "method",
    "build_s": "build, s",
    "rows_gb": "rows on disk, GB",
    "index_gb": "index, GB",
    "build_peak_own_mb": "build: own, MB",
    "build_peak_mb": "with files, MB",
    "search_peak_own_mb": "search: own, MB",
    "search_peak_mb": "with files, MB",
    "p50_cold_ms": "first search, median, ms",
    "p50_ms": "again, median, ms",
    "p95_ms": "95 %, ms",
    "recall_at_10": "recall@10",
    "note": "",
}
GROWS: tuple[str, ...] = ("build_s", "rows_gb", "index_gb", "p50_cold_ms", "p95_cold_ms", "p50_ms", "p95_ms")
GROWS += ("build_peak_own_mb", "build_peak_mb", "search_peak_own_mb", "search_peak_mb", "resident_mb")


def extrapolate(rows: Sequence[dict[str, Any]], n: int) -> dict[str, Any]:
    """A row for n references on the line through the two largest of the measured rows, marked; recall is not extrapolated.

    >>> extrapolate([{"n": 10, "build_s": 1.0}, {"n": 20, "build_s": 3.0}], 40)["build_s"]
    7.0
    """
    low, high = sorted(rows, key=lambda row: row["n"])[-2:]
    row: dict[str, Any] = {key: high[key] for key in ("method", "dim", "space") if key in high}
    row |= {"n": n, "extrapolated": True, "note": f"extrapolated from {low['n']:,} and {high['n']:,}"}
    for key in GROWS:
        if key in low and key in high:
            slope = (high[key] - low[key]) / (high["n"] - low["n"])
            row[key] = max(high[key], high[key] + slope * (n - high["n"]))
    return row


def sizes_to_measure(n: int, n_fit: int) -> list[int]:
    """All n rows where they fit, else two sizes that do, side by side."""
    if n_fit >= n:
        return [n]
    part = n_fit // 3 // CHUNK * CHUNK
    return [part, 2 * part] if part else []


def main(argv: Sequence[str] | None = None) -> int:
    """Make, build, search; print a table and one line of JSON.

    Returns:
        0, or 1 where the limit was met or the disk holds next to nothing.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000_000, help="references")
    parser.add_argument("--dim", type=int, default=768, help="dimensions of an embedding")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for rows and index, kept")
    parser.add_argument("--limit-gb", type=float, default=8.0, help="memory of its own that a process may have")
    parser.add_argument("--space", default="disentangled", choices=[str(s) for s in SPACES], help="to invent rows from")
    parser.add_argument("--method", choices=METHODS, help="index; default: what the library takes for n")
    parser.add_argument("--queries", type=int, default=50, help="synthetic-domain queries that are timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the report here")
    options = parser.parse_args(argv)
    method = options.method or method_for(options.n)
    domain = measure_domain(options.space, options.dim)
    beside = INDEX_SHARE * 2 * options.dim
    options.scratch.mkdir(parents=True, exist_ok=True)
    n_fit = rows_that_fit(options.scratch, domain, options.n, beside=beside)
    sizes = sizes_to_measure(options.n, n_fit)
    if not sizes:
        print(
            f"benchmarks.out_of_core: the disk of --scratch takes {n_fit:,} rows of {options.dim} dimensions, at least "
            f"{3 * CHUNK:,} are needed; free some space or name another folder",
            file=sys.stderr,
        )
        return 1
    if sizes != [options.n]:
        say(f"the disk takes {n_fit:,} of {options.n:,} rows: measuring {sizes[0]:,} and {sizes[1]:,}, extrapolating")
    rows: list[dict[str, Any]] = []
    failed = False
    for n in sizes:
        case = prepare_case(
            options.scratch, options.space, n, options.dim, seed=options.seed, n_queries=options.queries
        )
        try:
            rows.append(measure_index(case, method, limit_gb=options.limit_gb, cold=True))
        except SearcherError as error:
            rows.append({"n": n, "dim": options.dim, "method": method, "note": f"failed: {error}"})
            failed = True
    if sizes != [options.n] and not failed:
        rows.append(extrapolate(rows, options.n))
    report = {
        "rows": rows,
        "dim": options.dim,
        "space": options.space,
        "asked": options.n,
        "measured": 0 if failed else sizes[-1],
        "limit_gb": options.limit_gb,
        "within_limit": not failed,
        "n_queries": options.queries,
        "seed": options.seed,
        "machine": machine(),
    }
    print(tables(report))
    write_report(options.json, report)
    return int(failed)


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    return (
        f"{table(report['rows'], COLUMNS)}\n\n{report['dim']} dimensions, {report['space']}, k = {K}, {report['n_queries']} "
        f"synthetic-domain queries, one at a time; each process limited to {report['limit_gb']:g} GB of its own (RLIMIT_DATA): "
        f"{'kept' if report['within_limit'] else 'failed'}.{''.join(map(choices, report['rows']))}"
        f"\n\n{machine_line(report['machine'])}"
    )


def choices(row: dict[str, Any]) -> str:
    """A sentence about what the build of one row tried, empty where it tried nothing.

    >>> choices({"n": 10, "settings": {"rerank": 300, "recall_at_10": 0.9, "stepped_up": [{"n_probe": 4, "recall_at_10": 0.5}]}})
    ' Tried at 10, with recall@10 on the queries it was built with: 4 cells at most 0.5; taken: 300 candidates 0.9.'
    """
    if not (settings := row.get("settings", {})).get("stepped_up"):
        return ""
    tried = "; ".join(map(_trial, settings["stepped_up"]))
    return (
        f" Tried at {row['n']:,}, with recall@10 on the queries it was built with: {tried}; taken: {_trial(settings)}."
    )


def _trial(one: dict[str, Any]) -> str:
    parts = [f"{one['rerank']:,} candidates"] if "rerank" in one else []
    parts += [f"{one['n_probe']:,} cells{'' if parts else ' at most'}"] if "n_probe" in one else []
    return f"{' in '.join(parts)} {one['recall_at_10']}"


if __name__ == "__main__":
    run(main)
