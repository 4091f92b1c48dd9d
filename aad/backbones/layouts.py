"""What releases call their tensors, and what we call them: one function for each kind of release.

A layout takes tensors by the release's names and gives them by the network's own (timm's, for vision transformers). It leaves alone
what it does not know; ``loading`` then checks every name and shape. Tensors that already have the network's names pass through.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from aad.backbones.networks import SSCD_STAGES, lite0
from aad.backbones.spec import BackboneError

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]
Layout = Callable[[Tensors], dict[str, "torch.Tensor"]]


class LayoutError(ValueError):
    """The tensors cannot be of the release. The text goes into a BackboneError that names the file."""


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


def lite0_final(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """The package's file: timm's tensors in timm's order, under other names, and a classifier."""
    try:
        renamed = in_order(tensors.items(), lite0(n_classes=1000))
    except BackboneError as error:
        raise LayoutError(str(error)) from error
    return {name: tensor for name, tensor in renamed.items() if not name.startswith("classifier.")}


def lite0_depths(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """The same, for the network that is read at several depths; what comes behind its last stage is dropped."""
    ours = {"conv_stem": "stem.0", "bn1": "stem.1", "blocks": "blocks"}
    named = {}
    for name, tensor in lite0_final(tensors).items():
        part, _, rest = name.partition(".")
        if part in ours:
            named[f"{ours[part]}.{rest}"] = tensor
    return named


def dino(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """Backbone alone, or a teacher under ``backbone.``, as of a full checkpoint; blocks may be in chunks (DINOv2)."""
    named = {re.sub(r"^(module\.)?(backbone\.)?", "", name): tensor for name, tensor in tensors.items()}
    return {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): tensor for name, tensor in named.items()}


def dinov2(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """As ``dino``, with positions for 518 pixels brought to 224."""
    named = dino(tensors)
    positions = named.get("pos_embed")
    if positions is not None and positions.shape[1:2] == (1 + 37 * 37,) and positions.ndim == 3:
        named["pos_embed"] = _fewer_positions(positions, 37, 16)
    return named


def _fewer_positions(positions: "torch.Tensor", old: int, new: int) -> "torch.Tensor":
    """Positions (1, 1 + old ** 2, d) interpolated to (1, 1 + new ** 2, d), as the release does at run time.

    timm would do it with another scale and against aliasing, and its features would differ from the release's.
    """
    import torch

    grid = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    scale = (new + 0.1) / math.sqrt(old * old)  # the release adds 0.1 against rounding, and it does change the grid
    fewer = torch.nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1].float(), fewer.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def dinov3(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """The release has storage tokens, layer scales and one masked bias for query, key and value; timm has no key bias."""
    import torch

    named: dict[str, torch.Tensor] = {}
    given = dino(tensors)
    for name, tensor in given.items():
        if name.endswith(".attn.qkv.bias"):
            mask = given.get(f"{name}_mask", torch.ones(()))
            query, key, value = (tensor.float() * mask.float()).chunk(3)
            if key.any():
                raise LayoutError(f"{name} has a bias for keys, which DINOv3 has not")
            stem = name.removesuffix("qkv.bias")
            named |= {f"{stem}q_bias": query, f"{stem}v_bias": value}
        elif not name.endswith(".attn.qkv.bias_mask"):
            name = re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)
            named["reg_token" if name == "storage_tokens" else name] = tensor
    return named


def mocov3(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """The base encoder of a training checkpoint; the momentum encoder and the predictor keep their names."""
    prefix = "module.base_encoder."
    if not any(name.startswith(prefix) for name in tensors):
        raise LayoutError(f"no tensor is under {prefix}")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


_CLIP = {
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "conv1.weight": "patch_embed.proj.weight",
    "proj": "head.weight",
}
_CLIP_PARTS = (
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def clip(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """The image tower under ``visual.``, as OpenAI and open_clip name it; the text tower keeps its names."""
    import torch

    named: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        own = name.removeprefix("visual.")
        if own == name:
            named[name] = tensor
            continue
        if own == "proj":
            tensor = tensor.T
        elif own in ("class_embedding", "positional_embedding"):
            tensor = tensor.reshape(1, -1, tensor.shape[-1])
        for pattern, ours in _CLIP_PARTS:
            own = re.sub(pattern, ours, own)
        named[_CLIP.get(own, own)] = tensor
    if "head.weight" in named:  # the projection has no bias, timm's layer has
        named.setdefault("head.bias", torch.zeros(len(named["head.weight"])))
    return named


_AUGREG_PARTS = (
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^cls$", "cls_token"),
    (r"^embedding/", "patch_embed.proj."),
    (r"LayerNorm_0/", "norm1."),
    (r"LayerNorm_2/", "norm2."),
    (r"MlpBlock_3/Dense_0/", "mlp.fc1."),
    (r"MlpBlock_3/Dense_1/", "mlp.fc2."),
    (r"MultiHeadDotProductAttention_1/out/", "attn.proj."),
    (r"(scale|kernel)$", "weight"),
)


def augreg(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """Flax's arrays: channels last, query, key and value apart and by head."""
    import torch

    named: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        attention, _, part = name.partition("MultiHeadDotProductAttention_1/")
        if part.startswith(("key/", "value/")):
            continue  # with query
        if part in ("query/kernel", "query/bias"):
            end = part.removeprefix("query")
            three = [tensors.get(f"{name.removesuffix(part)}{which}{end}") for which in ("query", "key", "value")]
            parts = [x.flatten(1).T if end == "/kernel" else x.flatten() for x in three if x is not None]
            block = re.sub(*_AUGREG_PARTS[0], attention)
            named[f"{block}attn.qkv.{'weight' if end == '/kernel' else 'bias'}"] = torch.cat(parts)
            continue
        if name.endswith("/kernel"):
            tensor = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.flatten(0, -2).T
        for pattern, ours in _AUGREG_PARTS if "/" in name or name == "cls" else ():
            name = re.sub(pattern, ours, name)
        named[name] = tensor
    return named


def sscd(tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """Torchvision's names under ``backbone.``, or Classy Vision's with the linear layer under ``embeddings.1.``."""
    named = {}
    for name, tensor in tensors.items():
        own = name.removeprefix("backbone.")
        own = re.sub(r"^(initial_block\._module\.0|conv1)\.", "stem.0.", own)
        own = re.sub(r"^(initial_block\._module\.1|bn1)\.", "stem.1.", own)
        own = re.sub(r"^(embeddings\.1|fc)\.", "descriptor.", own)
        if match := re.match(r"layer([1-4])\.(\d+)\.", own):
            own = f"blocks.{_sscd_block(int(match[1]) - 1, int(match[2]))}.{own[match.end() :]}"
        elif match := re.match(r"blocks\.([0-3])\.(?:block\1-)?(\d+)\.(?:_module\.)?(?=\D)", own):
            own = f"blocks.{_sscd_block(int(match[1]), int(match[2]))}.{_classy(own[match.end() :])}"
        named[own] = tensor
    return named


def _sscd_block(stage: int, number: int) -> int:
    return sum(SSCD_STAGES[:stage]) + number


def _classy(name: str) -> str:
    parts = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3"}
    name = re.sub(r"^convolutional_block\.([01346])\.", lambda match: f"{parts[match[1]]}.", name)
    return re.sub(r"^bn\.", "bn3.", name)


LAYOUTS: dict[str, Layout] = {
    "lite0": lite0_depths,
    "lite0_final": lite0_final,
    "dino": dino,
    "dinov2": dinov2,
    "dinov3": dinov3,
    "mocov3": mocov3,
    "clip": clip,
    "augreg": augreg,
    "sscd": sscd,
}
