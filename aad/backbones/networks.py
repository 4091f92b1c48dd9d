"""The networks, without weights: timm's own where timm has them, two readings of EfficientNet-Lite0, and SSCD."""

from typing import Any

POOLED_STAGES = (4, 5, 6)  # of 0 to 6; 112, 192 and 320 channels, on grids of 14, 7 and 7 positions a side
SSCD_STAGES = (3, 4, 6, 3)  # ResNet-50's blocks by stage
GEM_POWER = 3.0  # of SSCD's generalised mean over positions


def vision_transformer(model: str, num_classes: int = 0, **options: Any) -> Any:
    """What timm calls ``model``, without a classifier where it is to have none."""
    import timm
    import torch

    network: Any = timm.create_model(model, pretrained=False, num_classes=num_classes, **options)
    if "dinov3" in model:
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


def several_depths() -> Any:
    """EfficientNet-Lite0 read at its last three stages: (n, 2 * (112 + 192 + 320)) = (n, 1248).

    The final layer was trained to tell 1000 classes apart, so it drops what makes one giraffe differ from the next; the
    stages before it still hold that instance detail. From each come the mean and the standard deviation over positions:
    what is there, and how unevenly it is spread. Each of the six parts is scaled to unit length, because their
    magnitudes differ by stage and the largest alone would decide every cosine. The choice was made on validation
    concepts.
    """
    import torch

    network = lite0()

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


def sscd() -> Any:
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
