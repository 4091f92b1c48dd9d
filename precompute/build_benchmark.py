"""Step 1: build AbC-mini, the demo benchmark, from pictures and style networks that ordinary packages ship.

Reads   two Debian packages (205 MB; --download fetches them with apt-get); the lists of assets/abc_mini, which say what is made of
        them: its exemplars and queries, each with its recipe
Writes  OUT/abc_mini (about 23 MB)

    python -m precompute.build_benchmark --download
    python -m precompute.build_benchmark --packages FOLDER --out OUT

On one machine the bytes are the same whatever the number of jobs; on another the style networks may paint in other colours.
Pictures that are already there are kept, so an interrupted build goes on where it stopped.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aad.files import write_atomically
from precompute.common.cli import run_step
from precompute.common.runners import run_shards
from precompute.demo import packages
from precompute.demo.catalogue import Pictures, read_catalogue
from precompute.demo.recipes import cook, style_networks

LISTS = Path(__file__).resolve().parents[1] / "assets" / "abc_mini"
ABSENT = Path(__file__).parent / "demo" / "absent.json"  # pictures for the app's strip whose source is in no list
DEFAULT_PACKAGES = Path(__file__).parent / ".packages"
EXEMPLAR_SIZE, EXEMPLAR_QUALITY = 320, 78  # pixels on the longest side, WebP quality
QUERY_QUALITY = 76


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=DEFAULT_PACKAGES, help="folder with the two .deb files")
    parser.add_argument("--download", action="store_true", help="fetch a missing .deb with apt-get")
    parser.add_argument("--out", type=Path, default=Path("assets"), help="where abc_mini/ is written (default: assets)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all cores)")
    options = parser.parse_args(argv)

    trees = [packages.unpack(package, options.packages, options.download) for package in packages.BOTH]
    lists = (LISTS / "exemplars.json", LISTS / "queries.json", ABSENT)
    exemplars, queries, absent = (json.loads(path.read_bytes()) for path in lists)
    pictures = Pictures(read_catalogue(exemplars), *trees)
    build([*exemplars, *queries, *absent], pictures, options.out, options.jobs)
    for path in [path for path in LISTS.rglob("*.*") if path.suffix != ".webp"]:
        place = options.out / "abc_mini" / path.relative_to(LISTS)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, path.read_bytes())
    print(f"{len(exemplars)} exemplars, {len(queries)} queries, {len(absent)} whose source is in no list")


def build(rows: Sequence[Mapping[str, Any]], pictures: Pictures, out: Path, jobs: int) -> None:
    """Make every picture that is missing below `out`, in so many processes at a time: queries have a recipe, exemplars none."""
    root = out / "abc_mini"
    for left_over in (*root.rglob("*.tmp"), *root.rglob(".*.partial")):
        left_over.unlink()
    pending = [row for row in rows if not (out / row["path"]).exists()]
    if any("recipe" in row for row in pending):
        style_networks()  # here, before a worker finds that they are missing
    made = run_shards(partial(make, pictures, out), pending, workers=max(1, jobs))
    for _ in tqdm(made, total=len(pending), desc="pictures", unit="picture", disable=None):
        pass


def make(pictures: Pictures, out: Path, row: Mapping[str, Any]) -> None:
    """One picture as WebP, written under a temporary name and then renamed, so that a broken-off build leaves no half file."""
    path = out / row["path"]
    if "recipe" in row:
        picture, quality = cook(row["recipe"], pictures), QUERY_QUALITY
    else:
        picture, quality = pictures.drawn(path.stem, EXEMPLAR_SIZE), EXEMPLAR_QUALITY
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".tmp")
    picture.save(part, "WEBP", quality=quality, method=6)
    part.replace(path)


if __name__ == "__main__":
    run_step(main)
