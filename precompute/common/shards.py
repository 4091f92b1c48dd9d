"""Resumable embedding: images go through the backbone in shards, and a shard that is on disk is not computed again."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from aad.artifacts import write_atomically
from aad.backbones import Backbone

SHARD = 64  # images per shard: a few seconds of work, so little is lost when interrupted


def embed_in_shards(
    backbone: Backbone,
    keys: Sequence[str],
    load: Callable[[int], Sequence[Image.Image]],
    scratch: Path,
    settings: object,
    label: str,
) -> np.ndarray:
    """Features of every view of every image, resumable.

    Args:
        backbone: the frozen encoder.
        keys: one text per image that changes when its pixels change (path and file hash).
        load: gives the v pictures of image i, v the same for all.
        scratch: folder for shards; safe to delete.
        settings: anything JSON that changes the pictures; part of a shard's name.
        label: shown beside the progress bar.

    Returns:
        (n, v, d_feature) float32, in the order of ``keys``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    shards = []
    with tqdm(total=len(keys), desc=label, unit="image", disable=None) as bar:
        for start in range(0, len(keys), SHARD):
            members = range(start, min(start + SHARD, len(keys)))
            name = _digest(
                [backbone.spec.name, backbone.spec.sha256, backbone.spec.dim, settings, [keys[i] for i in members]]
            )
            path = scratch / f"{name}.npy"
            if not path.exists():
                with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # Pillow frees the interpreter lock
                    pictures = list(pool.map(load, members))
                flat = backbone.embed([picture for views in pictures for picture in views])
                _save(path, flat.reshape(len(pictures), -1, backbone.spec.dim))
            shards.append(np.load(path, allow_pickle=False))
            bar.update(len(members))
    return np.concatenate(shards) if shards else np.zeros((0, 1, backbone.spec.dim), np.float32)


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
