"""What a backbone is: its preprocessing, its dimension, its weights; and how it turns images into unit vectors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aad.backbones.ahead import ahead
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

    def preprocess(self, image: Image.Image) -> np.ndarray:
        """One RGB image as a (3, image_size, image_size) float32 array.

        Where the choice is ours the whole picture is squeezed to a square: a source may sit at the border, and attribution
        must not lose it. Where a release, or AbC's authors, crop the centre, so do we, or the figures would not compare.
        """
        side, filter_ = self.image_size, Image.Resampling[self.interpolation.upper()]
        if self.resize is None:
            image = image.resize((side, side), filter_)
        else:
            image = _centre(_scaled(image, self.resize, filter_), side)
        pixels = np.asarray(image, dtype=np.float32) / 255.0
        pixels -= np.array(self.mean, dtype=np.float32)  # in place: fresh memory costs more than the arithmetic
        pixels /= np.array(self.std, dtype=np.float32)
        return pixels.transpose(2, 0, 1)


def _scaled(image: Image.Image, short: int, filter_: Image.Resampling) -> Image.Image:
    """The short side at ``short`` pixels, the long one cut down to whole pixels, as torchvision does."""
    width, height = image.size
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    return image if size == image.size else image.resize(size, filter_)


def _centre(image: Image.Image, side: int) -> Image.Image:
    left, top = (round((length - side) / 2) for length in image.size)  # an odd rest falls as in torchvision
    return image.crop((left, top, left + side, top + side))


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

    def embed(self, images: Sequence[Image.Image], progress: Callable[[int], object] | None = None) -> np.ndarray:
        """Features of RGB images; of more than a batch, the next pictures are preprocessed while the network runs.

        Args:
            images: n RGB images of any size.
            progress: called with the number of images done after each batch.

        Returns:
            (n, dim) float32 with rows of unit length; (0, dim) for no images.
        """
        if len(images) <= BATCH_SIZE:
            return self.embed_pixels(map(self.spec.preprocess, images), progress)
        with ahead(self.spec.preprocess, images, n_ahead=2 * BATCH_SIZE) as pixels:
            return self.embed_pixels(pixels, progress)

    def embed_pixels(self, pixels: Iterable[np.ndarray], progress: Callable[[int], object] | None = None) -> np.ndarray:
        """Features of pictures that ``spec.preprocess`` gave, taken in batches of ``BATCH_SIZE`` as they come.

        Args:
            pixels: n arrays (3, s, s); with ``ahead`` they are made while the network runs.
            progress: called with the number of images done after each batch.

        Returns:
            (n, dim) float32 with rows of unit length; (0, dim) for no pictures.
        """
        rows, source = [np.zeros((0, self.spec.dim), np.float32)], iter(pixels)
        while batch := list(islice(source, BATCH_SIZE)):
            rows.append(self._run(np.stack(batch)))
            if progress:
                progress(len(batch))
        return l2_normalise(np.concatenate(rows))

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self.compiled:
            return self.compiled(batch)
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device)
            pixels = pixels.to(memory_format=torch.channels_last)  # a third less time on a CPU
            return self.network(pixels).cpu().numpy()

    def in_torch(self) -> "Backbone":
        """The same network run by torch in float32: for those who hook it, or change its weights and embed again."""
        return Backbone(replace(self.spec, engine=TORCH), self.network, self.device)


def manifest_entry(spec: BackboneSpec) -> dict[str, Any]:
    """The spec as a bundle's manifest keeps it: without fields at their default, so older bundles compare equal."""
    kept = asdict(spec)
    for field in fields(spec):
        if field.default is not MISSING and kept[field.name] == field.default:
            del kept[field.name]
    return kept


def difference(stored: Mapping[str, Any], spec: BackboneSpec) -> str:
    """In what a manifest's backbone differs from a spec, so that their features must not mix; empty when in nothing.

    What the manifest does not tell is taken to agree, but for the engine, which is ``torch`` when not told. Texts for people
    (licence, origin) do not count.

    >>> spec = BackboneSpec("b", 4, 8, (0, 0, 0), (1, 1, 1), "", "", "abc")
    >>> difference({"name": "b", "dim": 3}, spec)
    'features of 3 dimensions, b now gives 4'
    """
    if (name := stored.get("name", spec.name)) != spec.name:
        return f"features of {name}, not of {spec.name}"
    if (dim := stored.get("dim", spec.dim)) != spec.dim:
        return f"features of {dim} dimensions, {spec.name} now gives {spec.dim}"
    if (sha256 := stored.get("sha256", spec.sha256)) != spec.sha256:
        return (
            f"features of {spec.name} with other weights: {_short(sha256)} ({stored.get('weights', 'origin not stated')}), "
            f"now {_short(spec.sha256)} ({spec.weights})"
        )
    if (engine := stored.get("engine", TORCH)) != spec.engine:
        return f"features of {spec.name} computed by the engine {engine}, not by {spec.engine} (--engine {engine})"
    for key in ("image_size", "resize", "interpolation", "mean", "std"):
        now = getattr(spec, key)
        now = list(now) if isinstance(now, tuple) else now  # JSON has no tuples
        before = stored.get(key, now)
        before = list(before) if isinstance(before, tuple) else before
        if before != now:
            return f"features of {spec.name} with {key} {before}, it is now {now}"
    return ""


def _short(sha256: str) -> str:
    return f"{sha256[:12]}..." if sha256 else "none"
