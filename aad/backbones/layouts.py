"""What releases call their tensors, and what we call them: one function for each kind of release.

A layout takes tensors by the release's names, and the network that they are for, and gives them by the network's own names (timm's,
for vision transformers). It leaves alone what it does not know; ``loading`` then checks every name and shape. Tensors that already
have the network's names pass through. Where timm reads a release by itself (CLIP, DINOv3), it does.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aad.backbones.checkpoints import CheckpointError
from aad.backbones.networks import SSCD_STAGES, lite0

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]
Layout = Callable[[Tensors, Any], dict[str, "torch.Tensor"]]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]  # as for re.sub


def lite0_final(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The package's file: timm's tensors in timm's order, under other names, and a classifier."""
    wanted = lite0(n_classes=1000).state_dict()
    if len(tensors) != len(wanted):
        raise CheckpointError(f"expected {len(wanted)} tensors, got {len(tensors)}: it is of another network")
    for (name, tensor), (ours, own) in zip(tensors.items(), wanted.items(), strict=True):
        if tensor.shape != own.shape:
            raise CheckpointError(
                f"expected {ours} of shape {tuple(own.shape)}, got {name} of {tuple(tensor.shape)}: it is of another network"
            )
    renamed = dict(zip(wanted, tensors.values(), strict=True))
    return {name: tensor for name, tensor in renamed.items() if not name.startswith("classifier.")}


def lite0_depths(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The same, for the network that is read at several depths; what comes behind its last stage is dropped."""
    named = _renamed(lite0_final(tensors, network), ("^conv_stem", "stem.0"), ("^bn1", "stem.1"))
    return {name: tensor for name, tensor in named.items() if name.startswith(("stem.", "blocks."))}


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


def dinov3(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """timm's reading, which drops the bias of keys; that the release has none is seen first."""
    named = dino(tensors, network)
    for name, bias in named.items():
        if name.endswith(".attn.qkv.bias"):
            mask = named.get(f"{name}_mask")
            if (bias if mask is None else bias.float() * mask.float()).chunk(3)[1].any():
                raise CheckpointError(f"{name} has a bias for keys, which DINOv3 has not")
    return _by_timm(named, network)


def mocov3(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """The base encoder of a training checkpoint; the momentum encoder and the predictor keep their names."""
    prefix = "module.base_encoder."
    if not any(name.startswith(prefix) for name in tensors):
        raise CheckpointError(f"no tensor is under {prefix}")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def clip(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """timm's reading of the image tower under ``visual.``, as OpenAI and open_clip name it; the text tower is left out."""
    import torch

    named = _by_timm(tensors, network)
    if "head.weight" in named:  # the projection has no bias, timm's layer has
        named.setdefault("head.bias", torch.zeros(len(named["head.weight"])))
    return named


def augreg(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """Flax's arrays: channels last, query, key and value apart and by head."""
    import torch

    named: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        block, _, part = name.partition("MultiHeadDotProductAttention_1/")
        if part.startswith(("key/", "value/")):
            continue  # with query
        if part in ("query/kernel", "query/bias"):
            three = [tensors.get(name.replace("query", which)) for which in ("query", "key", "value")]
            parts = [x.flatten(1).T if part == "query/kernel" else x.flatten() for x in three if x is not None]
            named[f"{block}attn.qkv.{'weight' if part == 'query/kernel' else 'bias'}"] = torch.cat(parts)
        elif name.endswith("/kernel"):
            named[name] = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.flatten(0, -2).T
        else:
            named[name] = tensor
    return _renamed(
        named,
        (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
        (r"^Transformer/encoder_norm/", "norm."),
        (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
        (r"^cls$", "cls_token"),
        (r"^embedding/", "patch_embed.proj."),
        (r"LayerNorm_0/", "norm1."),
        (r"LayerNorm_2/", "norm2."),
        (r"MlpBlock_3/Dense_([01])/", lambda found: f"mlp.fc{int(found[1]) + 1}."),
        (r"MultiHeadDotProductAttention_1/out/", "attn.proj."),
        (r"\b(scale|kernel)$", "weight"),
    )


def sscd(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """Torchvision's names under ``backbone.``, or Classy Vision's with the linear layer under ``embeddings.1.``."""
    layers = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3"}
    return _renamed(
        tensors,
        (r"^backbone\.", ""),
        (r"^(initial_block\._module\.0|conv1)\.", "stem.0."),
        (r"^(initial_block\._module\.1|bn1)\.", "stem.1."),
        (r"^(embeddings\.1|fc)\.", "descriptor."),
        (r"^blocks\.([0-3])\.(?:block\1-)?(\d+)\.(?:_module\.)?(?=\D)", lambda m: f"layer{int(m[1]) + 1}.{m[2]}."),
        (r"\.convolutional_block\.([01346])\.", lambda found: f".{layers[found[1]]}."),
        (r"^(layer\d\.\d+)\.bn\.", r"\1.bn3."),
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


def _by_timm(tensors: Tensors, network: Any) -> dict[str, "torch.Tensor"]:
    """timm's own filter for the network. It would stretch patches and positions of another network until they fit."""
    named = sys.modules[type(network).__module__].checkpoint_filter_fn(dict(tensors), network)
    given, own = {tensor.data_ptr() for tensor in tensors.values()}, network.state_dict()
    for name in ("patch_embed.proj.weight", "pos_embed"):
        if name in named and named[name].data_ptr() not in given:
            raise CheckpointError(f"{name} must have shape {tuple(own[name].shape)}, got another")
    return dict(named)
