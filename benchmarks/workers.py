"""Images a second of `precompute.embed_shards` over the number of local workers, from start to end, on the demo's pictures.

python -m benchmarks.workers --json docs/figures/workers.json
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, arguments, finish, machine_line, run, seconds, table

PICTURES = ROOT / "assets" / "abc_mini" / "synth"
N_IMAGES = (64, 1088)
SHARD_IMAGES = 32
WORKERS = (1, 2)
COLUMNS = {
    "workers": "workers",
    "images_per_s": "images a second",
    "speedup": "times one worker",
    "start_s": "to start, s",
}


def measure_workers(workers: int) -> dict[str, Any]:
    """Images a second with so many workers, and the seconds before the first."""
    pictures = sorted(PICTURES.rglob("*.webp"))
    taken = []
    with tempfile.TemporaryDirectory(prefix="aad-workers-") as temporary:
        for n_images in N_IMAGES:
            folder, out = Path(temporary) / f"images_{n_images}", Path(temporary) / f"shards_{n_images}"
            folder.mkdir()
            for i in range(n_images):
                shutil.copyfile(pictures[i % len(pictures)], folder / f"{i:05d}.webp")
            command = [sys.executable, "-m", "precompute.embed_shards", "--source", str(folder), "--out", str(out)]
            command += ["--runner", "local", "--workers", str(workers), "--size", str(SHARD_IMAGES)]
            taken.append(seconds(embed, command))
    rate = (N_IMAGES[1] - N_IMAGES[0]) / max(taken[1] - taken[0], 1e-9)
    return {"workers": workers, "images_per_s": rate, "start_s": max(0.0, taken[0] - N_IMAGES[0] / rate)}


def embed(command: Sequence[str]) -> None:
    """Run the step, which must succeed.

    Raises:
        OSError: it failed, with the last it said.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"the step failed: {(done.stderr.strip() or f'code {done.returncode}').splitlines()[-1]}")


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    return f"{table(report['rows'], COLUMNS)}\n\n{machine_line(report['machine'])}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and the report."""
    options = arguments(__doc__).parse_args(argv)
    rows = [measure_workers(workers) for workers in WORKERS]
    rows = [row | {"speedup": row["images_per_s"] / rows[0]["images_per_s"]} for row in rows]
    finish(options.json, {"rows": rows}, tables)
    return 0


if __name__ == "__main__":
    run(main)
