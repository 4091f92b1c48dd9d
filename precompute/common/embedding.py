"""Images to features, some hundred at a time: for one bundle, or into folders of shards by any number of workers.

A shard is a pure function of its images, the backbone and its preprocessing: it is computed on one thread of torch's in batches of
a fixed size, so that its bytes do not depend on where that is, or on how many there are at a time.
"""

import ctypes
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from aad.backbones import BATCH_SIZE, Backbone, BackboneSpec, load_backbone
from aad.backbones.spec import TORCH
from aad.files import file_sha256
from aad.images import ImageError, load_image
from precompute.common.ahead import ahead
from precompute.common.cli import limit_threads
from precompute.common.runners import run_shards
from precompute.common.sources import Member, Piece, cut, fingerprint
from precompute.common.store import FORMAT, INDEX, ShardError, read_kept, short_digest, write_array, write_table

with suppress(AttributeError, TypeError):  # of glibc: fresh memory for each photograph costs a fifth of the time
    # one heap, for all sizes, of which nothing is given back
    for option, value in ((-8, 1), (-3, 1 << 30), (-1, 1 << 30)):
        ctypes.CDLL(None).mallopt(option, value)
SHARD = 64  # images of a piece in .work: a few seconds of work, so little is lost when interrupted
WHOLE = "whole image"  # what is embedded of a file, among the settings of what is kept
TOLD = "files.json"  # of .work: by path, what the system told of a file when it was read, and its sha256
SETTLED = 2_000_000_000  # ns after which a change shows in a file's times, on the coarsest of systems
KEPT = 300_000_000  # bytes of pictures that are ready for the network: 2,000 of 224 pixels; more are decoded twice
LARGE = 4_000_000  # pixels of a picture that torch resizes
SIZE = 1024  # images of a shard: half a minute of one core with the smallest backbone, a few with a large one
SHOWN = 20  # images that could not be read, on screen; the shards' tables have all


