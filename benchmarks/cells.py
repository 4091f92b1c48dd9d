"""Whether cells pay: in each space, the index without cells and the one that begins with them, over the same gallery.

    python -m benchmarks.cells --n 1000000 --dim 768 --scratch FOLDER --json docs/figures/cells.json

A clustered index scans the codes in a few of its cells only, which pays where those hold the nearest rows of a query. Queries are
of the synthetic domain, galleries invented (`benchmarks.invented`). Galleries and indices stay in the scratch folder.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aad.retrieval.building import CELLS_WORTH
from aad.spaces import SPACES
from benchmarks.common import machine, machine_line, run, table, write_report
from benchmarks.measuring import K, measure_index, prepare_case
from benchmarks.searcher import SearcherError

COLUMNS = {
    "space": "space",
    "asked": "asked for",
    "method": "built",
    "scanned": "cells scanned",
    "candidates": "candidates",
    "build_s": "build, s",
    "p50_ms": "one query, median, ms",
    "p95_ms": "95 %, ms",
    "recall_at_10": "recall@10",
    "note": "",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Build and search both; print a table and one line of JSON.

    Returns:
        0, or 1 where one of them failed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000, help="references")
    parser.add_argument("--dim", type=int, default=768, help="dimensions of an embedding")
    parser.add_argument("--spaces", nargs="+", default=[str(s) for s in SPACES], choices=[str(s) for s in SPACES])
    parser.add_argument("--scratch", type=Path, help="folder for rows and indices, kept; default: one that is deleted")
    parser.add_argument("--queries", type=int, default=50, help="synthetic-domain queries that are timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the report here")
    options = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="aad-cells-") as temporary:
        for space in options.spaces:
            scratch = options.scratch or Path(temporary)
            case = prepare_case(scratch, space, options.n, options.dim, seed=options.seed, n_queries=options.queries)
            for asked in ("compressed", "clustered"):
                try:
                    rows.append({"asked": asked, **described(measure_index(case, asked))})
                except SearcherError as error:
                    rows.append({"asked": asked, "space": space, "note": f"failed: {error}"})
    report = {
        "rows": rows,
        "n": options.n,
        "dim": options.dim,
        "n_queries": options.queries,
        "seed": options.seed,
        "machine": machine(),
    }
    print(tables(report))
    write_report(options.json, report)
    return int(any("note" in row and "method" not in row for row in rows))


def described(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what its build settled on; where it gave the cells up, what they would have found is its note."""
    settings = row["settings"]
    found = {"candidates": settings.get("rerank"), "scanned": settings.get("n_probe")}
    given_up = [one for one in settings["stepped_up"] if "n_probe" in one]
    if given_up and row["method"] != "clustered":
        last = given_up[-1]
        found["note"] = (
            f"{last['n_probe']:,} cells, one in {CELLS_WORTH}, hold {last['recall_at_10']:.3f} of the nearest"
        )
    return row | found


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    return (
        f"{table(report['rows'], COLUMNS)}\n\n{report['n']:,} x {report['dim']}, k = {K}, {report['n_queries']} synthetic-domain "
        f"queries, one at a time.\n\n{machine_line(report['machine'])}"
    )


if __name__ == "__main__":
    run(main)
