"""Images to features, some hundred at a time: for one bundle, or into folders of shards by any number of workers.

A shard is a pure function of its images, the backbone and its preprocessing: it is computed on one thread of torch's in batches of
a fixed size, so that its bytes do not depend on where that is, or on how many there are at a time.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from aad.backbones import BATCH_SIZE, Backbone, BackboneSpec, ahead, load_backbone, manifest_entry
from aad.backbones.spec import TORCH
from aad.files import file_sha256
from aad.images import ImageError
from precompute.common.cli import limit_threads
from precompute.common.runners import run_shards
from precompute.common.sources import Member, Piece, count, cut, fingerprint
from precompute.common.store import EMBEDDED, FORMAT, Kind, ShardError, write_array, write_table

SHARD = 64  # images of a piece in .work: a few seconds of work, so little is lost when interrupted
SIZE = 1024  # images of a shard: half a minute of one core with the smallest backbone, a few with a large one
SHOWN = 20  # images that could not be read, on screen; the shards' tables have all

Draw = Callable[[Member], Sequence[Image.Image]]
# an image, its fingerprint, and its pictures or why there are none
Prepared = tuple[Member, list[Any], list[np.ndarray] | ImageError]


def file_key(path: Path, name: str) -> str:
    """A text that names an image and changes with its bytes."""
    return f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def kept(
    scratch: Path,
    settings: Sequence[object],
    keys: Sequence[str],
    load: Callable[[int], Iterable[Image.Image]],
    preprocess: Callable[[Image.Image], np.ndarray],
    embed: Callable[[Iterator[np.ndarray]], np.ndarray],
    label: str,
    prefix: str = "",
) -> list[np.memmap]:
    """Arrays of some images each, made where they are missing or cut short while the next images are loaded and preprocessed.

    Args:
        scratch: folder of the files; safe to delete.
        settings: anything JSON that decides the rows besides the images; part of a file's name.
        keys: one text per image that changes when its pixels change.
        load: gives the v pictures of image i, v the same for all; called from several threads.
        preprocess: a picture as the network takes it.
        embed: rows of the preprocessed pictures of one piece.
        label: shown beside the progress bar.
        prefix: begins every file's name.

    Returns:
        (n, v, ...) of each piece, mapped into memory.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    pieces = []
    for start in range(0, len(keys), SHARD):
        members = range(start, min(start + SHARD, len(keys)))
        content = json.dumps([*settings, [keys[i] for i in members]], sort_keys=True)
        pieces.append((scratch / f"{prefix}{hashlib.sha256(content.encode()).hexdigest()[:32]}.npy", members))
    missing = {path: members for path, members in pieces if not _holds(path, len(members))}
    n, to_do = len(keys), sum(map(len, missing.values()))

    def prepare(i: int) -> list[np.ndarray]:
        return [preprocess(picture) for picture in load(i)]

    with (
        tqdm(total=n, initial=n - to_do, desc=label, unit="image", disable=None) as bar,
        ahead(prepare, chain.from_iterable(missing.values()), BATCH_SIZE) as prepared,  # 20 MB, times views per image
    ):
        for path, members in missing.items():
            rows = embed(chain.from_iterable(islice(prepared, len(members))))
            write_array(path, rows.reshape(len(members), -1, *rows.shape[1:]))
            bar.update(len(members))
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path, _ in pieces]


def _holds(path: Path, n: int) -> bool:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False)) == n
    except (OSError, ValueError):  # not there, or shorter than its header says
        return False


def embed_in_shards(
    backbone: Backbone,
    keys: Sequence[str],
    load: Callable[[int], Sequence[Image.Image]],
    scratch: Path,
    settings: object,
    label: str,
) -> np.ndarray:
    """Features of every view of every image, ``kept`` in scratch; ``load`` gives the v pictures of image i, v the same for all.

    Returns:
        (n, v, d_feature) float32, in the order of ``keys``.
    """
    spec = backbone.spec
    made_by = [spec.name, spec.sha256, spec.dim, *([spec.engine] if spec.engine != TORCH else [])]
    rows = kept(scratch, [*made_by, settings], keys, load, spec.preprocess, backbone.embed_pixels, label)
    return np.concatenate(rows) if rows else np.zeros((0, 1, spec.dim), np.float32)


@dataclass(frozen=True, slots=True)
class Encoder:
    """How a worker comes by its backbone: sent instead of the network itself."""

    name: str
    weights: Path | None = None
    device: str = "cpu"
    engine: str = TORCH

    def __call__(self) -> Backbone:
        """The backbone, on one thread."""
        limit_threads(1)
        return load_backbone(self.name, self.weights, self.device, self.engine)