def embed_in_shards(
    backbone: Backbone,
    keys: Sequence[str],
    load: Callable[[int], Sequence[Image.Image | np.ndarray]],
    scratch: Path,
    settings: object,
    label: str,
) -> np.ndarray:
    """Features of every view of every image, made where its key is not known yet, while the next images are drawn.

    Args:
        backbone: embeds them; decides, with the settings, in which files they are kept.
        keys: one text per image that changes when its pixels change.
        load: gives the v pictures of image i, v the same for all, each as ``preprocess`` takes it; called from several threads.
        scratch: folder of the files; safe to delete.
        settings: anything JSON that decides the rows besides the backbone and the images.
        label: shown beside the progress bar.

    Returns:
        (n, v, d_feature) float32, in the order of ``keys``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    spec, made_by = backbone.spec, short_digest([deciding(backbone.spec), settings])
    known = read_kept(scratch, made_by)
    n, missing = len(keys), [i for i, key in enumerate(keys) if key not in known]

    def prepare(i: int) -> list[np.ndarray]:
        return [spec.preprocess(squeezed(spec, picture)) for picture in load(i)]

    with (
        tqdm(total=n, initial=n - len(missing), desc=label, unit="image", disable=None) as bar,
        ahead(prepare, missing, BATCH_SIZE) as prepared,  # 20 MB, times views per image
    ):
        for start in range(0, len(missing), SHARD):
            some = missing[start : start + SHARD]
            rows = backbone.embed_pixels(chain.from_iterable(islice(prepared, len(some))))
            made = [keys[i] for i in some]
            path = scratch / f"{made_by}-{short_digest(made)}.npy"
            write_array(path, rows.reshape(len(made), -1, spec.dim))
            write_table(path.with_suffix(".json"), made)
            bar.update(len(some))
    kept = read_kept(scratch, made_by)
    found = [kept[key] for key in keys]
    return np.stack(found) if found else np.zeros((0, 1, spec.dim), np.float32)


def squeezed(spec: BackboneSpec, image: Image.Image | np.ndarray) -> np.ndarray:
    """As ``spec.squeezed``; a large picture by torch, in half the time: the cosine of features is 0.9999 at least (a test)."""
    if isinstance(image, np.ndarray):
        return image
    if spec.resize is not None or image.width * image.height < LARGE:
        return spec.squeezed(image)
    import torch

    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(1, image.height, image.width, 3)
    size, how = (spec.image_size, spec.image_size), spec.interpolation
    square = torch.nn.functional.interpolate(pixels.movedim(-1, 1), size, mode=how, antialias=True)
    return square[0].movedim(0, -1).contiguous().numpy()


class WholePictures:
    """Files on their way to one backbone: each is decoded once, to see that it can be and to embed it, or never if it was embedded.

    Args:
        backbone: embeds them.
        scratch: folder of features that are there.
    """

    def __init__(self, backbone: Backbone, scratch: Path) -> None:
        self.backbone, self.scratch = backbone, scratch
        self._known = read_kept(scratch, short_digest([deciding(backbone.spec), WHOLE])).keys()
        self._ready: dict[str, np.ndarray] = {}
        self._told = dict[str, list[Any]]()
        with suppress(OSError, ValueError, TypeError):  # not there yet, or damaged
            self._told = dict(json.loads((scratch / TOLD).read_bytes()))

    def check(self, path: Path) -> None:
        """See that a picture can be read, and keep what the network sees of it; safe to call from several threads.

        Raises:
            ImageError: it cannot be read.
        """
        if (key := self._key(path)) not in self._known and key not in self._ready:
            square = squeezed(self.backbone.spec, load_image(path))
            if len(self._ready) < KEPT // square.nbytes:
                self._ready[key] = square

    def embed(self, files: Sequence[Path], label: str) -> np.ndarray:
        """Features of pictures, (n, d_feature) float32; ``label`` is shown beside the progress bar."""

        def load(i: int) -> list[Image.Image | np.ndarray]:
            try:
                ready = self._ready.get(keys[i])
                return [load_image(files[i]) if ready is None else ready]
            except ImageError as error:
                raise ImageError(f"{files[i]}: {error}") from None  # names such as 00.webp say too little

        with ahead(self._key, files, BATCH_SIZE) as drawn:
            keys = list(tqdm(drawn, f"read {label}", len(files), unit="image", disable=None))
        rows = embed_in_shards(self.backbone, keys, load, self.scratch, WHOLE, label)[:, 0]
        write_table(self.scratch / TOLD, self._told, indent=None)
        return rows

    def _key(self, path: Path) -> str:
        """The sha256 of a file; as it was where nothing that the system tells of the file has changed since, as git does it."""
        if not os.access(path, os.R_OK):
            return str(path)  # who loads it says why
        status, now = path.stat(), time.time_ns()
        told = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        *before, key = self._told.get(str(path), [""])
        if before != told:
            key = file_sha256(path)
            if now - max(told[1:3]) > SETTLED:
                self._told[str(path)] = [*told, key]
        return str(key)


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
class Job:
    """One shard to make or to find made.

    Attributes:
        out: the folder.
        settings: what decides a shard's bytes besides the images; as JSON gives it back.
        encoder: gives the backbone; hashable.
        number: of the shard.
        piece: its images.
    """

    out: Path
    settings: dict[str, Any]
    encoder: Callable[[], Backbone]
    number: int
    piece: Piece

    @property
    def array(self) -> Path:
        """The file of rows; the table beside it says what they are of."""
        return self.out / f"{self.number:05}.npy"

    def __str__(self) -> str:
        return f"shard {self.number:05} ({self.piece})"


def embed_shard(job: Job) -> tuple[int, dict[str, Any], list[str]]:
    """Make a shard, unless it is there and of the same images; its number, its entry for the index, and lines of what is refused.

    Raises:
        ShardError: this worker's backbone is not the one that was asked for.
    """
    table = _stored(job) or _made(job)
    names, refused = table["names"], table["refused"]
    sides = {"first": names[0], "last": names[-1]} if names else {"first": None, "last": None}
    entry = {"file": job.array.name, "n": len(names), "n_refused": len(refused), "sha256": table["sha256"]} | sides
    return job.number, entry, [f"  {name}: {why}" for name, why in islice(refused.items(), SHOWN)]


def _stored(job: Job) -> dict[str, Any] | None:
    """The table of the shard on disk; None if it is missing, damaged, or of other images or settings."""
    try:
        table = json.loads(job.array.with_suffix(".json").read_bytes())
        if table["settings"] != job.settings or file_sha256(job.array) != table["sha256"]:
            return None
        return table if table["images"] == fingerprint(list(map(Member.fingerprint, job.piece.members()))) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(job: Job) -> dict[str, Any]:
    """Compute the shard and write it, the table last."""
    backbone, path = loaded(job.encoder), job.array.with_suffix(".json")
    if deciding(backbone.spec) != job.settings["backbone"]:
        raise ShardError(
            f"this worker has another {backbone.spec.name} than the run was started with; every machine needs the same weights "
            "and versions: name them with --weights on storage that all of them see"
        )
    seen: list[list[Any]] = []
    table: dict[str, Any] = {"settings": job.settings, "names": [], "told": [], "refused": {}}

    def prepared(member: Member) -> tuple[Member, list[Any], np.ndarray | ImageError]:
        try:
            return member, member.fingerprint(), backbone.spec.preprocess(squeezed(backbone.spec, member.picture()))
        except ImageError as error:
            return member, member.fingerprint(), error

    def readable(members: Iterator[tuple[Member, list[Any], np.ndarray | ImageError]]) -> Iterator[np.ndarray]:
        """The images that can be read, while ``seen`` and ``table`` take down which these are."""
        for member, digest, pixels in members:
            seen.append(digest)
            if isinstance(pixels, ImageError):
                table["refused"][member.name] = str(pixels)
            else:
                table["names"].append(member.name)
                table["told"].append(dict(member.told))
                yield pixels

    path.unlink(missing_ok=True)
    (job.out / INDEX).unlink(missing_ok=True)  # the folder is not finished until this shard is
    n_threads = 1 if backbone.device == "cpu" else os.cpu_count()  # a GPU waits for pictures
    with ahead(prepared, job.piece.members(), BATCH_SIZE, n_threads) as members:
        features = backbone.embed_pixels(readable(members))
    sha256 = write_array(job.array, features.astype(np.float16))
    table = {"sha256": sha256, "images": fingerprint(seen)} | table
    write_table(path, table)
    return table


def manifest_entry(spec: BackboneSpec) -> dict[str, Any]:
    """The spec as a bundle's manifest keeps it: without fields at their default, so older bundles compare equal."""
    defaults = {field.name: field.default for field in fields(spec)}
    return {name: value for name, value in asdict(spec).items() if value != defaults[name]}


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
        ShardError: the folder holds shards of other settings, or there is no image to embed.
    """
    out, settings = out.resolve(), {"format": FORMAT, "backbone": deciding(spec), "size": size, "column": column}
    out.mkdir(parents=True, exist_ok=True)
    _refuse_other_settings(out, settings)
    jobs = (Job(out, settings, encoder, *numbered) for numbered in enumerate(cut(sources, size, column)))
    done = []
    with tqdm(desc="embed_shards", unit="image", disable=None) as bar:
        for shard in run_shards(embed_shard, jobs, **running):
            done.append(shard)
            bar.update(shard[1]["n"] + shard[1]["n_refused"])
    done.sort(key=lambda shard: shard[0])  # they come as they finish
    shards, refused = [entry for _, entry, _ in done], [line for *_, lines in done for line in lines]
    n, n_refused = (sum(entry[key] for entry in shards) for key in ("n", "n_refused"))
    if n_refused:
        rest = [f"  and {n_refused - SHOWN} more: the tables in {out} have all"] if n_refused > SHOWN else []
        print(f"{n_refused} of {n + n_refused} images left out:", *refused[:SHOWN], *rest, sep="\n", file=sys.stderr)
    if not n:
        raise ShardError(f"{', '.join(map(str, sources))}: no readable image; name others")
    about = settings | {
        "backbone": json.loads(json.dumps(manifest_entry(spec))),
        "kind": "folder" if sources[0].is_dir() else "files",
        "sources": [os.path.relpath(path, out) for path in sources],
        "n": n,
        "n_refused": n_refused,
        "shards": shards,
    }
    write_table(out / INDEX, about)
    # shards beyond the last, of a source that had more, and what a killed run was writing
    for path in out.iterdir():
        own = re.fullmatch(r"\.?(\d{5,}|embedded)\.(npy|json)(\.\d+\.partial)?", path.name)
        if own and (path.name.startswith(".") or (own[1].isdigit() and int(own[1]) >= len(done))):
            path.unlink(missing_ok=True)
    return about


def _refuse_other_settings(out: Path, settings: dict[str, Any]) -> None:
    """See that the shards in a folder, if any, were made with these settings; whichever can be read first will do."""
    for path in out.glob("[0-9]*.json"):
        try:
            found = json.loads(path.read_bytes())["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it is made again
        if changed := [key for key in settings if found.get(key) != settings[key]]:
            raise ShardError(
                f"{out} holds shards made with another {' and '.join(changed)}; choose another --out, delete {out}, or give "
                "the same options as before"
            )
        return
