"""Galleries around concepts, queries from outside, and pure noise, on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from aad.retrieval import StoredRows
from aad.vectors import l2_normalise

Built = tuple[dict[str, np.ndarray], dict[str, Any]]
N, D = 6000, 44  # 44: padded to 48 for the codes


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Unit rows in all directions."""
    return l2_normalise(np.random.default_rng(seed).normal(size=(n, d)))


def halved(path: Path, unit_rows: np.ndarray) -> StoredRows:
    """Rows in a file, as float16."""
    np.save(path, unit_rows.astype(np.float16))
    return StoredRows(path)


def grouped(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    """Rows around 60 centres, as pictures of 60 concepts."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, d))
    return l2_normalise(centres[rng.integers(60, size=n)] + 0.4 * rng.normal(size=(n, d)))


def asked(gallery: np.ndarray, m: int = 30) -> np.ndarray:
    """Queries from outside: near a row, with a shift that no row has."""
    rng = np.random.default_rng(9)
    shift = 0.3 * l2_normalise(rng.normal(size=(1, gallery.shape[1])))
    near = gallery[rng.integers(len(gallery), size=m)]
    return l2_normalise(near + shift + 0.05 * rng.normal(size=(m, gallery.shape[1])))


def on_disk(folder: Path, gallery: np.ndarray) -> StoredRows:
    return halved(folder / "rows.npy", gallery)


def noise(folder: Path) -> tuple[StoredRows, np.ndarray]:
    """A gallery of pure noise, the hardest there is: nothing is much nearer than the rest."""
    rng = np.random.default_rng(4)
    return on_disk(folder, l2_normalise(rng.normal(size=(5000, 64)))), l2_normalise(rng.normal(size=(40, 64)))
