"""Step 2: embed every reference and every bundled query with the frozen backbone.

Reads   the demo benchmark, or your own folders of images
Writes  references.json, queries.json, references_backbone.npy and queries_backbone.npy into the bundle

    python -m precompute.extract_features
    python -m precompute.extract_features --references FOLDER --queries FOLDER --bundle OUT
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from aad.artifacts import write_step
from aad.backbones import BACKBONES, load_backbone
from aad.images import load_image
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.gallery import from_benchmark, from_folders
from precompute.common.shards import embed_in_shards, file_key, limit_threads


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--benchmark", type=Path, default=Path("assets/abc_mini"), help="benchmark in AbC's layout")
    parser.add_argument("--references", type=Path, help="your own folder of real images, instead of the benchmark")
    parser.add_argument("--queries", type=Path, help="your own folder of synthetic images")
    parser.add_argument("--backbone", default="efficientnet_lite0", choices=sorted(BACKBONES), help="frozen encoder")
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    arguments = parser.parse_args(argv)
    if arguments.queries and not arguments.references:
        parser.error("--queries goes with --references")
    gallery = (
        from_folders(arguments.references, arguments.queries)
        if arguments.references
        else from_benchmark(arguments.benchmark)
    )
    limit_threads(arguments.threads)
    backbone = load_backbone(arguments.backbone)
    features = {}
    for label, entries in (("references", gallery.references), ("queries", gallery.queries)):
        paths = [gallery.root / entry["path"] for entry in entries]
        features[label] = embed_in_shards(
            backbone,
            [file_key(path, entry["path"]) for path, entry in zip(paths, entries, strict=True)],
            partial(_whole, paths),
            arguments.bundle / ".work",
            "whole image",
            label,
        )[:, 0]
    write_step(
        arguments.bundle,
        "extract_features",
        {
            "references.json": gallery.references,
            "queries.json": gallery.queries,
            "references_backbone.npy": features["references"].astype(np.float16),
            "queries_backbone.npy": features["queries"].astype(np.float16),
        },
        command=command_line("precompute.extract_features", argv),
        sections={
            "name": gallery.name,
            "images": os.path.relpath(gallery.root.resolve(), arguments.bundle.resolve()),
            "backbone": asdict(backbone.spec),
            "examples": gallery.examples,
        },
        settings={"versions": versions("torch", "timm", "pillow", "numpy")},
    )
    print(f"{len(gallery.references)} references and {len(gallery.queries)} queries in {arguments.bundle}")


def _whole(paths: Sequence[Path], i: int) -> list[Image.Image]:
    return [load_image(paths[i])]


if __name__ == "__main__":
    run_step(main)
