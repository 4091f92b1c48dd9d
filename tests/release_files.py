"""Weights as the releases lay them out, made from a network's own tensors by renaming written for the tests alone.

`variants(name, network)` gives, for one backbone, every kind of file that its weights come in: a label and what to write.
"""

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

#: larger than another of the same layout, or the same network pooled otherwise: `-m slow`; of SSCD a part is tested anyway
LARGER = {
    *("clip_vitb16", "clip_vitb32", "dino_vitb16", "dinov2_vitb14", "dinov3_vitb16", "mocov3_vitb16", "vit_b16_384"),
    *("sscd_disc_mixup", "efficientnet_lite0", "efficientnet_lite0_final"),
}
Tensors = dict[str, torch.Tensor]
Write = Callable[[Path], Path]
MOCO_EXTRA = {
    "module.base_encoder.head.0.weight": torch.ones(4, 3),
    "module.base_encoder.head.1.running_mean": torch.zeros(4),
    "module.momentum_encoder.cls_token": torch.ones(1, 1, 3),
    "module.predictor.0.weight": torch.ones(2, 2),
}


@pytest.fixture(scope="module", autouse=True)
def few_blocks() -> Iterator[None]:
    """For a module that takes this fixture: one block, and no folder of weights."""
    with pytest.MonkeyPatch.context() as patch:
        shallow(patch, 1)
        patch.delenv("AAD_WEIGHTS", raising=False)
        yield


def shallow(patch: pytest.MonkeyPatch, n_blocks: int) -> None:
    """Vision transformers of few blocks: small files and quick forward passes."""

    def create_model(model: str, **options: Any) -> Any:
        depth = {"depth": n_blocks} if model.startswith("vit_") else {}
        return create(model, **depth | options)  # the last patch wins

    create = timm.create_model
    patch.setattr(timm, "create_model", create_model)


