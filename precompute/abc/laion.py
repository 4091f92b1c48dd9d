"""The large gallery: LAION features as AbC releases them, read block by block.

The release is one `torch.save` file, ``{"feats": (n, d) float tensor, "paths": [text]}``.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from precompute.abc.files import float_tensor, load_entries
from precompute.abc.splits import require

WHAT = "LAION features"
HEAD = 1 << 20  # bytes of a file that its fingerprint reads; the size and the time catch the rest


class Laion:
    """An opened gallery.

    Args:
        path: the released `laion_subset.pth`; its rows stay on disk until they are read, see ``load_entries``.

    Attributes:
        shape: (n, d).
        paths: n paths, in row order.

    Raises:
        BenchmarkError: the file departs from the form.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        feats, self.paths = load_entries(path, WHAT, "feats", "paths")
        self.path, self._rows = Path(path), float_tensor(feats, "feats", ("n", "d"), path)
        self.shape: tuple[int, ...] = tuple(self._rows.shape)
        fits = isinstance(self.paths, list) and len(self.paths) == self.shape[0]
        wanted, got = f"a list of {self.shape[0]} texts, one per row of `feats`", type(self.paths).__name__
        told = f"a {got} of {len(self.paths)}" if hasattr(self.paths, "__len__") else got
        require(fits, "paths", wanted, told, path, "check which file this is")

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` as float64, which holds them exactly."""
        return self._rows[start:stop].double().numpy()


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes, time of the last change in ns and sha256 of the first MiB: tells files apart without reading all of them."""
    status = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256_head": head}
