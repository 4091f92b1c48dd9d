"""A gallery far larger than memory, built and searched from disk, under a limit on memory.

    python -m benchmarks.out_of_core --n 10000000 --dim 768 --scratch FOLDER --json out_of_core.json

Invented rows are written (15.4 GB for the line above), the index is built in a process whose own memory is limited, and another
such process searches: once with the rows out of the system's file cache, then again. The limit is `RLIMIT_DATA`, which counts what
a process allocates and not the files that it maps: those pages the system takes back when it needs them. "Own" is the peak of
RssAnon, looked at 20 times a second; "with files" is VmHWM, the peak of all resident pages. Rows and the built index are kept in
the scratch folder, and a second run goes on from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, finish, machine_line, run, table
from benchmarks.search import DIM, LIMIT_GB, N_QUERIES, SEED, SPACE, K, measure_size

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


def main(argv: Sequence[str] | None = None) -> int:
    """Make, build, search; print a table and one line of JSON.

    Returns:
        0, or 1 where the limit was met or the disk is too small.
    """
    parser = arguments(__doc__, n=10_000_000, dim=DIM)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for rows and index, kept")
    options = parser.parse_args(argv)
    row = measure_size(options.scratch, options.n, options.dim, cold=True)
    told = {"dim": options.dim, "space": SPACE, "n_queries": N_QUERIES, "seed": SEED, "limit_gb": LIMIT_GB}
    finish(options.json, {"rows": [row], **told, "within_limit": "note" not in row}, tables)
    return int("note" in row)


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

    def said(one: dict[str, Any]) -> str:
        # an earlier version tried cells too, and its figures are still shown
        what = f"{one['rerank']:,} candidates" if "rerank" in one else f"{one['n_probe']:,} cells at most"
        return f"{what} {one['recall_at_10']}"

    if not (settings := row.get("settings", {})).get("stepped_up"):
        return ""
    tried, on = "; ".join(map(said, settings["stepped_up"])), "with recall@10 on the queries it was built with"
    return f" Tried at {row['n']:,}, {on}: {tried}; taken: {said(settings)}."


if __name__ == "__main__":
    run(main)
