"""Step 1: build AbC-mini, the demo benchmark, from pictures and style networks that ordinary packages ship.

Reads   two Debian packages (205 MB; --download fetches them with apt-get) and precompute/demo/exemplars.csv
Writes  OUT/abc_mini (about 23 MB)

    python -m precompute.build_benchmark --download
    python -m precompute.build_benchmark --packages FOLDER --out OUT

The same seed gives the same bytes, whatever the number of jobs. Pictures that are already there are kept, so an
interrupted build goes on where it stopped; another seed or a changed recipe needs another folder.
"""

import argparse
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from precompute.common.cli import run_step
from precompute.common.runners import run_shards
from precompute.demo import packages
from precompute.demo.catalogue import Entry, Pictures, read_catalogue
from precompute.demo.layout import (
    EXEMPLAR_QUALITY,
    EXEMPLAR_SIZE,
    QUERY_QUALITY,
    Benchmark,
    make_exemplar,
    plan_benchmark,
    save_webp,
    write_json,
)
from precompute.demo.recipes import BlankQueryError, Kitchen, Plan, style_networks

CATALOGUE = Path(__file__).parent / "demo" / "exemplars.csv"
DEFAULT_PACKAGES = Path(__file__).parent / ".packages"


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=DEFAULT_PACKAGES, help="folder with the two .deb files")
    parser.add_argument("--download", action="store_true", help="fetch a missing .deb with apt-get")
    parser.add_argument("--out", type=Path, default=Path("assets"), help="where abc_mini/ is written (default: assets)")
    parser.add_argument("--seed", type=int, default=0, help="seed of recipes (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all cores)")
    options = parser.parse_args(argv)

    pictures = open_packages(options.packages, options.download)
    build(read_catalogue(CATALOGUE), pictures, options.out, options.seed, options.jobs)


def open_packages(folder: Path, download: bool) -> Pictures:
    """Unpack both packages below `folder`, fetching them first where allowed.

    Raises:
        PackageError: a package is missing, or apt-get could not fetch it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trees = []
    for package in (packages.TUXPAINT, packages.GCOMPRIS):
        if download and not (folder / package.file).exists():
            fetched = subprocess.run(package.command.split(), cwd=folder, check=False)
            if fetched.returncode:
                raise packages.PackageError(f"apt-get could not fetch {package.source}; by hand: {package.command}")
        trees.append(packages.unpack(package, folder))
    return Pictures(*trees)


def build(catalogue: Sequence[Entry], pictures: Pictures, out: Path, seed: int, jobs: int) -> Benchmark:
    """Make every picture and every list of the benchmark below `out`, in so many processes at a time."""
    root = out / "abc_mini"
    for left_over in (*root.rglob("*.tmp"), *root.rglob(".*.partial")):
        left_over.unlink()
    benchmark = plan_benchmark(catalogue, seed)
    for exemplar in tqdm(benchmark.exemplars, desc="exemplars", unit="picture", disable=None):
        path = out / exemplar.path
        if not path.exists():
            picture = make_exemplar(exemplar.entry, pictures, seed, EXEMPLAR_SIZE, exemplar.tile)
            save_webp(picture, path, EXEMPLAR_QUALITY)

    pending = [plan for plan in benchmark.plans if not (root / f"{plan.key}.webp").exists()]
    if pending:
        style_networks()  # here, before a worker finds that they are missing
    results = run_shards(Cook(benchmark, pictures, root, seed), pending, workers=max(1, jobs))
    bar = tqdm(results, total=len(pending), desc="queries", unit="picture", disable=None)
    skipped = {key: reason for key, reason in bar if reason}
    write_json(benchmark, root, skipped)
    counts = Counter(plan.type for plan in benchmark.plans if plan.key not in skipped)
    print(f"{len(benchmark.exemplars)} exemplars, queries: {dict(counts)}, skipped: {len(skipped)}")
    return benchmark


class Cook:
    """Makes a query and says why not where there is nothing to see in it; what it needs is loaded in each worker, once."""

    def __init__(self, benchmark: Benchmark, pictures: Pictures, root: Path, seed: int) -> None:
        self.benchmark, self.root, self.seed = benchmark, root, seed
        self.packages = pictures.tuxpaint, pictures.gcompris

    @cached_property
    def kitchen(self) -> Kitchen:
        """Full-size pictures of all rows, the latest kept."""
        entries, pictures = self.benchmark.entries, Pictures(*self.packages)

        @lru_cache(maxsize=64)
        def picture(slug: str) -> Image.Image:
            return make_exemplar(entries[slug], pictures, self.seed, 512)

        @lru_cache(maxsize=16)
        def cutout(slug: str) -> Image.Image:
            return pictures.image(entries[slug])

        return Kitchen(picture, cutout)

    def __call__(self, plan: Plan) -> tuple[str, str]:
        """The query's key, and why it was not made."""
        try:
            picture = self.kitchen.cook(plan.type, self.benchmark.recipes[plan.key])
        except BlankQueryError as error:
            return plan.key, str(error)
        save_webp(picture, self.root / f"{plan.key}.webp", QUERY_QUALITY)
        return plan.key, ""


if __name__ == "__main__":
    run_step(main)
