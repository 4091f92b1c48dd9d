"""One shard of ``embed_shards``: a pure function of its images, the backbone and its preprocessing, run anywhere.

A shard is computed on one torch thread in batches of a fixed size, so that its bytes do not depend on where that is, or on how many
there are at a time.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.backbones import BATCH_SIZE, Backbone, BackboneSpec, ahead, load_backbone, manifest_entry
from aad.backbones.spec import TORCH
from aad.files import file_sha256
from aad.images import ImageError
from precompute.common.embedded_shards import FORMAT, INDEX
from precompute.common.runners import run_shards
from precompute.common.shard_files import ShardError, refuse_other_settings, tidy, write_array, write_table
from precompute.common.sources import Member, Piece, count, cut, fingerprint

SIZE = 1024  # images of a shard: half a minute of one core with the embedded backbone, a few with a large one
SHOWN = 20  # images that could not be read, on screen; the shards' tables have all


@dataclass(frozen=True, slots=True)
class Encoder:
    """How a worker comes by its backbone: sent instead of the network itself."""

    name: str
    weights: Path | None = None
    device: str = "cpu"
    engine: str = TORCH

    def __call__(self) -> Backbone:
        """The backbone, on one thread."""
        import torch

        torch.set_num_threads(1)
        return load_backbone(self.name, self.weights, self.device, self.engine)


@cache
def loaded(encoder: Callable[[], Backbone]) -> Backbone:
    """The backbone of a worker: loaded once in each process, however many shards it makes."""
    return encoder()


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """One shard to make or to find made.

    Attributes:
        out: folder of all shards.
        number: of the shard.
        piece: its images.
        settings: what decides its bytes besides the images; as JSON gives it back.
        encoder: gives the backbone; hashable.
    """

    out: Path
    number: int
    piece: Piece
    settings: dict[str, Any]
    encoder: Callable[[], Backbone]

    @property
    def array(self) -> Path:
        """The file of rows."""
        return self.out / f"{self.number:05}.npy"

    @property
    def table(self) -> Path:
        """The file that says what the rows are of."""
        return self.out / f"{self.number:05}.json"

    def __str__(self) -> str:
        return f"shard {self.number:05} ({self.piece})"


def embed_shard(job: EmbedJob) -> dict[str, Any]:
    """Make a shard, unless it is there and of the same images; its entry for embedded.json, with ``number`` and ``refused``.

    Raises:
        ShardError: it cannot be written, or this worker's backbone is not the one that was asked for.
    """
    table = _stored(job) or _made(job)
    names, refused = table["names"], table["refused"]
    sides = {"first": names[0], "last": names[-1]} if names else {"first": None, "last": None}
    entry = {"file": job.array.name, "n": len(names), "n_refused": len(refused), "sha256": table["sha256"]} | sides
    return entry | {"number": job.number, "refused": list(islice(refused.items(), SHOWN))}


def _stored(job: EmbedJob) -> dict[str, Any] | None:
    """The table of the shard on disk; None if it is missing, damaged, or of other images or settings."""
    try:
        table = json.loads(job.table.read_bytes())
        sound = table["settings"] == job.settings and file_sha256(job.array) == table["sha256"]
        same = sound and table["images"] == fingerprint([member.fingerprint() for member in job.piece.members()])
        return table if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(job: EmbedJob) -> dict[str, Any]:
    """Compute the shard and write it, the table last."""
    backbone = loaded(job.encoder)
    if deciding(backbone.spec) != job.settings["backbone"]:
        raise ShardError(
            f"this worker has another {backbone.spec.name} than the run was started with; every machine needs the same weights "
            "and versions: name them with --weights on storage that all of them see"
        )
    try:
        job.table.unlink(missing_ok=True)
        (job.out / INDEX).unlink(missing_ok=True)  # the folder is not finished until this shard is
        seen: list[list[Any]] = []
        table: dict[str, Any] = {"settings": job.settings, "names": [], "told": [], "refused": {}}
        n_threads = 1 if backbone.device == "cpu" else os.cpu_count()  # a core each, but a GPU waits for pictures
        with ahead(partial(_prepared, backbone.spec), job.piece.members(), BATCH_SIZE, n_threads) as prepared:
            rows = backbone.embed_pixels(_kept(prepared, seen, table))
        checksum = write_array(job.array, rows.astype(np.float16))
        table = {"sha256": checksum, "images": fingerprint(seen)} | table
        write_table(job.table, table)
    except OSError as error:
        raise ShardError(
            f"{job} cannot be made: {error}; mend that (free some space, or give the folder back) and run the same command again: "
            "what is finished is kept"
        ) from error
    return table


def _prepared(spec: BackboneSpec, member: Member) -> tuple[Member, list[Any], np.ndarray | ImageError]:
    """A member, its fingerprint, and its pixels as the backbone takes them, or why there are none."""
    try:
        return member, member.fingerprint(), spec.preprocess(member.picture())
    except ImageError as error:
        return member, member.fingerprint(), error


def _kept(
    prepared: Iterator[tuple[Member, list[Any], np.ndarray | ImageError]], seen: list[list[Any]], table: dict[str, Any]
) -> Iterator[np.ndarray]:
    """The pixels of the images that can be read, while ``seen`` and ``table`` take down which these are."""
    for member, digest, pixels in prepared:
        seen.append(digest)
        if isinstance(pixels, ImageError):
            table["refused"][member.name] = str(pixels)
        else:
            table["names"].append(member.name)
            table["told"].append(dict(member.told))
            yield pixels


def deciding(spec: BackboneSpec) -> dict[str, Any]:
    """What of a backbone decides its features, as it reads back from JSON; the rest are texts for people."""
    entry: dict[str, Any] = json.loads(json.dumps(manifest_entry(spec)))
    return {key: value for key, value in entry.items() if key not in ("licence", "weights")}


def embed_sources(
    sources: Sequence[Path],
    encoder: Callable[[], Backbone],
    spec: BackboneSpec,
    out: Path,
    *,
    size: int = SIZE,
    column: str | None = None,
    runner: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> dict[str, Any]:
    """Write or complete a folder of shards.

    Args:
        sources: as ``checked_sources`` gives them.
        encoder: gives each worker its backbone.
        spec: of that backbone.
        out: the folder; every worker sees it under this path.
        size: images of a shard.
        column: of the images in Parquet files, where it must be said.
        runner: as the rest, see ``run_shards``.
        workers: jobs at a time.
        address: of a Ray cluster.
        gpus: that one worker takes.

    Returns:
        What embedded.json says.

    Raises:
        ShardError: the folder holds shards of other settings, cannot be written, or there is no image to embed.
    """
    settings = {"format": FORMAT, "backbone": deciding(spec), "size": size, "column": column}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{out} cannot be written ({error.strerror or error}); choose another --out") from None
    out = out.resolve()
    refuse_other_settings(out, settings)
    pieces = cut(sources, size, column)
    jobs = (EmbedJob(out, number, piece, settings, encoder) for number, piece in enumerate(pieces))
    results = run_shards(embed_shard, jobs, runner, workers, address, gpus)
    done = []
    with tqdm(total=count(sources), desc="embed", unit="image", disable=None) as bar:
        for entry in results:
            done.append(entry)
            bar.update(entry["n"] + entry["n_refused"])
    done.sort(key=lambda entry: entry["number"])  # they come as they finish
    refused = _tell_refused(done)
    entries = [{key: value for key, value in entry.items() if key not in ("number", "refused")} for entry in done]
    n = sum(entry["n"] for entry in entries)
    if not n:
        raise ShardError(f"{', '.join(map(str, sources))}: no readable image; correct --source")
    about = settings | {"backbone": json.loads(json.dumps(manifest_entry(spec)))}
    about |= {
        "kind": "folder" if sources[0].is_dir() else "files",
        "sources": [os.path.relpath(path, out) for path in sources],
        "n": n,
        "n_refused": refused,
        "shards": entries,
    }
    write_table(out / INDEX, about)
    tidy(out, INDEX, len(entries))
    return about


def _tell_refused(done: Sequence[dict[str, Any]]) -> int:
    """Say on stderr which images were left out, the first of them by name; how many they are."""
    n = sum(entry["n_refused"] for entry in done)
    if n:
        total = n + sum(entry["n"] for entry in done)
        lines = [f"  {name}: {why}" for entry in done for name, why in entry["refused"]][:SHOWN]
        rest = [f"  and {n - SHOWN} more: the shards' tables have all"] if n > SHOWN else []
        print(f"{n} of {total} images left out:", *lines, *rest, sep="\n", file=sys.stderr)
    return n
