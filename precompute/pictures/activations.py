"""Fresh views of a bundle's training images, kept as the activations that a fine-tuned tail starts from.

A picture is drawn once and goes through the frozen front of the network once; what is kept are float16 activations on disk, which
training maps into memory. A file belongs to one kind of view or one generator, so a run that leaves another one out uses it again.
The views are drawn with other seeds than those of step 3: heads fitted to step 3's views must not meet pictures that the backbone
was tuned on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BackboneError, BackboneSpec
from precompute.common.embedding import kept
from precompute.experiments.tail import Cut, Pool

from .drawing import N_SYNTHETIC_VIEWS, Drawing, Pictures

BATCH_SIZE = 32  # pictures through the front at once; fixed, because the last bits depend on it

Item = tuple[str, Callable[[], list[Image.Image]]]  # a text that changes with the pictures, and what draws them
Part = list[np.ndarray]  # activations of some images each, (images, pictures of one, ...)


def generator_of(entry: Mapping[str, Any]) -> str:
    """What made a synthetic image, as far as its table tells."""
    return str(entry.get("generator", "unknown"))


class Activations(Drawing):
    """Draws pictures and keeps their activations; a picture depends on the seed, its image and its number only.

    Args:
        real: training images; also surroundings, backdrops and styles.
        queries: the bundle's own synthetic training images.
        cut: of the network that is fine-tuned.
        spec: of its backbone.
        scratch: folder for the files; safe to delete.
        seed: of everything drawn.
    """

    def __init__(
        self, real: Pictures, queries: Pictures, cut: Cut, spec: BackboneSpec, scratch: Path, seed: int
    ) -> None:
        super().__init__(real, queries, seed, "fine-tuning")
        self.cut, self.spec, self.scratch = cut, spec, scratch
        self.common = [spec.name, spec.sha256, cut.depth, seed, real.keys]  # every picture may show any other
        self.used: list[str] = []  # names of all files

    def real_pool(self, kinds: Sequence[str], n_views: int) -> Pool:
        """Every real image, with ``n_views`` views of each kind.

        Raises:
            ValueError: too little to train on.
        """
        real = self.real
        whole: list[Item] = [(real.keys[i], partial(self.whole, real, i)) for i in range(len(real))]
        parts = [self._keep(whole, "whole", "real images")]
        for kind in kinds if n_views else ():
            items: list[Item] = [(real.keys[i], partial(self.views, real, kind, n_views, i)) for i in range(len(real))]
            parts.append(self._keep(items, ["views", kind, n_views], f"{kind} views"))
        return _pool(parts, axis=1)

    def synthetic_pool(self, generators: Sequence[str], families: Sequence[str], n_made: int) -> Pool:
        """The bundle's own synthetic images of some generators, then ``n_made`` of each family from every real image.

        Raises:
            ValueError: too little to train on.
        """
        parts = []
        for generator in generators:
            own = [i for i, entry in enumerate(self.queries.entries) if generator_of(entry) == generator]
            items: list[Item] = [(self.queries.keys[i], partial(self.synthetic, self.queries, i)) for i in own]
            parts.append(self._keep(items, "query", f"{generator} images"))
        for family in families:
            items = [
                (f"{self.real.keys[i]} {number}", partial(self.made, family, i, number))
                for number in range(n_made)
                for i in range(len(self.real))
            ]
            parts.append(self._keep(items, ["made", family], f"made: {family}"))
        return _pool(parts, axis=0)

    def _keep(self, items: Sequence[Item], settings: object, label: str) -> Part:
        keys, draw = [key for key, _ in items], [drawn for _, drawn in items]
        made_by, front, name = [self.common, settings], self._through_the_front, "activations-"
        rows = kept(self.scratch, made_by, keys, lambda i: draw[i](), self.spec.preprocess, front, label, name)
        self.used += [Path(str(array.filename)).name for array in rows]
        return list(rows)

    def _through_the_front(self, pixels: Iterator[np.ndarray]) -> np.ndarray:
        import torch

        rows = []
        while batch := list(islice(pixels, BATCH_SIZE)):
            rows.append(self.cut.front(torch.from_numpy(np.stack(batch))).cpu().numpy())
        values = np.concatenate(rows)
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise BackboneError(
                f"activations reach {np.abs(values).max():.0f}, more than half precision holds; train more blocks"
            )
        return values.astype(np.float16)


def _pool(parts: Sequence[Part], axis: int) -> Pool:
    """One pool of parts that hold further views of the same images (axis 1) or further images (axis 0)."""
    arrays: list[np.ndarray] = []
    nothing = np.zeros((0, 1 + N_SYNTHETIC_VIEWS, 3), np.int64)
    places = [nothing] if axis == 0 else []
    for part in parts:
        own = []
        for array in part:
            row, column = np.indices(array.shape[:2])
            own.append(np.stack([np.full_like(row, len(arrays)), row, column], axis=2))
            arrays.append(array)
        places.append(np.concatenate(own) if own else nothing)
    return Pool(tuple(arrays), np.concatenate(places, axis=axis))