def randomise(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every tensor random, so that no two could be exchanged unseen; small enough for half precision to hold."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            scale = tensor.ndim == 1 and not name.endswith(("bias", "running_mean"))  # of a norm or a layer: positive
            size = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim == 4 else 0.03  # so that signals pass a convolution
            noise = size * torch.randn(tensor.shape, generator=generator)
            value = 0.5 + 0.5 * torch.rand(tensor.shape, generator=generator) if scale else noise
            tensor.copy_(value.half().float())
    return network


def saved(content: Any, file: str, scripted: bool = False) -> Write:
    """What writes a file of the form that its name says; ``scripted``: of a module that has these tensors and does nothing."""

    def write(folder: Path) -> Path:
        path = folder / file
        if path.suffix == ".safetensors":
            save_file({name: tensor.contiguous().clone() for name, tensor in content.items()}, path)
        elif path.suffix == ".npz":
            np.savez(path, **{name: tensor.numpy() for name, tensor in content.items()})
        elif scripted:
            root = torch.nn.Module()
            for name, tensor in content.items():
                *parts, last = name.split(".")
                module = root
                for part in parts:
                    if not hasattr(module, part):
                        module.add_module(part, torch.nn.Module())
                    module = getattr(module, part)
                module.register_buffer(last, tensor.contiguous().clone())
            torch.jit.save(torch.jit.script(root), str(path))
        else:
            torch.save(content, path)
        return path

    return write


def variants(name: str, network: torch.nn.Module) -> dict[str, Write]:
    """Label to a function that writes the file; all hold the network's weights."""
    own = dict(network.state_dict())
    files = {"own": saved(own, "tuned.safetensors")}
    if name.startswith("dino_"):
        files |= _dino(own)
    elif name.startswith("dinov2"):
        files["release"] = saved(own | {"mask_token": torch.zeros(1, 8)}, "dinov2_pretrain.pth")
        files["training"] = saved({"teacher": _chunked(own)}, "teacher_checkpoint.pth")
    elif name.startswith("dinov3"):
        files["release"] = saved(_dinov3(own), "dinov3_pretrain.pth")
    elif name.startswith("moco"):
        tensors = {f"module.base_encoder.{key}": tensor for key, tensor in own.items()} | MOCO_EXTRA
        content = {"epoch": 300, "arch": "vit_base", "state_dict": tensors, "optimizer": {"state": {0: {"step": 1}}}}
        files["release"] = saved(content, "vit-300ep.pth.tar")
    elif name.startswith("clip"):
        half = {key: tensor.half() for key, tensor in _clip(own).items()}
        text = {"transformer.resblocks.0.ln_1.weight": torch.ones(4), "logit_scale": torch.ones(())}
        text |= {"input_resolution": torch.tensor(224), "token_embedding.weight": torch.ones(2, 2)}
        text |= {"positional_embedding": torch.ones(2, 2), "text_projection": torch.ones(2, 2)}
        files["release"] = saved(half | text, "ViT-B.pt", scripted=True)
        others = {f"module.{k}": v for k, v in (_clip(own) | text).items()}
        files["open_clip"] = saved({"state_dict": others}, "clip.pth")
        files["hub"] = saved({k: v for k, v in own.items() if k != "head.bias"}, "model.safetensors")
    elif name == "vit_b16_384":
        files["release"] = saved(_augreg(own), "B_16.npz")
        classifier = {"head.weight": torch.ones(10, 768), "head.bias": torch.ones(10)}
        files["hub"] = saved(own | classifier, "model.safetensors")
    elif name.startswith("sscd"):
        files["release"] = saved(_torchvision(own), "sscd.torchscript.pt", scripted=True)
        files["torchvision"] = saved(_torchvision(own), "sscd.torchvision.pt")
    return files


def renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    """Under the names that these patterns and replacements make, one after the other."""
    found = {}
    for key, tensor in tensors.items():
        for pattern, new in pairs:
            key = re.sub(pattern, new, key)
        found[key] = tensor
    return found


def _dino(own: Tensors) -> dict[str, Write]:
    teacher = renamed(own, ("^", "backbone.")) | {"head.mlp.0.weight": torch.ones(2, 2)}
    student = {f"module.backbone.{key}": tensor + 1 for key, tensor in own.items()}
    full = {"student": student, "teacher": teacher, "epoch": 100, "args": Namespace(arch="vit"), "dino_loss": {}}
    return {"release": saved(own, "dino_pretrain.pth"), "full": saved(full, "full_checkpoint.pth")}


def _chunked(own: Tensors) -> Tensors:
    """Blocks in chunks of three, each numbered through, as DINOv2 trains them; and the heads of training."""
    heads = {"dino_head.mlp.0.weight": torch.ones(2, 2), "ibot_head.last_layer.weight": torch.ones(2)}
    chunks = [(rf"^blocks\.{n}\.(?!\d+\.)", f"blocks.{n // 3}.{n}.") for n in range(12)]
    return heads | renamed(own, *chunks, ("^", "backbone."))


def _dinov3(own: Tensors) -> Tensors:
    tensors = {"mask_token": torch.ones(1, 4), "rope_embed.periods": torch.ones(16, dtype=torch.bfloat16)}
    others = {key: tensor for key, tensor in own.items() if not key.endswith(("attn.q_bias", "attn.v_bias"))}
    names = (("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"), ("reg_token", "storage_tokens"))
    for key in own.keys() - others.keys():
        if key.endswith("q_bias"):
            stem, query, value = key.removesuffix("q_bias"), own[key], own[key.replace("q_bias", "v_bias")]
            width = len(value)
            # the mask hides the sevens
            tensors[f"{stem}qkv.bias"] = torch.cat([query, torch.full((width,), 7.0), value])
            tensors[f"{stem}qkv.bias_mask"] = torch.cat([torch.ones(width), torch.zeros(width), torch.ones(width)])
    return tensors | renamed(others, *names)


def _clip(own: Tensors) -> Tensors:
    own = {key: tensor for key, tensor in own.items() if key != "head.bias"}
    own |= {"head.weight": own["head.weight"].T, "cls_token": own["cls_token"][0, 0], "pos_embed": own["pos_embed"][0]}
    return renamed(
        own,
        ("^head.weight$", "proj"),
        ("^cls_token$", "class_embedding"),
        ("^pos_embed$", "positional_embedding"),
        ("^patch_embed.proj", "conv1"),
        ("^norm_pre", "ln_pre"),
        ("^norm", "ln_post"),
        ("^blocks", "transformer.resblocks"),
        (r"\.norm(\d)", r".ln_\1"),
        ("attn.qkv.", "attn.in_proj_"),
        ("attn.proj", "attn.out_proj"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("^", "visual."),
    )


def _augreg(own: Tensors) -> Tensors:
    """Flax keeps inputs before outputs, heads apart, and calls weights kernels or scales."""
    tensors = {"cls": own["cls_token"], "Transformer/posembed_input/pos_embedding": own["pos_embed"]}
    tensors |= {"head/kernel": torch.ones(768, 10), "head/bias": torch.ones(10)}
    tensors["embedding/kernel"] = own["patch_embed.proj.weight"].permute(2, 3, 1, 0)
    tensors["embedding/bias"] = own["patch_embed.proj.bias"]
    tensors["Transformer/encoder_norm/scale"] = own["norm.weight"]
    tensors["Transformer/encoder_norm/bias"] = own["norm.bias"]
    for number in sorted({int(key.split(".")[1]) for key in own if key.startswith("blocks.")}):
        ours, theirs = f"blocks.{number}.", f"Transformer/encoderblock_{number}/"
        for norm, name in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            tensors[f"{theirs}{name}/scale"] = own[f"{ours}{norm}.weight"]
            tensors[f"{theirs}{name}/bias"] = own[f"{ours}{norm}.bias"]
        for layer, name in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            tensors[f"{theirs}MlpBlock_3/{name}/kernel"] = own[f"{ours}mlp.{layer}.weight"].T
            tensors[f"{theirs}MlpBlock_3/{name}/bias"] = own[f"{ours}mlp.{layer}.bias"]
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        for i, name in enumerate(("query", "key", "value")):
            rows = slice(768 * i, 768 * (i + 1))
            tensors[f"{attention}{name}/kernel"] = own[f"{ours}attn.qkv.weight"][rows].T.reshape(768, 12, 64)
            tensors[f"{attention}{name}/bias"] = own[f"{ours}attn.qkv.bias"][rows].reshape(12, 64)
        tensors[f"{attention}out/kernel"] = own[f"{ours}attn.proj.weight"].T.reshape(12, 64, 768)
        tensors[f"{attention}out/bias"] = own[f"{ours}attn.proj.bias"]
    return tensors


def _torchvision(own: Tensors) -> Tensors:
    """SSCD's blocks numbered by stage."""
    places = [(stage, number) for stage, n in enumerate((3, 4, 6, 3)) for number in range(n)]
    found = {}
    for key, tensor in own.items():
        if match := re.match(r"blocks\.(\d+)", key):
            stage, number = places[int(match[1])]
            key = f"layer{stage + 1}.{number}{key[match.end() :]}"
        found[key] = tensor
    return renamed(found, (r"^stem\.0", "conv1"), (r"^stem\.1", "bn1"), ("^descriptor", "fc"), ("^", "backbone."))
