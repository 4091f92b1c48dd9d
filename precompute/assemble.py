"""Step 2 for very many references: make of embedded shards what extract_features makes of a folder.

Reads   SHARDS of embed_shards; with --queries a folder of synthetic images, which it embeds
Writes  references.json, queries.json, references_backbone.npy and queries_backbone.npy into the bundle

Rows go from file to file, so that no more than a shard of them is in memory. References in a folder are shown from there; of
those in tar and Parquet files small pictures are written below the bundle, some ten a second and core. Stops and goes on.

    python -m precompute.embed_shards --source laion/*.tar --out SHARDS
    python -m precompute.assemble --shards SHARDS --queries GENERATED --bundle OUT --workers 4
    python -m precompute.train_heads --heads-from assets/bundle --bundle OUT
    python -m precompute.build_index --bundle OUT
    python -m precompute.calibrate --bundle OUT
    python -m precompute.project --bundle OUT
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import difference, load_backbone
from aad.backbones.spec import TORCH
from aad.files import file_sha256
from precompute.common.cli import add_network_options, command_line, limit_threads, run_step, versions
from precompute.common.embedding import WholePictures
from precompute.common.gallery import readable_images, spread
from precompute.common.lock import hold
from precompute.common.rows import passing, write_rows
from precompute.common.runners import add_runner_options, run_shards
from precompute.common.sources import checked_sources, cut
from precompute.common.steps import write_step
from precompute.common.store import INDEX, ShardError, Shards
from precompute.common.thumbnails import ShownJob, shown_name, tidy_shown, write_shown


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shards", type=Path, required=True, help="folder that embed_shards made")
    add("--bundle", type=Path, required=True, help="bundle folder to write")
    add("--queries", type=Path, metavar="FOLDER", help="your own folder of synthetic images")
    said = "where the page finds the references: of tar and Parquet files they are written there (BUNDLE/pictures); "
    said += "of a folder, where it is now if it has moved"
    add("--pictures", type=Path, metavar="FOLDER", help=said)
    add_network_options(parser)
    add_runner_options(parser)
    arguments = parser.parse_args(argv)
    bundle = arguments.bundle
    hold(bundle, new=True)
    shards = Shards.open(arguments.shards)
    running = {name: getattr(arguments, name) for name in ("runner", "workers", "address")}
    pictures, scratch = _pictures(shards, bundle, arguments.pictures, running), bundle / ".work"
    files, features = _queries(arguments, shards, scratch)
    root = Path(os.path.commonpath([pictures, *([arguments.queries.resolve()] if files else [])]))
    asked: list[dict[str, Any]] = [
        {"path": file.relative_to(root).as_posix(), "type": "upload", "exemplar_ids": []} for file in files
    ]
    scratch.mkdir(parents=True, exist_ok=True)
    rows = scratch / "references_backbone.npy"
    with passing(rows), tqdm(total=shards.shape[0], desc="rows", unit="row", disable=None) as bar:
        write_step(
            bundle,
            "extract_features",
            {
                "references.json": _reference_entries(shards, pictures.relative_to(root)),
                "queries.json": asked,
                "references_backbone.npy": write_rows(rows, shards.shape, shards.rows(), bar.update),
                "queries_backbone.npy": features.astype(np.float16),
            },
            command=command_line("precompute.assemble", argv),
            sections={
                "name": _origin(shards).stem if _is_folder(shards) else _origin(shards).name,
                "images": os.path.relpath(root, bundle.resolve()),
                "backbone": shards.about["backbone"],
                "examples": spread(asked),
            },
            settings={"versions": versions("pillow", "numpy"), "shards": file_sha256(shards.folder / INDEX)},
        )
    print(f"{shards.shape[0]} references and {len(asked)} queries in {bundle}")


def _sources(shards: Shards) -> list[Path]:
    """Where the images were, from here."""
    return [(shards.folder / path).resolve() for path in shards.about["sources"]]


def _is_folder(shards: Shards) -> bool:
    """Whether the source is a folder of images rather than tar or Parquet files."""
    return bool(shards.about["kind"] == "folder")


def _origin(shards: Shards) -> Path:
    """The folder of the images, or of the files that they are in."""
    return _sources(shards)[0] if _is_folder(shards) else _sources(shards)[0].parent


def _queries(arguments: argparse.Namespace, shards: Shards, scratch: Path) -> tuple[list[Path], np.ndarray]:
    """The files of the queries, if any, and (m, d) features, by the backbone that the references were embedded with."""
    stored = shards.about["backbone"]
    if not arguments.queries:
        return [], np.zeros((0, stored["dim"]), np.float32)
    limit_threads(1)  # as every worker
    backbone = load_backbone(stored["name"], arguments.weights, arguments.device, stored.get("engine", TORCH))
    if differs := difference(stored, backbone.spec):
        raise ShardError(f"{shards.folder} holds {differs}: name the same weights with --weights")
    pictures = WholePictures(backbone, scratch)
    files = readable_images(arguments.queries, links=False, check=pictures.check)
    return files, pictures.embed(files, "queries")


def _pictures(shards: Shards, bundle: Path, given: Path | None, running: dict[str, Any]) -> Path:
    """The folder that references.json's paths are relative to, with every picture in it."""
    if _is_folder(shards):
        folder = (given or _origin(shards)).resolve()
        if not folder.is_dir():
            raise ShardError(f"the references must be in a folder, {folder} is none; say where it is with --pictures")
        return folder
    folder = (given or bundle / "pictures").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = [image for table in shards.tables() for image in [table["images"]] * len(table["names"])]
    firsts = np.cumsum([0, *(entry["n"] for entry in shards.about["shards"])]).tolist()
    files = [file.resolve().with_suffix(".json") for file in shards.files]
    pieces = cut(checked_sources(_sources(shards)), shards.about["size"], shards.about["column"])
    jobs = (ShownJob(folder, *parts) for parts in zip(pieces, files, firsts, strict=False))
    with tqdm(total=firsts[-1], desc="pictures", unit="image", disable=None) as bar:
        for n in run_shards(write_shown, jobs, **running):
            bar.update(n)
    tidy_shown(folder, {shown_name(row, image) for row, image in enumerate(images)})
    return folder


def _reference_entries(shards: Shards, below: Path) -> list[dict[str, Any]]:
    """As ``common/gallery.py`` makes them; titles are file names where the source tells none."""
    entries, source, is_folder = list[dict[str, Any]](), _origin(shards).name, _is_folder(shards)
    for table in shards.tables():
        for name, told in zip(table["names"], table["told"], strict=True):
            file = name if is_folder else shown_name(len(entries), table["images"])
            known = {"title": Path(name).stem.replace("_", " "), "source": source, "licence": "not stated"}
            entries.append({"path": (below / file).as_posix()} | known | told)
    return entries


if __name__ == "__main__":
    run_step(main)
