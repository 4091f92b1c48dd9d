"""Embed folders of unpaired images with views of each, in shards, to train heads on any number of them.

Reads   every image under the folders; what cannot be read is listed and left out
Writes  SHARDS/shards.json, SHARDS/NNNNN.npy and NNNNN.json (precompute/common/store.py says what is in them)

An image's views depend on the seed, its name below its folder and its bytes, and on no other image: what a view is set into, or
painted after, is a ground of random colours. The kinds take turns, so --n-views 4 --kinds plain filters makes two of each.
Stops and goes on: a second run reads the images again to see whether they changed, and computes what is missing or damaged.

    python -m precompute.extract_shards --images PHOTOS --domain real --out SHARDS/real
    python -m precompute.extract_shards --images LAION --domain real --backbone dino_vitb16 --device auto --out SHARDS/laion
    python -m precompute.extract_shards --images GENERATED MORE --domain synthetic --kinds plain --out SHARDS/synthetic
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from aad.backbones import load_backbone
from aad.spaces import Domain
from precompute.common.cli import add_backbone_option, add_network_options, chosen_engine, limit_threads, run_step
from precompute.common.embedding import Work, fill
from precompute.common.gallery import images_below
from precompute.common.lock import hold, lets_go
from precompute.common.sources import Listed, Member, listed_pieces
from precompute.common.store import VIEWS
from precompute.pictures.drawing import DRAWING_SIZE
from precompute.pictures.families import KINDS, RESTYLE, see_that_networks_are_there
from precompute.pictures.plain import VIEW_SIZE, make_view, view_rng

SHARD = 256  # images: minutes on a CPU, seconds on a GPU
GROUP = 16  # images whose pictures go through the backbone together


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of images")
    parser.add_argument("--domain", choices=[str(domain) for domain in Domain], required=True, help="what they show")
    parser.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder to write")
    add_backbone_option(parser)
    add_network_options(parser)
    parser.add_argument("--n-views", type=int, default=4, help="views of each image besides itself (4)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["plain", "filters"], help="(plain filters)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (0)")
    parser.add_argument("--threads", type=int, help="torch threads (all cores)")
    arguments = parser.parse_args(argv)
    if arguments.n_views < 1:
        parser.error("--n-views must be 1 or more: training compares views of one image")
    kinds = list(dict.fromkeys(arguments.kinds))
    see_that_networks_are_there(*kinds)
    folders = _folders(arguments.images)
    hold(arguments.out, new=True)
    limit_threads(arguments.threads)
    backbone = load_backbone(arguments.backbone, arguments.weights, arguments.device, chosen_engine(arguments))
    settings = {"domain": arguments.domain, "n_views": arguments.n_views, "kinds": kinds, "seed": arguments.seed}
    images: Iterator[Listed] = (
        (f"{folder.name}/{path.relative_to(folder).as_posix()}", str(path), None)
        for folder in folders
        for path in images_below(folder)
    )
    work = Work(
        arguments.out,
        VIEWS,
        settings,
        lambda: backbone,
        partial(drawn, kinds, arguments.n_views, arguments.seed),
        at_once=GROUP,
        n_threads=os.cpu_count() or 1,  # Pillow and numpy free the interpreter lock
    )
    about = fill(work, backbone.spec, listed_pieces(images, SHARD), folders, workers=1)
    seen = f"{about['n']} {arguments.domain} images with {arguments.n_views} views each"
    print(f"{seen} in {arguments.out} ({len(about['shards'])} files)")


def drawn(kinds: Sequence[str], n_views: int, seed: int, member: Member) -> list[Image.Image]:
    """An image and its views, which take turns in their kinds."""
    image = member.picture()
    small = image.copy()
    small.thumbnail((DRAWING_SIZE, DRAWING_SIZE), Image.Resampling.LANCZOS)
    return [image, *(draw_view(small, kinds[j % len(kinds)], seed, member.name, j) for j in range(n_views))]


def draw_view(image: Image.Image, kind: str, seed: int, name: str, number: int) -> Image.Image:
    """One view of an RGB image that depends on nothing but what is given here; ``number`` is the view's among the image's."""
    rng = view_rng(seed, f"{kind}|{name}", number)
    view = make_view(image, _ground(rng), rng)
    return view if kind == "plain" else RESTYLE[kind](view, _ground(rng), rng)


def _ground(rng: np.random.Generator) -> Image.Image:
    """Blotches of random colours, coarse or fine, where ``extract_views`` takes another picture of the bundle."""
    side = int(rng.integers(2, 12))
    blotches = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.BICUBIC)


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
