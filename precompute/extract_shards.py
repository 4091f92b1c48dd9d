"""Embed folders of unpaired images with views of each, in shards, to train heads on any number of them.

Reads   every image under the folders; what cannot be read is listed and left out
Writes  SHARDS/shards.json, SHARDS/NNNNN.npy and NNNNN.json (precompute/common/view_shards.py says what is in them)

An image's views depend on the seed, its name below its folder and its bytes, and on no other image: what a view is set into, or
painted after, is a ground of random colours. The kinds take turns, so --n-views 4 --kinds plain filters makes two of each.
Stops and goes on: a second run reads the images again to see whether they changed, and computes what is missing or damaged.

    python -m precompute.extract_shards --images PHOTOS --domain real --out SHARDS/real
    python -m precompute.extract_shards --images LAION --domain real --backbone dino_vitb16 --device auto --out SHARDS/laion
    python -m precompute.extract_shards --images GENERATED MORE --domain synthetic --kinds plain --out SHARDS/synthetic
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aad.backbones import BACKBONES, Backbone, load_backbone, manifest_entry
from aad.images import SUFFIXES
from aad.spaces import Domain
from precompute.common.cli import add_network_options, chosen_engine, run_step
from precompute.common.drawn_shards import KINDS, Shard
from precompute.common.holding import hold, lets_go
from precompute.common.shard_files import refuse_other_settings, tidy, write_table
from precompute.common.shards import limit_threads
from precompute.common.sources import images_below
from precompute.common.view_shards import FORMAT, INDEX
from precompute.pictures.restyle import STYLE_FAMILIES, style_networks

SHARD = 256  # images: minutes on a CPU, seconds on a GPU
SHOWN = 20  # images that could not be read, on screen; the shards' tables have all


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of images")
    parser.add_argument("--domain", choices=[str(domain) for domain in Domain], required=True, help="what they show")
    parser.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder to write")
    known = sorted(BACKBONES)
    parser.add_argument(
        "--backbone", default="efficientnet_lite0", choices=known, metavar="NAME", help="frozen encoder"
    )
    add_network_options(parser)
    parser.add_argument("--n-views", type=int, default=4, help="views of each image besides itself (4)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["plain", "filters"], help="(plain filters)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (0)")
    parser.add_argument("--threads", type=int, help="torch threads (all cores)")
    arguments = parser.parse_args(argv)
    if arguments.n_views < 1:
        parser.error("--n-views must be 1 or more: training compares views of one image")
    kinds = list(dict.fromkeys(arguments.kinds))
    if STYLE_FAMILIES.intersection(kinds):
        style_networks()
    folders = _folders(arguments.images)
    hold(arguments.out, new=True)
    limit_threads(arguments.threads)
    backbone = load_backbone(arguments.backbone, arguments.weights, arguments.device, chosen_engine(arguments))
    settings = {"domain": arguments.domain, "n_views": arguments.n_views, "kinds": kinds, "seed": arguments.seed}
    extract(folders, backbone, settings, arguments.out)


def extract(folders: Sequence[Path], backbone: Backbone, settings: dict[str, Any], out: Path) -> None:
    """Write or complete a folder of shards.

    Args:
        folders: of images.
        backbone: embeds them.
        settings: domain, n_views, kinds and seed.
        out: the folder.
    """
    entry = json.loads(json.dumps(manifest_entry(backbone.spec)))  # as it reads back: JSON has no tuples
    deciding = {key: value for key, value in entry.items() if key not in ("licence", "weights")}  # texts for people
    settings = {"format": FORMAT, "backbone": deciding} | settings
    out.mkdir(parents=True, exist_ok=True)
    refuse_other_settings(out, settings)
    total = sum(1 for folder in folders for _ in images_below(folder))
    source = (
        (f"{folder.name}/{path.relative_to(folder).as_posix()}", path)
        for folder in folders
        for path in images_below(folder)
    )
    entries: list[dict[str, Any]] = []
    refused: list[str] = []
    n_refused = 0
    with (
        tqdm(total=total, desc=f"{settings['domain']} images", unit="image", disable=None) as bar,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,  # Pillow and numpy free the interpreter lock
    ):
        while members := list(islice(source, SHARD)):
            shard = Shard(out, len(entries), members, settings)
            if table := shard.stored(pool):
                bar.update(len(members))
            else:
                (out / INDEX).unlink(missing_ok=True)  # the folder is not finished until this shard is
                table = shard.made(backbone, pool, bar.update)
            names = table["names"]
            sides = {"first": names[0], "last": names[-1]} if names else {"first": None, "last": None}
            entries.append({"file": shard.array.name, "n": len(names), "sha256": table["sha256"]} | sides)
            n_refused += len(table["refused"])
            refused += [f"  {name}: {why}" for name, why in islice(table["refused"].items(), SHOWN - len(refused))]
    n = sum(entry["n"] for entry in entries)
    if n_refused:
        rest = [f"  and {n_refused - len(refused)} more: the tables in {out} have all"] if n_refused > SHOWN else []
        print(f"{n_refused} of {total} images left out:", *refused, *rest, sep="\n", file=sys.stderr)
    if not n:
        raise NotADirectoryError(
            f"{', '.join(map(str, folders))}: no readable image ({', '.join(SUFFIXES)}); name folders of images"
        )
    about = settings | {"backbone": entry, "n": n, "n_refused": n_refused, "shards": entries}
    write_table(out / INDEX, about)
    tidy(out, INDEX, len(entries))
    print(f"{n} {settings['domain']} images with {settings['n_views']} views each in {out} ({len(entries)} files)")


def _folders(given: Sequence[Path]) -> list[Path]:
    """The folders in one order however they were given; none inside another, or its images would count twice."""
    for folder in given:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder of images")
    folders = sorted(folder.resolve() for folder in given)
    for first, second in pairwise(folders):
        if second.is_relative_to(first):
            raise NotADirectoryError(
                f"{second} is given twice, or lies inside {first}; name each folder of images once"
            )
    return sorted(folders, key=lambda folder: (folder.name, folder))


if __name__ == "__main__":
    run_step(main)
