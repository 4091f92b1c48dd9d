"""What each backbone sees, against torchvision's transforms as the releases and AbC's authors write them down."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2

from aad.backbones import BACKBONES, BackboneSpec

BICUBIC, BILINEAR = InterpolationMode.BICUBIC, InterpolationMode.BILINEAR
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SOURCES = {  # resize, crop, interpolation, mean and std; a pair of sides squeezes
    "efficientnet_lite0": ((224, 224), 224, BICUBIC, HALVES),
    "efficientnet_lite0_final": ((224, 224), 224, BICUBIC, HALVES),
    "dino_vitb16": (256, 224, BICUBIC, IMAGENET),  # AbC's DINO, and the release's evaluation
    "dino_vits16": (256, 224, BICUBIC, IMAGENET),
    "dinov2_vitb14": (256, 224, BICUBIC, IMAGENET),  # its make_classification_eval_transform
    "dinov2_vits14": (256, 224, BICUBIC, IMAGENET),
    "dinov3_vitb16": ((256, 256), 256, BILINEAR, IMAGENET),  # its README
    "dinov3_vits16": ((256, 256), 256, BILINEAR, IMAGENET),
    "mocov3_vitb16": (256, 224, BILINEAR, IMAGENET),  # AbC's MoCo, and the release's validation
    "mocov3_vits16": (256, 224, BILINEAR, IMAGENET),
    "clip_vitb16": (224, 224, BICUBIC, CLIP),  # clip.load
    "clip_vitb32": (224, 224, BICUBIC, CLIP),
    "vit_b16_384": (384, 384, BILINEAR, HALVES),  # AbC's ViT
    "sscd_disc_mixup": (288, 288, BILINEAR, IMAGENET),  # AbC's SSCD
}
SIZES = ((301, 200), (199, 334), (96, 96), (900, 120), (224, 225), (288, 288))


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def test_every_backbone_has_a_source():
    assert list(SOURCES) == list(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_pixels_are_those_of_the_release(name):
    resize, crop, interpolation, (mean, std) = SOURCES[name]
    steps = [transforms.Resize(resize, interpolation), transforms.CenterCrop(crop), transforms.ToTensor()]
    theirs = transforms.Compose([*steps, transforms.Normalize(mean, std)])
    for size in SIZES:
        image = picture(*size)
        ours, expected = BACKBONES[name].preprocess(image), theirs(image).numpy()
        assert ours.shape == expected.shape == (3, crop, crop) and ours.dtype == np.float32
        assert np.allclose(ours, expected, atol=1e-6), (size, np.abs(ours - expected).max())


def test_dinov3s_own_transform_on_tensors_differs_by_rounding_only():
    """Its README resizes a tensor of bytes; Pillow resizes the picture: the same but for a last bit here and there."""
    steps = [
        v2.ToImage(),
        v2.Resize((256, 256), antialias=True),
        v2.ToDtype(dtype(), scale=True),
        v2.Normalize(*IMAGENET),
    ]
    theirs = v2.Compose(steps)
    for size in SIZES:
        image = picture(*size)
        off = np.abs(BACKBONES["dinov3_vitb16"].preprocess(image) - theirs(image).numpy())
        assert off.max() < 1.01 / 255 / 0.22 and off.mean() < 0.2 / 255


def dtype():
    import torch

    return torch.float32


def test_a_spec_can_crop_what_is_already_small():
    spec = BackboneSpec("b", 1, 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "", "", "", resize=4)
    image = Image.new("RGB", (4, 7), "white")
    image.paste(
        "black", (0, 2, 4, 6)
    )  # rounding puts the crop at rows 2 to 6: (7 - 4) / 2 = 1.5, to the even neighbour
    assert spec.preprocess(image).max() == 0
