"""A tiny bundle on disk, made through the real writer: ten plain pictures, random features, identity-like heads."""

from dataclasses import replace
from pathlib import Path

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
    bundle = folder / "bundle"
    write_step(
        bundle,
        "extract_features",
        {
            "references.json": [
                {
                    "path": f"r{i}.png",
                    "title": f"Picture {i}",
                    "source": "factory",
                    "licence": "CC0",
                    "concept": f"concept {i}",
                    "group": "plain",
                    "split": "test",
                }
                for i in range(N_REFERENCES)
            ],
            "queries.json": [
                {
                    "path": f"q{i}.png",
                    "type": "media",
                    "generator": "noise",
                    "split": split,
                    "concept": f"concept {i}",
                    "exemplar_ids": [i],
                }
                for i, split in zip(
                    range(N_QUERIES), ["train", "validation", "validation", "test", "test", "test"], strict=True
                )
            ],
            "references_backbone.npy": references.astype(np.float16),
            "queries_backbone.npy": queries.astype(np.float16),
        },
        command="factory",
        sections={
            "name": "tiny",
            "images": "../pictures",
            "backbone": {"name": spec.name, "dim": spec.dim},
            "examples": [0, 1],
        },
    )
    head = replace(Head.identity(spec.dim), centre={Domain.REAL: references.mean(0), Domain.SYNTHETIC: queries.mean(0)})
    write_step(
        bundle,
        "train_heads",
        {"heads.safetensors": head.to_tensors("aligned") | head.to_tensors("disentangled")}
        | {f"references_{space}.npy": head.embed(references, "real").astype(np.float16) for space in SPACES[1:]},
        command="factory",
    )
    write_step(
        bundle,
        "calibrate",
        {},
        command="factory",
        sections={"calibration": {space: {"inverse_temperature": 20.0, "null_logit": 8.0} for space in SPACES}},
    )
    write_step(
        bundle,
        "project",
        {"coordinates.npy": generator.random((len(SPACES), N_REFERENCES, 2)).astype(np.float32)},
        command="factory",
        sections={"neighbour_preservation": dict.fromkeys(SPACES, 0.5)},
    )
    return bundle
