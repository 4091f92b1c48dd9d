"""Bundles on disk, made through the real writer; a tiny one of ten plain pictures, random features, identity-like heads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BACKBONES
from aad.method import Head
from aad.spaces import SPACES, Domain
from aad.vectors import l2_normalise
from precompute.common.steps import write_step

N_REFERENCES, N_QUERIES = 10, 6
Entries = list[dict[str, Any]]


def complete_bundle(
    folder: Path,
    references: tuple[Entries, np.ndarray],
    queries: tuple[Entries, np.ndarray],
    head: Head,
    calibration: tuple[float, float],
    coordinates: np.ndarray,
    **sections: Any,
) -> Path:
    """Write entries and unit rows of references and queries, one head and one calibration for all spaces, (3, n, 2) places."""
    (told, rows), (asked, query_rows) = references, queries
    backbone = {"name": "efficientnet_lite0", "dim": rows.shape[1]}
    files = {
        "references.json": told,
        "queries.json": asked,
        "references_backbone.npy": rows.astype(np.float16),
        "queries_backbone.npy": query_rows.astype(np.float16),
    }
    about = {"name": "tiny", "images": "../pictures", "backbone": backbone, "examples": []} | sections
    write_step(folder, "extract_features", files, command="factory", sections=about)
    embedded = {f"references_{space}.npy": head.embed(rows, "real").astype(np.float16) for space in SPACES[1:]}
    heads = {"heads.safetensors": head.to_tensors("aligned") | head.to_tensors("disentangled")}
    write_step(folder, "train_heads", heads | embedded, command="factory")
    weights = dict(zip(("inverse_temperature", "null_logit"), calibration, strict=True))
    write_step(folder, "calibrate", {}, command="factory", sections={"calibration": dict.fromkeys(SPACES, weights)})
    preserved = {"neighbour_preservation": dict.fromkeys(SPACES, 0.5)}
    write_step(folder, "project", {"coordinates.npy": coordinates}, command="factory", sections=preserved)
    return folder


def tiny_bundle(folder: Path, seed: int = 0) -> Path:
    """Write a complete bundle to ``folder/bundle`` with its pictures in ``folder/pictures``; query i comes from reference i."""
    generator = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    for name in [f"r{i}" for i in range(N_REFERENCES)] + [f"q{i}" for i in range(N_QUERIES)]:
        colour = tuple(int(c) for c in generator.integers(0, 256, 3))
        Image.new("RGB", (32, 32), colour).save(folder / "pictures" / f"{name}.png")
    dim = BACKBONES["efficientnet_lite0"].dim
    references = l2_normalise(generator.normal(size=(N_REFERENCES, dim)))
    queries = l2_normalise(references[:N_QUERIES] + 0.5 * l2_normalise(generator.normal(size=(N_QUERIES, dim))))
    about = {"source": "factory", "licence": "CC0", "group": "plain", "split": "test"}
    told = [
        {"path": f"r{i}.png", "title": f"Picture {i}", "concept": f"concept {i}"} | about for i in range(N_REFERENCES)
    ]
    asked = [
        {"path": f"q{i}.png", "type": "media", "generator": "noise", "split": split}
        | {"concept": f"concept {i}", "exemplar_ids": [i]}
        for i, split in enumerate(["train", "validation", "validation", "test", "test", "test"])
    ]
    head = replace(Head.identity(dim), centre={Domain.REAL: references.mean(0), Domain.SYNTHETIC: queries.mean(0)})
    coordinates = generator.random((len(SPACES), N_REFERENCES, 2)).astype(np.float32)
    complete = (folder / "bundle", (told, references), (asked, queries), head, (20.0, 8.0), coordinates)
    return complete_bundle(*complete, examples=[0, 1])
