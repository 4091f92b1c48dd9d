"""The pictures of a bundle, from which views and synthetic images are drawn, and the backbone that embeds them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import Backbone, difference, load_backbone
from aad.backbones.spec import TORCH
from aad.bundle import Bundle, BundleError, safe_path
from aad.files import file_sha256
from aad.images import load_image

# pixels on the longest side: more than any family works at, and quick to load from large photographs
DRAWING_SIZE = 640


class Pictures:
    """n images of a bundle, in the order of its table; or of a folder.

    Args:
        place: where the images lie: the bundle that says so, or a folder.
        entries: (id, entry) of each, from references.json or queries.json; of a folder, entries with a ``path`` below it.
    """

    def __init__(self, place: Bundle | Path, entries: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        root = place if isinstance(place, Path) else (place.folder / place.section("images")).resolve()
        self.ids = [i for i, _ in entries]
        self.entries = [entry for _, entry in entries]
        self.names = [str(entry["path"]) for entry in self.entries]
        self.paths: list[Path] = [root / safe_path(name) for name in self.names]
        self.keys = [f"{name}:{file_sha256(path)}" for path, name in zip(self.paths, self.names, strict=True)]
        self.drawable = lru_cache(maxsize=256)(self._drawable)

    def __len__(self) -> int:
        return len(self.paths)

    def whole(self, i: int) -> Image.Image:
        """The image as it is embedded."""
        return load_image(self.paths[i])

    def _drawable(self, i: int) -> Image.Image:
        """The image at no more than ``DRAWING_SIZE``; kept in memory, so copy before changing it in place."""
        image = load_image(self.paths[i])
        image.thumbnail((DRAWING_SIZE, DRAWING_SIZE), Image.Resampling.LANCZOS)
        return image

    def another(self, i: int | None, rng: np.random.Generator, among: Sequence[int] | None = None) -> int:
        """A random picture other than the i-th, of those at the places ``among``; the i-th itself where there is no other."""
        others = [j for j in (range(len(self)) if among is None else among) if j != i]
        if not others:
            others = [j for j in range(len(self)) if j != i] or [i or 0]
        return others[int(rng.integers(len(others)))]

    def paintings(self) -> list[int]:
        """Places of the paintings, by the table's ``kind``; empty where it does not tell."""
        return [place for place, entry in enumerate(self.entries) if entry.get("kind") == "painting"]


def training_pictures(bundle: Bundle) -> tuple[Pictures, Pictures]:
    """Real and synthetic images of the train split, or of no split.

    Raises:
        BundleError: there is no such real image.
    """
    real, queries = (
        Pictures(bundle, [(i, entry) for i, entry in enumerate(bundle.read_json(name)) if may_train(entry)])
        for name in ("references.json", "queries.json")
    )
    if not len(real):
        raise BundleError(f"{bundle.folder} has no reference in the train split, so there is nothing to train on")
    return real, queries


def may_train(entry: Mapping[str, Any]) -> bool:
    """Whether a picture of a bundle is of the train split, or of no split."""
    return entry.get("split", "") in ("train", "")


def open_backbone(bundle: Bundle, weights: Path | None = None, device: str = "cpu") -> Backbone:
    """The backbone that the bundle's features come from.

    Args:
        bundle: its manifest says which.
        weights: local file with its weights, where ``load_backbone`` would not find them itself.
        device: where it runs.

    Raises:
        BackboneError: no such weights, or the bundle's engine is not to be had here.
        BundleError: the bundle was made with other weights, or another version of it.
    """
    stored = bundle.section("backbone")
    backbone = load_backbone(stored["name"], weights, device, stored.get("engine", TORCH))
    if different := difference(stored, backbone.spec):
        raise BundleError(
            f"{bundle.folder} has {different}: give the weights that it was made with (--weights FILE, or their file in "
            f"$AAD_WEIGHTS), or make it again with python -m precompute.extract_features --bundle {bundle.folder}"
        )
    return backbone
