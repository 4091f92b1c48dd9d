"""Step 2: embed every reference and every bundled query with the frozen backbone.

Reads   the demo benchmark, a benchmark in AbC's layout, or your own folders of images
Writes  references.json, queries.json, references_backbone.npy and queries_backbone.npy into the bundle

    python -m precompute.extract_features
    python -m precompute.extract_features --list
    python -m precompute.extract_features --references FOLDER --queries FOLDER --bundle OUT
    python -m precompute.extract_features --benchmark dataset --cases test_artchive --backbone dino_vitb16 --bundle OUT
    python -m precompute.extract_features --backbone mocov3_vitb16 --weights vit-b-300ep.pth.tar --device auto --bundle OUT

--list shows every backbone, where its weights come from and whether they are here. The weights' fingerprint is kept in the bundle:
later steps and the app refuse other weights. So is the engine: --engine auto takes the fastest that is installed, and the app
answers with the same one. AbC's dataset folder holds exemplar/, synth/ and json/; --cases takes some of its json files, and of
those every image must be there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aad.backbones import BACKBONES, ENGINES, RELEASES, engines_for, load_backbone
from aad.backbones.loading import cached_weights, find_weights
from precompute.common.cli import (
    add_network_options,
    chosen_engine,
    command_line,
    limit_threads,
    run_step,
    step_parser,
    versions,
)
from precompute.common.embedding import WholePictures, manifest_entry
from precompute.common.gallery import from_benchmark, from_folders
from precompute.common.lock import hold
from precompute.common.steps import write_step


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--list", action="store_true", help="show all backbones and stop")
    parser.add_argument("--benchmark", type=Path, default=Path("assets/abc_mini"), help="benchmark in AbC's layout")
    parser.add_argument(
        "--cases", nargs="+", metavar="NAME", help="json files of the benchmark to take, such as test_artchive; all"
    )
    parser.add_argument("--references", type=Path, help="your own folder of real images, instead of the benchmark")
    parser.add_argument("--queries", type=Path, help="your own folder of synthetic images")
    add_network_options(parser, chooses=True)
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(backbone_table())
        return
    if arguments.queries and not arguments.references:
        parser.error("--queries goes with --references")
    if arguments.cases and arguments.references:
        parser.error("--cases goes with --benchmark, not with --references")
    hold(arguments.bundle, new=True)
    limit_threads(arguments.threads)
    backbone = load_backbone(arguments.backbone, arguments.weights, arguments.device, chosen_engine(arguments))
    pictures = WholePictures(backbone, arguments.bundle / ".work")
    if arguments.references:
        gallery = from_folders(arguments.references, arguments.queries, arguments.bundle, pictures.check)
    else:
        gallery = from_benchmark(arguments.benchmark, arguments.cases)
    references, queries = (
        pictures.embed([gallery.root / entry["path"] for entry in entries], label)
        for label, entries in (("references", gallery.references), ("queries", gallery.queries))
    )
    write_step(
        arguments.bundle,
        "extract_features",
        {
            "references.json": gallery.references,
            "queries.json": gallery.queries,
            "references_backbone.npy": references.astype(np.float16),
            "queries_backbone.npy": queries.astype(np.float16),
        },
        command=command_line("precompute.extract_features", argv),
        sections={
            "name": gallery.name,
            "images": os.path.relpath(gallery.root.resolve(), arguments.bundle.resolve()),
            "backbone": manifest_entry(backbone.spec),
            "examples": gallery.examples,
        }
        | ({"absent": list(gallery.absent)} if gallery.absent else {}),
        settings={"versions": versions("torch", "timm", "pillow", "numpy")},
    )
    print(f"{len(gallery.references)} references and {len(gallery.queries)} queries in {arguments.bundle}")


def weights_place(name: str) -> str:
    """Where the weights of a backbone are on this machine."""
    if path := find_weights(name):
        return f"{path.name} in $AAD_WEIGHTS"
    if name.startswith("efficientnet"):
        return "installed package"  # as requirements.txt has it
    return "hub cache" if cached_weights(name) else "no"


def backbone_table() -> str:
    """One backbone in two lines: what it is and whether its weights are here, and where they come from; then the engines."""
    rows = [("name", "features", "input", "licence", "here")]
    for name, spec in BACKBONES.items():
        how = "whole picture" if spec.resize is None else f"short side {spec.resize}, centre"
        shape = f"{spec.image_size} px, {how}, {spec.interpolation}"
        rows.append((name, str(spec.dim), shape, spec.licence, weights_place(name)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if release := RELEASES.get(row[0]):
            hub = f"hub {release.hub}, or " if release.hub else ""
            address = f": {hub}{release.url}" if release.url.startswith("https://") else ""
            lines.append(f"    {BACKBONES[row[0]].weights}{address}")
    here = engines_for("cpu")
    lines += [f"engines here: {', '.join(here)}"]
    if missing := [engine for engine in ENGINES if engine not in here]:
        lines += [f"after pip install -r requirements-fast.txt: {', '.join(missing)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    run_step(main)