@cache
def loaded(encoder: Callable[[], Backbone]) -> Backbone:
    """The backbone of a worker: loaded once in each process, however many shards it makes."""
    return encoder()


@dataclass(frozen=True, slots=True)
class Work:
    """What all shards of a folder have in common.

    Attributes:
        out: the folder.
        kind: of which kind it is.
        settings: what decides a shard's bytes besides the images; as JSON gives it back.
        encoder: gives the backbone; hashable.
        draw: pictures of one image, the same number of each; the image itself when None.
        at_once: images whose pictures go through the backbone together: another number changes the batches, and the last bits.
        n_threads: that read and draw, where the backbone runs on the CPU.
    """

    out: Path
    kind: Kind
    settings: dict[str, Any]
    encoder: Callable[[], Backbone]
    draw: Draw | None = None
    at_once: int = sys.maxsize
    n_threads: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to make or to find made; ``progress`` gets the images done since it was last called."""

    work: Work
    number: int
    piece: Piece
    progress: Callable[[int], object] | None = None

    @property
    def array(self) -> Path:
        """The file of rows; the table beside it says what they are of."""
        return self.work.out / f"{self.number:05}.npy"

    def __str__(self) -> str:
        return f"shard {self.number:05} ({self.piece})"


def embed_shard(job: Job) -> dict[str, Any]:
    """Make a shard, unless it is there and of the same images; its entry for the index, with ``number`` and ``refused``.

    Raises:
        ShardError: it cannot be written, or this worker's backbone is not the one that was asked for.
    """
    table = _stored(job) or _made(job)
    names, refused = table["names"], table["refused"]
    sides = {"first": names[0], "last": names[-1]} if names else {"first": None, "last": None}
    entry = {"file": job.array.name, "n": len(names), "n_refused": len(refused), "sha256": table["sha256"]} | sides
    return entry | {"number": job.number, "refused": list(islice(refused.items(), SHOWN))}


def _stored(job: Job) -> dict[str, Any] | None:
    """The table of the shard on disk; None if it is missing, damaged, or of other images or settings."""
    try:
        table = json.loads(job.array.with_suffix(".json").read_bytes())
        if table["settings"] != job.work.settings or file_sha256(job.array) != table["sha256"]:
            return None
        with ahead(Member.fingerprint, job.piece.members(), BATCH_SIZE, job.work.n_threads) as seen:
            return table if table["images"] == fingerprint(list(seen)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(job: Job) -> dict[str, Any]:
    """Compute the shard and write it, the table last."""
    work, backbone = job.work, loaded(job.work.encoder)
    if deciding(backbone.spec) != work.settings["backbone"]:
        raise ShardError(
            f"this worker has another {backbone.spec.name} than the run was started with; every machine needs the same weights "
            "and versions: name them with --weights on storage that all of them see"
        )
    path = job.array.with_suffix(".json")
    try:
        path.unlink(missing_ok=True)
        (work.out / work.kind.index).unlink(missing_ok=True)  # the folder is not finished until this shard is
        seen: list[list[Any]] = []
        table: dict[str, Any] = {"settings": work.settings, "names": [], "told": [], "refused": {}}
        rows: list[np.ndarray] = [np.zeros((0, backbone.spec.dim), np.float32)]
        n_threads = work.n_threads if backbone.device == "cpu" else os.cpu_count()  # a GPU waits for pictures
        prepare = partial(_prepared, backbone.spec, work.draw)
        with ahead(prepare, job.piece.members(), BATCH_SIZE, n_threads) as prepared:
            for first in prepared:
                n, group = len(seen), chain([first], islice(prepared, work.at_once - 1))
                rows.append(backbone.embed_pixels(_readable(group, seen, table)))
                if job.progress:
                    job.progress(len(seen) - n)
        features = np.concatenate(rows).astype(np.float16)
        if not work.kind.tells:
            del table["told"]
            features = features.reshape(len(table["names"]), 1 + work.settings["n_views"], backbone.spec.dim)
        table = {"sha256": write_array(job.array, features), "images": fingerprint(seen)} | table
        write_table(path, table)
    except OSError as error:
        raise ShardError(
            f"{job} cannot be made: {error}; mend that (free some space, or give the folder back) and run the same command again: "
            "what is finished is kept"
        ) from error
    return table


def _prepared(spec: BackboneSpec, draw: Draw | None, member: Member) -> Prepared:
    try:
        pictures = draw(member) if draw else [member.picture()]
        return member, member.fingerprint(), [spec.preprocess(picture) for picture in pictures]
    except ImageError as error:
        return member, member.fingerprint(), error


def _readable(group: Iterable[Prepared], seen: list[list[Any]], table: dict[str, Any]) -> Iterator[np.ndarray]:
    """The pictures of the images that can be read, while ``seen`` and ``table`` take down which these are."""
    for member, digest, pictures in group:
        seen.append(digest)
        if isinstance(pictures, ImageError):
            table["refused"][member.name] = str(pictures)
        else:
            table["names"].append(member.name)
            table["told"].append(dict(member.told or {}))
            yield from pictures


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
    **running: Any,
) -> dict[str, Any]:
    """Write or complete a folder of embeddings.

    Args:
        sources: as ``checked_sources`` gives them.
        encoder: gives each worker its backbone.
        spec: of that backbone.
        out: the folder; every worker sees it under this path.
        size: images of a shard.
        column: of the images in Parquet files, where it must be said.
        running: ``runner`` and the rest of what ``run_shards`` takes.

    Returns:
        What embedded.json says.

    Raises:
        ShardError: see ``fill``.
    """
    work = Work(out.resolve(), EMBEDDED, {"size": size, "column": column}, encoder)
    return fill(work, spec, cut(sources, size, column), sources, **running)


def fill(
    work: Work,
    spec: BackboneSpec,
    pieces: Iterable[Piece],
    sources: Sequence[Path],
    runner: str = "local",
    workers: int | None = None,
    **running: Any,
) -> dict[str, Any]:
    """Write or complete a folder of shards.

    Args:
        work: its settings without format and backbone.
        spec: of the backbone that the encoder gives.
        pieces: the images of each shard, in order.
        sources: of the images.
        runner: as the rest, see ``run_shards``.
        workers: jobs at a time.
        running: the rest.

    Returns:
        The index.

    Raises:
        ShardError: the folder holds shards of other settings, cannot be written, or there is no image to embed.
    """
    settings = {"format": FORMAT, "backbone": deciding(spec)} | work.settings
    work = replace(work, settings=settings)
    try:
        work.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{work.out} cannot be written ({error.strerror or error}); choose another --out") from None
    _refuse_other_settings(work.out, settings)
    done: list[dict[str, Any]] = []
    n = n_refused = 0
    with tqdm(total=count(sources), desc=work.kind.step, unit="image", disable=None) as bar:
        progress = bar.update if workers == 1 and runner == "local" else None
        jobs = (Job(work, number, piece, progress) for number, piece in enumerate(pieces))
        for entry in run_shards(embed_shard, jobs, runner, workers, **running):
            done.append(entry)
            n, n_refused = n + entry["n"], n_refused + entry["n_refused"]
            bar.update(n + n_refused - bar.n)
    done.sort(key=lambda entry: entry["number"])  # they come as they finish
    if n_refused:
        lines = [f"  {name}: {why}" for entry in done for name, why in entry["refused"]][:SHOWN]
        rest = [f"  and {n_refused - SHOWN} more: the tables in {work.out} have all"] if n_refused > SHOWN else []
        print(f"{n_refused} of {n + n_refused} images left out:", *lines, *rest, sep="\n", file=sys.stderr)
    if not n:
        raise ShardError(f"{', '.join(map(str, sources))}: no readable image; name others")
    left_out = {"number", "refused", *([] if work.kind.tells else ["n_refused"])}
    shards = [{key: value for key, value in entry.items() if key not in left_out} for entry in done]
    about = settings | {"backbone": json.loads(json.dumps(manifest_entry(spec)))}
    if work.kind.tells:
        about |= {"kind": "folder" if sources[0].is_dir() else "files"}
        about |= {"sources": [os.path.relpath(path, work.out) for path in sources]}
    about |= {"n": n, "n_refused": n_refused, "shards": shards}
    write_table(work.out / work.kind.index, about)
    # shards beyond the last, of a source that had more, and what a killed run was writing
    for path in work.out.iterdir():
        own = re.fullmatch(rf"\.?(\d{{5,}}|{Path(work.kind.index).stem})\.(npy|json)(\.\d+\.partial)?", path.name)
        if own and (path.name.startswith(".") or (own[1].isdigit() and int(own[1]) >= len(shards))):
            path.unlink(missing_ok=True)
    return about


def _refuse_other_settings(out: Path, settings: dict[str, Any]) -> None:
    """See that the shards in a folder, if any, were made with these settings; whichever can be read first will do."""
    for path in out.iterdir():
        if not re.fullmatch(r"\d{5,}\.json", path.name):
            continue
        try:
            found = json.loads(path.read_bytes())["settings"]
            changed = [key for key in settings if found.get(key) != settings[key]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged: it is made again
        if changed:
            raise ShardError(
                f"{out} holds shards made with another {' and '.join(changed)}; choose another --out, delete {out}, or give "
                "the same options as before"
            )
        return
