"""How fast pictures become features: every engine, and whole files with and without work ahead.

    python -m benchmarks.embedding --n 128 --backbone dino_vits16 --json embedding.json

First the network alone on preprocessed pictures, on one thread and on all, against plain torch: float32, inference mode, memory as
it comes (NCHW). A ratio is the median over the rounds, each against the baseline of its own round; the cosine is the least over
the pictures to that baseline: below 0.9999 an engine changes the features. Then from files to features, one batch after
the other or with the next prepared in threads meanwhile, as precompute does.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aad.backbones import (
    BACKBONES,
    BATCH_SIZE,
    Backbone,
    build_engine,
    engines_for,
    load_backbone,
)
from aad.bundle import DEFAULT_BUNDLE
from aad.images import load_image
from benchmarks.common import arguments, finish, in_turns, machine_line, run, seconds, table

PICTURES = DEFAULT_BUNDLE.parent / "abc_mini"
BASELINE = "plain torch"
COLUMNS = "engine threads images_per_s ratio cosine"
FILE_COLUMNS = "engine pictures images_per_s ratio"
Run = Callable[[np.ndarray], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print two tables and the report."""
    parser = arguments(__doc__, n=512, rounds=5)
    parser.add_argument("--backbone", default="efficientnet_lite0_moments", choices=sorted(BACKBONES), metavar="NAME")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the backbone")
    options = parser.parse_args(argv)
    files = sorted(PICTURES.rglob("*.webp"))
    files = (files * (1 + options.n // len(files)))[: options.n]
    backbone = load_backbone(options.backbone, options.weights)
    rows = [
        row for n in sorted({1, os.cpu_count() or 1}) for row in measure_engines(backbone, files, n, options.rounds)
    ]
    best = max(rows, key=lambda row: (row["threads"], row["ratio"]))["engine"]
    whole = measure_files(backbone, files, "torch" if best == BASELINE else best)
    told = {"backbone": backbone.spec.name, "rounds": options.rounds, "n": options.n, "best": best}
    finish(options.json, told | {"rows": rows, "files": whole}, tables)
    return 0


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    cores = report["machine"]["cores"]
    return (
        f"{report['backbone']}, the network alone:\n\n{table(report['rows'], COLUMNS)}\n\n"
        f"{report['n']} files to features, {cores} threads:\n\n{table(report['files'], FILE_COLUMNS)}\n\n"
        f"{machine_line(report['machine'])}"
    )


def measure_engines(backbone: Backbone, files: Sequence[Path], n_threads: int, n_rounds: int) -> list[dict[str, Any]]:
    """A row for the baseline and for every engine of this machine, on one batch."""
    import torch

    chosen = files[:: max(1, len(files) // BATCH_SIZE)][:BATCH_SIZE]
    batch = np.stack([backbone.spec.preprocess(load_image(path)) for path in chosen])
    torch.set_num_threads(n_threads)  # of what is built from here on, too
    runs = {BASELINE: plain_torch(backbone)} | engines(backbone)
    expected = runs[BASELINE](batch)
    cosines = {name: least_cosine(run(batch), expected) for name, run in runs.items()}
    times = in_turns({name: partial(seconds, run, batch) for name, run in runs.items()}, n_rounds)
    base = np.array(times[BASELINE])
    return [
        {
            "engine": name,
            "threads": n_threads,
            "images_per_s": len(batch) / float(np.median(taken)),
            "ratio": float(np.median(base / np.array(taken))),
            "cosine": cosines[name],
        }
        for name, taken in times.items()
    ]


def measure_files(backbone: Backbone, files: Sequence[Path], engine: str) -> list[dict[str, Any]]:
    """Files to features: plain torch and the engine, one batch after the other and with pictures prepared ahead."""
    spec = backbone.spec

    def prepare(path: Path) -> np.ndarray:
        return spec.preprocess(load_image(path))

    def in_turn(runner: Backbone) -> None:
        runner.embed_pixels(map(prepare, files))

    def in_threads(runner: Backbone) -> None:
        with ThreadPoolExecutor() as pool:
            runner.embed_pixels(pool.map(prepare, files))

    plain = replace(backbone, compiled=plain_torch(backbone))
    fast = replace(backbone, compiled=build_engine(engine, backbone.network, spec.image_size))
    fast.embed_pixels([prepare(files[0])])  # warm
    rows: list[dict[str, Any]] = []
    for name, runner in ((BASELINE, plain), (engine, fast)):
        for work, how in ((in_turn, "one batch after the other"), (in_threads, "ahead, in threads")):
            speed = len(files) / seconds(work, runner)
            ratio = speed / (rows[0]["images_per_s"] if rows else speed)
            rows.append({"engine": name, "pictures": how, "images_per_s": speed, "ratio": ratio})
    return rows


def plain_torch(backbone: Backbone) -> Run:
    """The network in float32 and inference mode, in torch's own order of memory."""
    import torch

    network: Any = copy.deepcopy(backbone.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()

    return run


def engines(backbone: Backbone) -> dict[str, Run]:
    """What every engine of this machine computes, not yet of unit length."""
    built = {name: build_engine(name, backbone.network, backbone.spec.image_size) for name in engines_for("cpu")}
    return {name: compiled or backbone.in_torch().embed_pixels for name, compiled in built.items()}


def least_cosine(rows: np.ndarray, expected: np.ndarray) -> float:
    """The least cosine over pairs of rows (n, d)."""
    a, b = rows.astype(np.float64), expected.astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


if __name__ == "__main__":
    run(main)
