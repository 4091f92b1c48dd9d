"""Step 1: build AbC-mini, the demo benchmark, from pictures and style networks that ordinary packages ship.

Reads   two Debian packages (205 MB; --download fetches them with apt-get) and precompute/demo/exemplars.csv
Writes  OUT/abc_mini (about 23 MB) and OUT/contact_sheet.webp

    python -m precompute.build_benchmark --download
    python -m precompute.build_benchmark --packages FOLDER --out OUT

The same seed gives the same bytes, whatever the number of jobs. Pictures that are already there are kept, so an
interrupted build goes on where it stopped; --force makes them anew, as another seed or a changed recipe needs.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from precompute.common.cli import run_step
from precompute.demo import packages
from precompute.demo.catalogue import Entry, Pictures, read_catalogue
from precompute.demo.contact_sheet import write_contact_sheet
from precompute.demo.layout import (
    EXEMPLAR_QUALITY,
    QUERY_QUALITY,
    Benchmark,
    make_exemplar,
    plan_benchmark,
    save_webp,
    write_json,
)
from precompute.demo.recipes import BlankQueryError, Kitchen, Plan, Recipe, style_networks

CATALOGUE = Path(__file__).parent / "demo" / "exemplars.csv"
DEFAULT_PACKAGES = Path(__file__).parent / ".packages"


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=DEFAULT_PACKAGES, help="folder with the two .deb files")
    parser.add_argument("--download", action="store_true", help="fetch a missing .deb with apt-get")
    parser.add_argument("--out", type=Path, default=Path("assets"), help="where abc_mini/ is written (default: assets)")
    parser.add_argument("--seed", type=int, default=0, help="seed of splits and recipes (default: 0)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N pictures of the list")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all cores)")
    parser.add_argument("--force", action="store_true", help="make pictures anew that are already there")
    options = parser.parse_args(argv)

    started = time.perf_counter()
    try:
        pictures = open_packages(options.packages, options.download)
    except packages.PackageError as error:
        sys.exit(f"error: {error}")
    build(read_catalogue(CATALOGUE), pictures, options.out, options.seed, options.limit, options.jobs, options.force)
    print(f"built in {time.perf_counter() - started:.0f} s: {describe_size(options.out / 'abc_mini')}")


def open_packages(folder: Path, download: bool) -> Pictures:
    """Unpack both packages below `folder`, fetching them first where allowed.

    Raises:
        PackageError: a package is missing, or apt-get could not fetch it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages.PACKAGES.values():
        if download and not (folder / package.file).exists():
            fetched = subprocess.run(package.command.split(), cwd=folder, check=False)
            if fetched.returncode:
                raise packages.PackageError(f"apt-get could not fetch {package.source}; by hand: {package.command}")
    trees = [packages.unpack(package, folder) for package in (packages.TUXPAINT, packages.GCOMPRIS)]
    return Pictures(*trees)


def build(
    catalogue: Sequence[Entry], pictures: Pictures, out: Path, seed: int, limit: int | None, jobs: int, force: bool
) -> Benchmark:
    """Make every picture and every list of the benchmark below `out`.

    Args:
        catalogue: The curated list.
        pictures: Where its pixels come from.
        out: `abc_mini/` and the contact sheet are written here.
        seed: Of splits and recipes.
        limit: Use only the first `limit` exemplar rows (backdrops and palettes are always used).
        jobs: Worker processes; the result does not depend on it.
        force: Make pictures anew that are already there.

    Returns:
        What was planned.
    """
    root = out / "abc_mini"
    for left_over in root.rglob("*.tmp"):
        left_over.unlink()
    benchmark = plan_benchmark(catalogue, pictures, seed, limit)
    for exemplar in tqdm(benchmark.exemplars, desc="exemplars", unit="picture", disable=None):
        path = out / exemplar.path
        if force or not path.exists():
            save_webp(make_exemplar(exemplar, pictures, seed), path, EXEMPLAR_QUALITY)

    work = [(plan, benchmark.recipes[plan.key]) for plan in benchmark.plans]
    pending = [(plan, recipe) for plan, recipe in work if force or not (root / f"{plan.key}.webp").exists()]
    if pending:
        style_networks()  # a worker could only say in vain that they are missing
    skipped: dict[str, str] = {}
    initial = (benchmark.entries, pictures.tuxpaint, pictures.gcompris, root, seed)
    with multiprocessing.get_context("spawn").Pool(max(1, jobs), _start_worker, initial) as pool:
        results = pool.imap_unordered(_cook_one, pending, chunksize=4)
        for key, reason in tqdm(results, total=len(pending), desc="queries", unit="picture", disable=None):
            if reason:
                skipped[key] = reason
    write_json(benchmark, root, skipped)
    write_contact_sheet(out)
    counts = Counter(plan.type for plan in benchmark.plans if plan.key not in skipped)
    print(f"{len(benchmark.exemplars)} exemplars, queries: {dict(counts)}, skipped: {len(skipped)}")
    return benchmark


_worker: tuple[Kitchen, Path] | None = None


def _start_worker(entries: dict[str, Entry], tuxpaint: Path, gcompris: Path, root: Path, seed: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends the pool
    pictures = Pictures(tuxpaint, gcompris)

    @functools.lru_cache(maxsize=64)
    def picture(slug: str) -> Image.Image:
        return make_exemplar(entries[slug], pictures, seed, size=512)

    @functools.lru_cache(maxsize=16)
    def cutout(slug: str) -> Image.Image:
        return pictures.image(entries[slug])

    _worker = Kitchen(picture, cutout), root


def _cook_one(task: tuple[Plan, Recipe]) -> tuple[str, str]:
    assert _worker is not None  # the pool's initialiser ran
    kitchen, root = _worker
    plan, recipe = task
    try:
        picture = kitchen.cook(plan.type, recipe)
    except BlankQueryError as error:
        return plan.key, str(error)
    save_webp(picture, root / f"{plan.key}.webp", QUERY_QUALITY)
    return plan.key, ""


def describe_size(folder: Path) -> str:
    """Number of files below a folder and their size in MB."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


if __name__ == "__main__":
    run_step(main)
