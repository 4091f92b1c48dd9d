"""A tiny bundle on disk, made through the real writer: ten plain pictures, random features, identity-like heads."""

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


def tiny_bundle(folder: Path, seed: int = 0) -> Path:
    """Write a complete bundle to ``folder/bundle`` with its pictures in ``folder/pictures``; query i comes from reference i."""
    generator = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    for name in [f"r{i}" for i in range(N_REFERENCES)] + [f"q{i}" for i in range(N_QUERIES)]:
        colour = tuple(int(c) for c in generator.integers(0, 256, 3))
        Image.new("RGB", (32, 32), colour).save(folder / "pictures" / f"{name}.png")
    spec = BACKBONES["efficientnet_lite0"]
    references = l2_normalise(generator.normal(size=(N_REFERENCES, spec.dim)))
    queries = l2_normalise(references[:N_QUERIES] + 0.5 * l2_normalise(generator.normal(size=(N_QUERIES, spec.dim))))
    about = {"source": "factory", "licence": "CC0", "group": "plain", "split": "test"}
    entries = [
        {"path": f"r{i}.png", "title": f"Picture {i}", "concept": f"concept {i}"} | about for i in range(N_REFERENCES)
    ]
    splits = ("train", "validation", "validation", "test", "test", "test")
    asked = [
        {
            "path": f"q{i}.png",
            "type": "media",
            "generator": "noise",
            "split": split,
            "concept": f"concept {i}",
            "exemplar_ids": [i],
        }
        for i, split in enumerate(splits)
    ]
    head = replace(Head.identity(spec.dim), centre={Domain.REAL: references.mean(0), Domain.SYNTHETIC: queries.mean(0)})
    places = generator.random((len(SPACES), N_REFERENCES, 2))
    about_it = {
        "name": "tiny",
        "images": "../pictures",
        "backbone": {"name": spec.name, "dim": spec.dim},
        "examples": [0, 1],
    }
    return write_bundle(folder / "bundle", (entries, references), (asked, queries), head, places, 8.0, about_it)


def write_bundle(
    folder: Path,
    gallery: tuple[list[dict[str, Any]], np.ndarray],
    asked: tuple[list[dict[str, Any]], np.ndarray],
    head: Head,
    places: np.ndarray,
    null_logit: float,
    sections: dict[str, Any],
) -> Path:
    """All steps of a bundle: tables and features of references and queries, one head for both spaces, coordinates (3, n, 2)."""
    extracted = {"references.json": gallery[0], "references_backbone.npy": gallery[1].astype(np.float16)}
    extracted |= {"queries.json": asked[0], "queries_backbone.npy": asked[1].astype(np.float16)}
    write_step(folder, "extract_features", extracted, command="factory", sections=sections)
    heads = {"heads.safetensors": head.to_tensors("aligned") | head.to_tensors("disentangled")}
    rows = {f"references_{space}.npy": head.embed(gallery[1], "real").astype(np.float16) for space in SPACES[1:]}
    write_step(folder, "train_heads", heads | rows, command="factory")
    calibration = {space: {"inverse_temperature": 20.0, "null_logit": null_logit} for space in SPACES}
    write_step(folder, "calibrate", {}, command="factory", sections={"calibration": calibration})
    preserved = {"neighbour_preservation": dict.fromkeys(SPACES, 0.5)}
    coordinates = {"coordinates.npy": places.astype(np.float32)}
    write_step(folder, "project", coordinates, command="factory", sections=preserved)
    return folder
