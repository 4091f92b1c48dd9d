"""Small files in the exact forms of AbC's release, and features whose similarities tie exactly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Arrays = Mapping[str, np.ndarray]


def write_laion(path: Path, feats: np.ndarray, paths: Sequence[str] | None = None, *, old_format: bool = False) -> Path:
    """Write `laion_subset.pth`; ``old_format`` is that of torch before 1.6."""
    names = list(paths) if paths is not None else [f"laion_subset/{i:07d}.png" for i in range(len(feats))]
    content = {"feats": torch.from_numpy(feats), "paths": names}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    return path


def case_content(exemplars: np.ndarray, sizes: Sequence[int], queries: Arrays, ids: Arrays) -> dict[str, Any]:
    """What the authors' extract_feat.py saves: chunks of the given sizes, float tensors, lists of int."""
    ends = np.cumsum(sizes).tolist()
    return {
        "exemplar_paths": [f"dataset/exemplar/{i}.jpg" for i in range(len(exemplars))],
        "exemplar_chunks": [(end - size, end) for size, end in zip(sizes, ends, strict=True)],
        "exemplar_tensors": torch.from_numpy(exemplars),
        "synth_paths": {kind: [f"dataset/synth/{kind}/{i}.png" for i in range(len(q))] for kind, q in queries.items()},
        "synth_ids": {kind: [int(model) for model in ids[kind]] for kind in queries},
        "synth_tensors": {kind: torch.from_numpy(q) for kind, q in queries.items()},
    }


def write_mapper(path: Path, real: tuple[np.ndarray, np.ndarray], synthetic: tuple[np.ndarray, np.ndarray]) -> Path:
    """Write an official mapper."""
    parts = {"real_mapper": real, "synth_mapper": synthetic}
    layers = {
        name: dict(zip(("weight", "bias"), map(torch.from_numpy, part), strict=True)) for name, part in parts.items()
    }
    torch.save(layers, path)
    return path


def tied_rows(generator: np.random.Generator, n: int, d: int = 16) -> np.ndarray:
    """(n, d) float32 rows with four entries of +-1: unit length is exact, cosines are multiples of 1/4, so ties abound."""
    rows = np.zeros((n, d), np.float32)
    for row in rows:
        row[generator.choice(d, 4, replace=False)] = generator.choice([-1.0, 1.0], 4)
    return rows
