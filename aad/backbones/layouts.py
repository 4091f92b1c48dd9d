"""Files of weights: their tensors by name, read without running any code; and from a release's names to the network's own.

A layout, one function for each kind of release, leaves alone what it does not know, and names that are the network's already
(timm's, for vision transformers); ``loading`` checks every name and shape. Where timm reads a release by itself (CLIP, DINOv3,
Flax's arrays), it does.
"""

import argparse
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aad.backbones.networks import SSCD_STAGES, lite0

if TYPE_CHECKING:
    import torch

HOLDERS = ("teacher", "state_dict", "model_state_dict", "model")  # of the tensors, in training checkpoints
Tensors = Mapping[str, "torch.Tensor"]
Layout = Callable[[Tensors, Any], dict[str, "torch.Tensor"]]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]  # as for re.sub


class CheckpointError(ValueError):
    """A file holds no weights, or others. The text goes into a BackboneError that names the file and what was expected."""


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def members(path: Path) -> list[str]:
    """The files in a zip archive, as torch and numpy write them; none where it is another file."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def read_checkpoint(path: Path, torchscript: bool = False) -> dict[str, "torch.Tensor"]:
    """Tensors by name.

    Args:
        path: safetensors, ``torch.save``, or a TorchScript archive.
        torchscript: whether an archive may be read; only where the release is one.

    Raises:
        CheckpointError: it holds something else than tensors by name.
        Exception: nearly any, as torch and safetensors let it escape on damaged data.
    """
    import torch

    names = members(path)
    content: Any
    if is_safetensors(path):
        from safetensors.torch import load_file

        content = load_file(path)
    elif any(name.endswith("/constants.pkl") for name in names):
        if not torchscript:
            raise CheckpointError("it is a TorchScript archive")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export; releases are old
            content = torch.jit.load(str(path), map_location="cpu").state_dict()  # noqa: TID251
    else:
        with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's full checkpoints keep settings in one
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=bool(names))
    while isinstance(content, Mapping):
        inner = next((content[key] for key in HOLDERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return dict(content)
        content = inner
    raise CheckpointError(f"it holds a {type(content).__name__}, not tensors by name")


def reason(error: Exception) -> str:
    """One line of why a file cannot be read, without torch's advice to switch its safety off."""
    if isinstance(error, CheckpointError):
        return str(error)
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds Python objects ({match[1]}), which may run code; only tensors are read"
    lines = str(error).strip().splitlines()
    return f"it is damaged or no checkpoint ({type(error).__name__}{f': {lines[0][:100]}' if lines else ''})"


def lite0_final(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The package's file: timm's tensors in timm's order, under other names, and a classifier."""
    *own, _, _ = tensors.values()  # the last two are the classifier's
    return dict(zip(lite0().state_dict(), own, strict=True))


def lite0_depths(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The same, for a network that is read at several depths; what comes behind the last layer that it reads is dropped."""
    stem, last = (("^conv_stem", "stem.0"), ("^bn1", "stem.1")), (("^conv_head", "last.0"), ("^bn2", "last.1"))
    named = _renamed(lite0_final(tensors, network), *stem, *last)
    return {name: tensor for name, tensor in named.items() if hasattr(network, name.partition(".")[0])}


def dino(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """Backbone alone, or a teacher under ``backbone.``, as of a full checkpoint; blocks may be in chunks (DINOv2)."""
    return _renamed(tensors, (r"^(module\.)?(backbone\.)?", ""), (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."))


def dinov2(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """As ``dino``, with positions for 518 pixels brought to 224, as the release does it at run time.

    timm would do it with another scale and against aliasing, and its features would differ from the release's.
    """
    import torch

    named, old, new = dino(tensors, network), 37, 16
    positions = named.get("pos_embed")
    if positions is not None and positions.shape[1:2] == (1 + old**2,) and positions.ndim == 3:
        grid = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
        scale = (new + 0.1) / old  # the release adds 0.1 against rounding, and it does change the grid
        fewer = torch.nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        named["pos_embed"] = torch.cat([positions[:, :1].float(), fewer.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
    return named


def mocov3(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The base encoder of a training checkpoint; the momentum encoder and the predictor keep their names."""
    prefix = "module.base_encoder."
    if not any(name.startswith(prefix) for name in tensors):
        raise CheckpointError(f"no tensor is under {prefix}")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def by_timm(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """timm's own filter for the network: of CLIP the image tower, as OpenAI and open_clip name it; DINOv3 without a bias of keys.

    It would stretch patches and positions of another network until they fit.
    """
    import torch

    named = sys.modules[type(network).__module__].checkpoint_filter_fn(dino(tensors, network), network)
    given, own = {tensor.data_ptr() for tensor in tensors.values()}, network.state_dict()
    for name in ("patch_embed.proj.weight", "pos_embed"):
        if name in named and named[name].data_ptr() not in given:
            raise CheckpointError(f"{name} must have shape {tuple(own[name].shape)}, got another")
    if "head.weight" in named:  # CLIP's projection has no bias, timm's layer has
        named.setdefault("head.bias", torch.zeros(len(named["head.weight"])))
    return dict(named)


def sscd(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """Torchvision's names under ``backbone.``; its stages are numbered through here."""
    return _renamed(
        tensors,
        (r"^backbone\.", ""),
        (r"^conv1\.", "stem.0."),
        (r"^bn1\.", "stem.1."),
        (r"^fc\.", "descriptor."),
        (r"^layer([1-4])\.(\d+)\.", lambda m: f"blocks.{sum(SSCD_STAGES[: int(m[1]) - 1]) + int(m[2])}."),
    )


def _renamed(tensors: Tensors, *rules: Rule) -> dict[str, "torch.Tensor"]:
    """Every rule, in turn, on every name."""
    named = {}
    for name, tensor in tensors.items():
        for pattern, ours in rules:
            name = re.sub(pattern, ours, name)
        named[name] = tensor
    return named
