"""How fast pictures become features: every engine, and whole files with and without work ahead.

    python -m benchmarks.embedding
    python -m benchmarks.embedding --n 128 --backbone dino_vits16 --json embedding.json

The first table is the network alone on preprocessed pictures, on one thread and on all. Its baseline is plain torch: float32,
inference mode, memory as it comes (NCHW). Everything runs in turn, round after round, so that other work disturbs all alike; a
ratio is the median over the rounds, each against the baseline of its own round. The cosine is the least over the pictures to that
baseline; an engine below 0.9999 changes the features, and --engine auto does not take it.

The second is from files to features. Its baseline reads, preprocesses and embeds one batch after the other with plain torch;
"ahead" prepares the next batch in threads meanwhile, as precompute does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import (
    BACKBONES,
    BATCH_SIZE,
    LEAST_COSINE,
    Backbone,
    BackboneError,
    ahead,
    build_engine,
    engines_for,
    load_backbone,
)
from aad.bundle import DEFAULT_BUNDLE
from aad.images import SUFFIXES, load_image
from benchmarks.common import arguments, finish, machine_line, table

PICTURES = DEFAULT_BUNDLE.parent / "abc_mini"
BASELINE = "plain torch"
ROUNDS = 5
COLUMNS = {
    "engine": "engine",
    "threads": "threads",
    "images_per_s": "images/s",
    "ratio": f"times {BASELINE}",
    "cosine": "least cosine",
    "kept": "features kept",
}
FILE_COLUMNS = {"engine": "engine", "pictures": "pictures", "images_per_s": "images/s", "ratio": "times the first line"}
Run = Callable[[np.ndarray], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print two tables and the report."""
    parser = arguments(__doc__)
    parser.add_argument("--n", type=int, default=512, help="files to embed (512)")
    parser.add_argument("--backbone", default="efficientnet_lite0", choices=sorted(BACKBONES), metavar="NAME")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the backbone")
    parser.add_argument("--images", type=Path, default=PICTURES, metavar="FOLDER", help="of pictures (AbC-mini)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of every engine ({ROUNDS})")
    options = parser.parse_args(argv)
    files = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if min(options.n, options.rounds) < 1 or not files:
        parser.error("--n and --rounds must be 1 or more, and --images must hold pictures")
    files = (files * (1 + options.n // len(files)))[: options.n]
    backbone = load_backbone(options.backbone, options.weights)
    cores = os.cpu_count() or 1
    rows = [row for n in sorted({1, cores}) for row in measure_engines(backbone, files, n, options.rounds)]
    kept = [row for row in rows if row["threads"] == cores and row["kept"]]
    best = max(kept, key=lambda row: row["ratio"])["engine"]
    whole = measure_files(backbone, files, "torch" if best == BASELINE else best, cores)
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
    pixels = [
        backbone.spec.preprocess(load_image(path)) for path in files[:: max(1, len(files) // BATCH_SIZE)][:BATCH_SIZE]
    ]
    batch = np.ascontiguousarray(np.stack(pixels))
    with torch_threads(n_threads):
        runs = {BASELINE: plain_torch(backbone)} | engines(backbone)
        expected = runs[BASELINE](batch)
        cosines = {name: least_cosine(run(batch), expected) for name, run in runs.items()}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in tqdm(range(n_rounds), f"{n_threads} threads", unit="round", disable=None):
            for name, run in runs.items():
                started = time.perf_counter()
                run(batch)
                seconds[name].append(time.perf_counter() - started)
    base = np.array(seconds[BASELINE])
    return [
        {
            "engine": name,
            "threads": n_threads,
            "images_per_s": len(batch) / float(np.median(times)),
            "ratio": float(np.median(base / np.array(times))),
            "cosine": cosines[name],
            "kept": cosines[name] >= LEAST_COSINE,
        }
        for name, times in seconds.items()
    ]


def measure_files(backbone: Backbone, files: Sequence[Path], engine: str, n_threads: int) -> list[dict[str, Any]]:
    """Files to features: plain torch and the engine, one batch after the other and with pictures prepared ahead."""
    with torch_threads(n_threads):
        spec, plain = backbone.spec, replace(backbone, compiled=plain_torch(backbone))
        network = backbone.network
        fast = replace(backbone, compiled=build_engine(engine, network, spec.image_size))
        fast.embed_pixels([spec.preprocess(load_image(files[0]))])  # warm
        rows: list[dict[str, Any]] = []
        for name, runner in ((BASELINE, plain), (engine, fast)):
            for prepare, how in ((in_turn, "one batch after the other"), (in_threads, "ahead, in threads")):
                started = time.perf_counter()
                with (
                    prepare(lambda path: spec.preprocess(load_image(path)), files) as pixels,
                    tqdm(total=len(files), desc=f"{name}, {how}", unit="image", disable=None) as bar,
                ):
                    runner.embed_pixels(pixels, bar.update)
                speed = len(files) / (time.perf_counter() - started)
                ratio = speed / (rows[0]["images_per_s"] if rows else speed)
                rows.append({"engine": name, "pictures": how, "images_per_s": speed, "ratio": ratio})
    return rows


@contextmanager
def in_turn(function: Callable[[Path], np.ndarray], files: Sequence[Path]) -> Iterator[Iterator[np.ndarray]]:
    """``ahead`` without the threads."""
    yield map(function, files)


@contextmanager
def in_threads(function: Callable[[Path], np.ndarray], files: Sequence[Path]) -> Iterator[Iterator[np.ndarray]]:
    """As much ahead as precompute is: one batch."""
    with ahead(function, files, BATCH_SIZE) as results:
        yield results


def plain_torch(backbone: Backbone) -> Run:
    """The network in float32 and inference mode, in torch's own order of memory."""
    import copy

    import torch

    network: Any = copy.deepcopy(backbone.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()

    return run


def engines(backbone: Backbone) -> dict[str, Run]:
    """What every engine of this machine computes, not yet of unit length; those that give up here are left out, in words."""
    found: dict[str, Run] = {}
    for name in engines_for("cpu"):
        try:
            compiled = build_engine(name, backbone.network, backbone.spec.image_size)
        except (BackboneError, RuntimeError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        found[name] = compiled or backbone.in_torch().embed_pixels
    return found


def least_cosine(rows: np.ndarray, expected: np.ndarray) -> float:
    """The least cosine over pairs of rows (n, d)."""
    a, b = rows.astype(np.float64), expected.astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """That many threads for torch, and for what is built meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    sys.exit(main())
