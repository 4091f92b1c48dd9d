"""How cost grows: build time, disk, memory, latency and recall over the number of references, and images a second over workers.

    python -m benchmarks.scaling --json docs/figures/scaling.json --scratch FOLDER --to 10000000     # adds what is missing

For each size the library's own choice of index is built and searched, each in a process of its own under a limit of 8 GB, over
an invented gallery. Images a second are those of `precompute.embed_shards` from start to end, over copies of the demo's pictures.
Every figure is written as soon as it is there, and a second run measures what is missing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import ROOT, arguments, finish, machine, machine_line, rounded, run, seconds, table
from benchmarks.search import DIM, LIMIT_GB, N_QUERIES, SEED, SPACE, measure_size, say

PICTURES = ROOT / "assets" / "abc_mini" / "synth"
N_IMAGES = (64, 1088)  # what starting costs is in the first already, so their difference is the steady rate
SHARD_IMAGES = 32
WORKERS = (1, 2)
COLUMNS = {
    "n": "references",
    "method": "index",
    "build_s": "build, s",
    "rows_gb": "rows on disk, GB",
    "index_gb": "index, GB",
    "build_peak_own_mb": "memory to build, MB",
    "search_peak_own_mb": "to search, MB",
    "p50_ms": "one query, median, ms",
    "p95_ms": "95 %, ms",
    "recall_at_10": "recall@10",
    "note": "",
}
EMBEDDING = {
    "workers": "workers",
    "images_per_s": "images a second",
    "speedup": "times one worker",
    "start_s": "to start, s",
    "note": "",
}


def sizes_to(last: int) -> list[int]:
    """1,000, 10,000 and so on, and the last itself.

    >>> sizes_to(30_000)
    [1000, 10000, 30000]
    """
    return [*(10**power for power in range(3, 10) if 10**power < last), last]


def measure_workers(workers: int) -> dict[str, Any]:
    """Images a second of `precompute.embed_shards` with so many local workers."""
    pictures = sorted(PICTURES.rglob("*.webp"))
    taken = []
    with tempfile.TemporaryDirectory(prefix="aad-scaling-") as temporary:
        for n_images in N_IMAGES:
            folder, out = Path(temporary) / f"images_{n_images}", Path(temporary) / f"shards_{n_images}"
            folder.mkdir()
            for i in range(n_images):
                shutil.copyfile(pictures[i % len(pictures)], folder / f"{i:05d}.webp")
            command = [sys.executable, "-m", "precompute.embed_shards", "--source", str(folder), "--out", str(out)]
            command += ["--runner", "local", "--workers", str(workers), "--size", str(SHARD_IMAGES)]
            say(f"embedding {n_images} images with {workers} workers")
            try:
                taken.append(seconds(embed, command))
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip() or f"code {error.returncode}").splitlines()[-1]
                return {"workers": workers, "note": f"failed: {last}"}
    rate = (N_IMAGES[1] - N_IMAGES[0]) / max(taken[1] - taken[0], 1e-9)
    return {
        "workers": workers,
        "images_per_s": rate,
        "start_s": max(0.0, taken[0] - N_IMAGES[0] / rate),
        "images": N_IMAGES[1],
        "whole_s": taken[1],
    }


def embed(command: Sequence[str]) -> None:
    """Run the step, which must succeed."""
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    rates = {row["workers"]: row["images_per_s"] for row in report["embedding"] if "images_per_s" in row}
    speedups = {n: {"speedup": rate / rates[1]} for n, rate in rates.items() if 1 in rates}
    embedding = [row | speedups.get(row["workers"], {}) for row in report["embedding"]]
    return f"{table(report['rows'], COLUMNS)}\n\n{table(embedding, EMBEDDING)}\n\n{machine_line(report['machine'])}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and print two tables and one line of JSON.

    Returns:
        0, or 1 where a size failed.
    """
    parser = arguments(__doc__, to=1_000_000, dim=DIM)
    parser.set_defaults(json=ROOT / "docs" / "figures" / "scaling.json")  # read, and completed
    parser.add_argument("--scratch", type=Path, help="folder for galleries and indices, kept; default: deleted")
    options = parser.parse_args(argv)
    settings = {"dim": options.dim, "space": SPACE, "n_queries": N_QUERIES, "seed": SEED}
    report: dict[str, Any] = {**settings, "limit_gb": LIMIT_GB, "machine": machine(), "rows": [], "embedding": []}
    if options.json.exists():
        before = json.loads(options.json.read_bytes())
        if {key: before[key] for key in settings} == settings:
            report |= {part: [row for row in before[part] if "note" not in row] for part in ("rows", "embedding")}

    def keep(part: str, key: str, row: dict[str, Any]) -> None:
        report[part] = sorted([*report[part], rounded(row)], key=lambda one: one[key])
        common.keep(options.json, report)

    with tempfile.TemporaryDirectory(prefix="aad-scaling-") as temporary:
        for n in sizes_to(options.to):
            if n not in [row["n"] for row in report["rows"]]:
                say(f"{n:,} references")
                keep("rows", "n", measure_size(options.scratch or Path(temporary), n, options.dim))
    for workers in WORKERS:
        if workers not in [row["workers"] for row in report["embedding"]]:
            keep("embedding", "workers", measure_workers(workers))
    finish(options.json, report, tables)
    failed = [row for row in (*report["rows"], *report["embedding"]) if row.get("note", "").startswith("failed")]
    return int(bool(failed))


if __name__ == "__main__":
    run(main)
