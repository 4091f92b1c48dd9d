"""The networks, without weights: timm's own where timm has them, and two readings of EfficientNet-Lite0, and SSCD.

Every network maps (n, 3, s, s) pictures to (n, dim) features and lists its blocks, in order, as ``blocks``.
"""

from typing import TYPE_CHECKING, Any

from aad.backbones.releases import BACKBONES
from aad.backbones.spec import BackboneError

if TYPE_CHECKING:
    import torch

POOLED_STAGES = (4, 5, 6)  # of 0 to 6; 112, 192 and 320 channels, on grids of 14, 7 and 7 positions a side
SSCD_STAGES = (3, 4, 6, 3)  # ResNet-50's blocks by stage
GEM_POWER = 3.0  # of SSCD's generalised mean over positions

# What timm calls them, and how it must be told to build them.
_TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "dino_vitb16": ("vit_base_patch16_224", {"num_classes": 0}),
    "dino_vits16": ("vit_small_patch16_224", {"num_classes": 0}),
    "dinov2_vitb14": ("vit_base_patch14_dinov2", {"num_classes": 0, "img_size": 224}),
    "dinov2_vits14": ("vit_small_patch14_dinov2", {"num_classes": 0, "img_size": 224}),
    "dinov3_vitb16": ("vit_base_patch16_dinov3_qkvb", {"num_classes": 0, "global_pool": "token"}),
    "dinov3_vits16": ("vit_small_patch16_dinov3_qkvb", {"num_classes": 0, "global_pool": "token"}),
    "mocov3_vitb16": ("vit_base_patch16_224", {"num_classes": 0}),
    "mocov3_vits16": ("vit_small_patch16_224", {"num_classes": 0, "num_heads": 12}),  # not 6: MoCo v3's own choice
    "clip_vitb16": ("vit_base_patch16_clip_quickgelu_224", {"num_classes": 512}),
    "clip_vitb32": ("vit_base_patch32_clip_quickgelu_224", {"num_classes": 512}),
    "vit_b16_384": ("vit_base_patch16_384", {"num_classes": 0}),
}


def build_network(name: str) -> "torch.nn.Module":
    """The network of that backbone with random weights, frozen, on the CPU.

    Raises:
        BackboneError: unknown name.
    """
    if name not in BACKBONES:
        raise BackboneError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    if name == "efficientnet_lite0":
        network = several_depths(lite0())
    elif name == "efficientnet_lite0_final":
        network = lite0()
    elif name == "sscd_disc_mixup":
        network = _sscd()
    else:
        network = _vision_transformer(name)
    return network.eval().requires_grad_(False)


def _vision_transformer(name: str) -> Any:
    import timm
    import torch

    model, options = _TIMM[name]
    network: Any = timm.create_model(model, pretrained=False, **options)
    if name.startswith("dinov3"):
        # The release keeps the periods of its rotary embedding in bfloat16; timm computes them in float32.
        network.rope.periods.copy_(network.rope.periods.to(torch.bfloat16))
    return network


def lite0(n_classes: int = 0) -> Any:
    """timm's EfficientNet-Lite0; (n, 1280) from its final layer when it has no classes."""
    import timm
    import torch

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=n_classes or 1000)
    if not n_classes:
        network.classifier = torch.nn.Identity()
    return network


def several_depths(network: Any) -> Any:
    """EfficientNet-Lite0 read at its last three stages: (n, 2 * (112 + 192 + 320)) = (n, 1248).

    The final layer was trained to tell 1000 classes apart, so it drops what makes one giraffe differ from the next; the
    stages before it still hold that instance detail. From each come the mean and the standard deviation over positions:
    what is there, and how unevenly it is spread. Each of the six parts is scaled to unit length, because their
    magnitudes differ by stage and the largest alone would decide every cosine. The choice was made on validation
    concepts.
    """
    import torch

    class SeveralDepths(torch.nn.Module):
        """Runs the stages in turn and pools the deepest three; the layers after them are not kept."""

        def __init__(self) -> None:
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

    return SeveralDepths()


def _sscd() -> Any:
    """SSCD's descriptor: ResNet-50, the generalised mean of its last activations over positions, and a linear layer."""
    import torch
    from torchvision.models import resnet50

    trunk = resnet50(weights=None)

    class Sscd(torch.nn.Module):
        """(n, 3, s, s) to (n, 512)."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
            stages = (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
            self.blocks = torch.nn.Sequential(*(block for stage in stages for block in stage))
            self.descriptor = torch.nn.Linear(2048, 512)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            x = self.blocks(self.stem(batch)).flatten(2)  # (n, 2048, positions)
            mean = x.clamp(min=1e-6).pow(GEM_POWER).mean(2)  # the least value keeps the root's slope finite
            return self.descriptor(mean.pow(1 / GEM_POWER))

    return Sscd()
