"""Invented galleries: rows around concepts, queries from outside, pure noise; a bundle of thousands of references."""

from pathlib import Path
from typing import Any

import numpy as np

from aad.scale.stored import StoredRows
from aad.spaces import Domain
from aad.vectors import l2_normalise
from tests.factory import written

N, M, D = 4000, 30, 64
Built = tuple[dict[str, np.ndarray], dict[str, Any]]


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Unit rows in all directions."""
    return l2_normalise(np.random.default_rng(seed).normal(size=(n, d)))


def grouped(n: int = 6000, d: int = 44) -> np.ndarray:
    """Rows around 60 centres, as pictures of 60 concepts; 44 is padded to 48 for the codes."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, d))
    return l2_normalise(centres[rng.integers(60, size=n)] + 0.4 * rng.normal(size=(n, d)))


def asked(gallery: np.ndarray, m: int = 30) -> np.ndarray:
    """Queries from outside: near a row, with a shift that no row has."""
    rng = np.random.default_rng(9)
    shift = 0.3 * l2_normalise(rng.normal(size=(1, gallery.shape[1])))
    near = gallery[rng.integers(len(gallery), size=m)]
    return l2_normalise(near + shift + 0.05 * rng.normal(size=(m, gallery.shape[1])))


def on_disk(folder: Path, gallery: np.ndarray) -> StoredRows:
    """Rows in a file, as float16."""
    np.save(folder / "rows.npy", gallery.astype(np.float16))
    return StoredRows(folder / "rows.npy")


def noise(folder: Path) -> tuple[StoredRows, np.ndarray]:
    """A gallery of pure noise, the hardest there is: nothing is much nearer than the rest."""
    rng = np.random.default_rng(4)
    return on_disk(folder, l2_normalise(rng.normal(size=(5000, 64)))), l2_normalise(rng.normal(size=(40, 64)))


def wide_bundle(folder: Path, n: int = N, m: int = M, noise: float = 0.08) -> Path:
    """A complete bundle of n references in clusters and m queries, each made from a reference; its pictures exist in name only."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, D))
    references = l2_normalise(centres[np.arange(n) % 40] + 0.7 * generator.normal(size=(n, D)))
    queries = l2_normalise(references[:m] + noise * generator.normal(size=(m, D)) + 0.05)
    about = {"source": "factory", "licence": "CC0"}
    tables = {
        "references.json": [
            {"path": f"r{i}.png", "title": f"T{i}", "concept": f"c{i}", "group": "ab"[i % 2], **about} for i in range(n)
        ],
        "queries.json": [
            {"path": f"q{i}.png", "type": "media", "split": "validation", "exemplar_ids": [i]} for i in range(m)
        ],
    }
    shift = {Domain.REAL: np.zeros(D, np.float32), Domain.SYNTHETIC: np.full(D, 0.05, np.float32)}
    embeddings = {Domain.REAL: references, Domain.SYNTHETIC: queries}
    return written(folder, tables, embeddings, shift, 14.0, generator, name="wide", images="pictures")
