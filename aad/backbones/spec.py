"""What a backbone is: its preprocessing, its dimension, its weights; and how it turns images into unit vectors."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aad.vectors import l2_normalise

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 32  # fixed, because the last bits of a feature depend on the batch it was computed in
TORCH = "torch"  # the engine that every machine has

Engine = Callable[[np.ndarray], np.ndarray]  # (n, 3, s, s) to (n, dim) float32; safe to call from several threads


class BackboneError(RuntimeError):
    """The weights of a backbone are missing or are not the ones that were expected."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Everything about an encoder that a bundle has to remember.

    Attributes:
        name: key in ``BACKBONES``.
        dim: number of features per image.
        image_size: side of the square network input, in pixels.
        mean: per-channel mean subtracted after scaling to [0, 1].
        std: per-channel divisor.
        licence: licence of the weights.
        weights: where the weights come from, for people.
        sha256: fingerprint of the weights in use; empty in ``BACKBONES`` where it is known only once they are loaded.
        resize: length that the short side is brought to before the centre is cropped; None squeezes the whole picture to
            the square.
        interpolation: ``bicubic`` or ``bilinear``, as Pillow does it: widened when it scales down, so without aliasing.
        engine: what computes the features, one of ``ENGINES``; features of two engines are never compared.
    """

    name: str
    dim: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    weights: str
    sha256: str
    resize: int | None = None
    interpolation: str = "bicubic"
    engine: str = TORCH

    def preprocess(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """One RGB image, or what ``squeezed`` made of it, as a (3, image_size, image_size) float32 array."""
        square = self.squeezed(image) if isinstance(image, Image.Image) else image
        pixels = square.astype(np.float32) / 255.0
        pixels -= np.array(self.mean, dtype=np.float32)  # in place: fresh memory costs more than the arithmetic
        pixels /= np.array(self.std, dtype=np.float32)
        return pixels.transpose(2, 0, 1)

    def squeezed(self, image: Image.Image) -> np.ndarray:
        """One RGB image as the network sees it, (image_size, image_size, 3) uint8.

        Where the choice is ours the whole picture is squeezed to a square: a source may sit at the border, and attribution
        must not lose it. Where a release, or AbC's authors, crop the centre, so do we, or the figures would not compare.
        """
        side, width, height = self.image_size, self.image_size, self.image_size
        if self.resize is not None:
            width, height = (int(self.resize * length / min(image.size)) for length in image.size)
        image = image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        left, top = (round((length - side) / 2) for length in (width, height))
        image = image.crop((left, top, left + side, top + side))
        return np.asarray(image)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A spec with its frozen network: PIL images in, unit vectors out.

    Attributes:
        spec: with the fingerprint of the weights in use.
        network: (n, 3, s, s) pictures to (n, dim) features; ``blocks`` lists its blocks in order. A torch module in float32,
            whatever the engine, for those who look inside it or train it.
        device: where the network is.
        compiled: runs in place of ``network`` where ``spec.engine`` is not ``torch``; holds its weights as they were when loaded.
    """

    spec: BackboneSpec
    network: "torch.nn.Module"
    device: str = "cpu"
    compiled: Engine | None = None

    def embed(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Features of RGB images; those of a batch are preprocessed in threads.

        Args:
            images: n RGB images of any size.

        Returns:
            (n, dim) float32 with rows of unit length; (0, dim) for no images.
        """
        starts = range(0, len(images), BATCH_SIZE)
        with ThreadPoolExecutor() as pool:
            batches = (pool.map(self.spec.preprocess, images[start : start + BATCH_SIZE]) for start in starts)
            return self.embed_pixels(chain.from_iterable(batches))

    def embed_pixels(self, pixels: Iterable[np.ndarray]) -> np.ndarray:
        """As ``embed``, of n arrays (3, s, s) that ``spec.preprocess`` gave, taken in batches of ``BATCH_SIZE`` as they come."""
        rows, source = [np.zeros((0, self.spec.dim), np.float32)], iter(pixels)
        while batch := list(islice(source, BATCH_SIZE)):
            rows.append(self.run(np.stack(batch)))
        return l2_normalise(np.concatenate(rows))

    def run(self, batch: np.ndarray) -> np.ndarray:
        """What the network gives for (n, 3, s, s) float32 of ``spec.preprocess``: (n, dim), not yet of unit length."""
        if self.compiled:
            return self.compiled(batch)
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device)
            pixels = pixels.to(memory_format=torch.channels_last)  # a third less time on a CPU
            return self.network(pixels).float().cpu().numpy()

    def in_torch(self) -> "Backbone":
        """The same network run by torch in float32: for those who hook it, or change its weights and embed again."""
        return Backbone(replace(self.spec, engine=TORCH), self.network, self.device)


def difference(stored: Mapping[str, Any], spec: BackboneSpec) -> str:
    """In what a manifest's backbone differs from a spec, so that their features must not mix; empty when in nothing.

    What the manifest does not tell is taken to agree, but for the engine, which is ``torch`` when not told. Texts for people
    (licence, origin) do not count.

    >>> spec = BackboneSpec("b", 4, 8, (0, 0, 0), (1, 1, 1), "", "", "abc")
    >>> difference({"name": "b", "dim": 3}, spec)
    'features of b with dim 3, it is now 4'
    """
    now = json.loads(json.dumps(asdict(spec)))  # JSON has no tuples
    kept = json.loads(json.dumps(now | {"engine": TORCH} | dict(stored)))
    if kept["name"] != spec.name:
        return f"features of {kept['name']}, not of {spec.name}"
    if kept["sha256"] != spec.sha256:
        before, after = (f"{sha256[:12]}..." if sha256 else "none" for sha256 in (kept["sha256"], spec.sha256))
        origin = stored.get("weights", "origin not stated")
        return f"features of {spec.name} with other weights: {before} ({origin}), now {after} ({spec.weights})"
    for key in ("dim", "engine", "image_size", "resize", "interpolation", "mean", "std"):
        if kept[key] != now[key]:
            return f"features of {spec.name} with {key} {kept[key]}, it is now {now[key]}"
    return ""
