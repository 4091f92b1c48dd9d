"""Bundles on disk, made through the real writer: embeddings in, a complete bundle out; and a tiny one with its pictures."""

from collections.abc import Mapping
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


def written(
    bundle: Path,
    tables: Mapping[str, list[dict[str, Any]]],
    embeddings: Mapping[Domain, np.ndarray],
    centre: Mapping[Domain, np.ndarray],
    null_logit: float,
    places: np.random.Generator,
    **sections: Any,
) -> Path:
    """Write a bundle whose heads only centre, and whose maps are drawn from ``places``.

    Args:
        bundle: the folder.
        tables: ``references.json`` and ``queries.json``.
        embeddings: (n, d) unit rows of the references, REAL, and (m, d) of the queries, SYNTHETIC.
        centre: (d,) of each domain.
        null_logit: of all spaces.
        places: draws the maps.
        sections: of the manifest.
    """
    references, queries = embeddings[Domain.REAL], embeddings[Domain.SYNTHETIC]
    (n, d), features = references.shape, {"references": references, "queries": queries}
    rows = {f"{name}_backbone.npy": one.astype(np.float16).reshape(-1, d) for name, one in features.items()}
    about = {"images": "../pictures", "backbone": {"name": "efficientnet_lite0", "dim": d}, **sections}
    write_step(bundle, "extract_features", {**tables, **rows}, command="factory", sections=about)
    head = replace(Head.identity(d), centre=dict(centre))
    spaces = {f"references_{space}.npy": head.embed(references, "real").astype(np.float16) for space in SPACES[1:]}
    heads = {"heads.safetensors": head.to_tensors("aligned") | head.to_tensors("disentangled")}
    write_step(bundle, "train_heads", heads | spaces, command="factory")
    calibration = {space: {"inverse_temperature": 20.0, "null_logit": null_logit} for space in SPACES}
    write_step(bundle, "calibrate", {}, command="factory", sections={"calibration": calibration})
    maps = {"coordinates.npy": places.random((len(SPACES), n, 2)).astype(np.float32)}
    preserved = {"neighbour_preservation": dict.fromkeys(SPACES, 0.5)}
    write_step(bundle, "project", maps, command="factory", sections=preserved)
    return bundle


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
    splits = ["train", "validation", "validation", "test", "test", "test"]
    tables = {
        "references.json": [
            {"path": f"r{i}.png", "title": f"Picture {i}", "concept": f"concept {i}", **about}
            for i in range(N_REFERENCES)
        ],
        "queries.json": [
            {"path": f"q{i}.png", "split": split, "concept": f"concept {i}", "exemplar_ids": [i]}
            | {"type": "media", "generator": "noise"}
            for i, split in enumerate(splits)
        ],
    }
    embeddings = {Domain.REAL: references, Domain.SYNTHETIC: queries}
    centre = {domain: rows.mean(0) for domain, rows in embeddings.items()}
    return written(
        folder / "bundle",
        tables,
        embeddings,
        centre,
        8.0,
        generator,
        name="tiny",
        examples=[0, 1],
        absent=["images/other.png"],
    )
