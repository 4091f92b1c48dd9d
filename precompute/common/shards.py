"""Resumable embedding: images go through the backbone in shards, and a shard that is on disk is not computed again."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from aad.backbones import BATCH_SIZE, Backbone, ahead
from aad.backbones.spec import TORCH
from aad.bundle import write_atomically

SHARD = 64  # images per shard: a few seconds of work, so little is lost when interrupted
AHEAD = BATCH_SIZE  # images drawn and preprocessed while the network runs: the next batch; 20 MB, times views per image


def embed_in_shards(
    backbone: Backbone,
    keys: Sequence[str],
    load: Callable[[int], Sequence[Image.Image]],
    scratch: Path,
    settings: object,
    label: str,
) -> np.ndarray:
    """Features of every view of every image, resumable; the next images are loaded and preprocessed while the network runs.

    Args:
        backbone: the frozen encoder.
        keys: one text per image that changes when its pixels change (path and file hash).
        load: gives the v pictures of image i, v the same for all; called from several threads.
        scratch: folder for shards; safe to delete.
        settings: anything JSON that changes the pictures; part of a shard's name.
        label: shown beside the progress bar.

    Returns:
        (n, v, d_feature) float32, in the order of ``keys``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    spec, n = backbone.spec, len(keys)
    made_by = [spec.name, spec.sha256, spec.dim, *([spec.engine] if spec.engine != TORCH else [])]
    shards = []  # (file, places of its images)
    for start in range(0, n, SHARD):
        members = range(start, min(start + SHARD, n))
        name = _digest([*made_by, settings, [keys[i] for i in members]])
        shards.append((scratch / f"{name}.npy", members))

    def prepared(i: int) -> list[np.ndarray]:
        return [spec.preprocess(picture) for picture in load(i)]

    missing = {path: members for path, members in shards if not path.exists()}
    with (
        tqdm(total=n, initial=n - sum(map(len, missing.values())), desc=label, unit="image", disable=None) as bar,
        ahead(prepared, chain.from_iterable(missing.values()), AHEAD) as pictures,
    ):
        for path, members in missing.items():
            flat = backbone.embed_pixels(chain.from_iterable(islice(pictures, len(members))))
            _save(path, flat.reshape(len(members), -1, spec.dim))
            bar.update(len(members))
    rows = [np.load(path, allow_pickle=False) for path, _ in shards]
    return np.concatenate(rows) if rows else np.zeros((0, 1, spec.dim), np.float32)


def file_key(path: Path, name: str) -> str:
    """A text that names an image and changes with its bytes."""
    return f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def limit_threads(n_threads: int | None) -> None:
    """Set torch's threads; fewer leave room for other work, and the number can change the last bits of a feature."""
    import torch

    torch.set_num_threads(n_threads or os.cpu_count() or 1)


def _save(path: Path, array: np.ndarray) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
