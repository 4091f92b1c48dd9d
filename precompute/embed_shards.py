"""Embed any number of images in shards, on one machine or many; assemble makes a bundle of them.

Reads   one folder of images, or tar files (webdataset), or Parquet files with a column of images
Writes  SHARDS/embedded.json, SHARDS/NNNNN.npy and NNNNN.json (precompute/common/store.py says what is in them)

A shard depends on its own images and the backbone only: runners, their number and what was killed on the way leave the same bytes.
Stops and goes on: a second run reads the images again to see whether they changed (a hundredth of the work), and computes what is
missing or damaged. Where an image is added, the shards after it in that folder or file change too.

    python -m precompute.embed_shards --source PHOTOS --out SHARDS --workers 4
    python -m precompute.embed_shards --source laion/*.tar --backbone dino_vitb16 --out SHARDS --workers 32
    python -m precompute.embed_shards --source data/*.parquet --out SHARDS --runner ray --address HEAD:6379
    python -m precompute.assemble --shards SHARDS --bundle OUT

--runner ray needs requirements-ray.txt, as Parquet does. Without --address Ray starts on this machine. On a cluster every node
needs this project under the same path with the same versions, and --source, --out and --weights must be on shared storage.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precompute.common.cli import add_network_options, chosen_engine, run_step
from precompute.common.embedding import SIZE, Encoder, embed_sources, loaded
from precompute.common.lock import hold
from precompute.common.runners import add_runner_options
from precompute.common.sources import checked_sources


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, nargs="+", required=True, help="a folder, or .tar and .parquet files")
    parser.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder to write")
    add_network_options(parser, chooses=True)
    parser.add_argument("--size", type=int, default=SIZE, help=f"images of a shard ({SIZE})")
    parser.add_argument("--column", metavar="NAME", help="of the images in Parquet files that have several of bytes")
    add_runner_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.size < 1:
        parser.error("--size must be 1 or more")
    sources = checked_sources(arguments.source)
    hold(arguments.out, new=True)
    weights = arguments.weights.resolve() if arguments.weights else None  # workers may be elsewhere
    encoder = Encoder(arguments.backbone, weights, arguments.device, chosen_engine(arguments))
    backbone = loaded(encoder)
    about = embed_sources(
        sources,
        replace(encoder, device=backbone.device),
        backbone.spec,
        arguments.out,
        size=arguments.size,
        column=arguments.column,
        runner=arguments.runner,
        workers=arguments.workers,
        address=arguments.address,
        gpus=1 if backbone.device == "cuda" else 0,
    )
    print(f"{about['n']} images in {arguments.out} ({len(about['shards'])} shards)")


if __name__ == "__main__":
    run_step(main)
