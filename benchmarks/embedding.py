"""How fast pictures become features: every engine, and folders of photographs.

    python -m benchmarks.embedding --n 200 --backbone dino_vits16 --json embedding.json

First the network alone on preprocessed pictures, on one thread and on all, against plain torch: float32, inference mode, memory as
it comes (NCHW). A ratio is the median over the rounds, each against the baseline of its own round; the cosine is the least over
the pictures to that baseline: below 0.9999 an engine changes the features.

Then n JPEGs of 12 megapixels, made of the demo's pictures with noise: 40, which the others repeat with bytes at their end. The
baseline, on those 40, is what was done once: each decoded to be checked, one by one, in fresh memory, and again to be embedded, in
threads. The steps have processes of their own, whose start counts.
"""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BACKBONES, BATCH_SIZE, Backbone, build_engine, engines_for, load_backbone
from aad.bundle import DEFAULT_BUNDLE
from aad.images import load_image
from benchmarks.common import ROOT, arguments, finish, in_turns, machine_line, run, seconds, table

BACKBONE = "efficientnet_lite0_moments"
PICTURES = DEFAULT_BUNDLE.parent / "abc_mini"
BASELINE = "plain torch"
COLUMNS = "engine threads images_per_s ratio cosine"
FOLDER_COLUMNS = "what n s processors_s images_per_s ratio"
SIZE, MADE, MORE = (4000, 3000), 40, 10
Run = Callable[[np.ndarray], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print two tables and the report."""
    parser = arguments(__doc__, n=1000, rounds=5)
    parser.add_argument("--backbone", default=BACKBONE, choices=sorted(BACKBONES), metavar="NAME")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the backbone")
    kept = Path(tempfile.gettempdir()) / "aad_photographs"
    parser.add_argument("--folder", type=Path, default=kept, help="where photographs are kept, 2.5 MB each")
    options = parser.parse_args(argv)
    files = sorted(PICTURES.rglob("*.webp"))
    backbone = load_backbone(options.backbone, options.weights)
    rows = [
        row for n in sorted({1, os.cpu_count() or 1}) for row in measure_engines(backbone, files, n, options.rounds)
    ]
    best = max(rows, key=lambda row: (row["threads"], row["ratio"]))["engine"]
    told = {"backbone": backbone.spec.name, "rounds": options.rounds, "n": options.n, "best": best}
    finish(options.json, told | {"rows": rows, "folders": measure_folders(options.n, options.folder)}, tables)
    return 0


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    return (
        f"{report['backbone']}, the network alone:\n\n{table(report['rows'], COLUMNS)}\n\n"
        f"Folders of photographs:\n\n{table(report['folders'], FOLDER_COLUMNS)}\n\n"
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


def measure_folders(n: int, kept: Path) -> list[dict[str, Any]]:
    """Rows for the baseline, for a folder of n photographs, and for it with ten more."""
    folder, backbone = kept / str(n), load_backbone(BACKBONE)
    files = [folder / f"{i:06}.jpg" for i in range(n + MORE)]
    for path in files[n:]:
        path.unlink(missing_ok=True)
    write_photographs(files[:n])

    def one_by_one(some: Sequence[Path]) -> None:
        for path in some:
            load_image(path)
        with ThreadPoolExecutor() as pool:
            backbone.embed_pixels(pool.map(lambda path: backbone.spec.preprocess(load_image(path)), some))

    def row(what: str, some: Sequence[Path], who: int, work: Callable[[Any], Any], asked: Any) -> dict[str, Any]:
        before, took = sum(getrusage(who)[:2]), seconds(work, asked)
        return {"what": what, "n": len(some), "s": took, "processors_s": sum(getrusage(who)[:2]) - before}

    rows = [row("checked one by one, then embedded", files[:n][:MADE], RUSAGE_SELF, one_by_one, files[:n][:MADE])]
    with tempfile.TemporaryDirectory() as out:
        works = ("extract_features", files[:n]), ("run, after it", files[:n]), ("run, 10 of them new", files)
        for step, some in works:
            write_photographs(some)
            told = ("--references", folder, "--bundle", out)
            command = (sys.executable, "-m", f"precompute.{step.split(',')[0]}", *told)
            rows.append(row(step, some, RUSAGE_CHILDREN, partial(subprocess.run, cwd=ROOT, check=True), command))
    for one in rows[:2]:
        one["images_per_s"] = one["n"] / one["s"]
        one["ratio"] = one["images_per_s"] / rows[0]["images_per_s"]
    return rows


def write_photographs(paths: Sequence[Path]) -> None:
    """Those that are not there."""
    made, pictures = dict[int, bytes](), sorted(PICTURES.rglob("*.webp"))
    for i, path in enumerate(paths):
        if path.exists():
            continue
        if (which := i % MADE) not in made:
            noise, file = np.random.default_rng(which).integers(0, 16, (*SIZE[::-1], 3), np.uint8), io.BytesIO()
            image = load_image(pictures[which * len(pictures) // MADE]).resize(SIZE, Image.Resampling.BICUBIC)
            Image.fromarray(np.asarray(image) // 17 * 16 + noise).save(file, "JPEG", quality=90)
            made[which] = file.getvalue()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[which] + bytes(i // MADE))


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
