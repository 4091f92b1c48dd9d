"""The networks, without weights: timm's own where timm has them, three readings of EfficientNet-Lite0, and SSCD."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pooling:
    """What is pooled over positions of EfficientNet-Lite0's stages, 0 to 6; the parts of the feature have this order.

    Attributes:
        moments: stages whose channels' means and then standard deviations are taken.
        last: whether the means of the last layer's 1280 channels follow.
        covariances: stages of whose first ``N_PAIRED`` channels the covariances follow, each with its signed square root.
    """

    moments: tuple[int, ...]
    last: bool = False
    covariances: tuple[int, ...] = ()


CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of the stages; grids of 112, 56, 28, 14, 14, 7 and 7 positions a side
DEPTHS = Pooling((4, 5, 6))  # chosen on AbC-mini's validation concepts
SECOND_ORDER = Pooling((2, 3, 4, 5, 6), True, (2, 3, 4, 5))  # chosen on real generators' pictures
N_PAIRED = 48  # channels of a stage whose covariances are taken, 1176 numbers; channels have no order, so the first do
EPSILON = 1e-3  # beside a covariance, nine in ten of which exceed 0.5: keeps the slope of its root at zero finite
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


def moments(pooling: Pooling) -> Any:
    """EfficientNet-Lite0 read at several depths: (n, 3, s, s) to (n, d), every part of unit length, in ``Pooling``'s order.

    The final layer was trained to tell 1000 classes apart, so it drops what makes one giraffe differ from the next; the
    stages before it still hold that instance detail. The mean and the standard deviation over positions say what is there
    and how unevenly it is spread; the covariance of channels says what comes together where. Each part is scaled to unit
    length, because magnitudes differ by stage and the largest alone would decide every cosine.

    References:
        Lin, RoyChowdhury, Maji, *Bilinear CNN models*, ICCV 2015: outer products of activations summed over positions, and their
        signed square roots. Here channels are centred first, for their means are parts of their own.
        Gao, Beijbom, Zhang, Darrell, *Compact bilinear pooling*, CVPR 2016: random projections shorten such sums. Here only some
        channels are paired, which found as many sources as random projections of all.
        Gatys, Ecker, Bethge, *Image style transfer*, CVPR 2016: correlations of channels as the style of a picture. Here style
        is what helps to find the source, beside the rest.
    """
    import torch

    network = lite0()

    class Moments(torch.nn.Module):
        """Runs the stages in turn and pools what they give; the last layer is kept only where it is pooled."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Sequential(network.conv_stem, network.bn1)  # bn1 has the activation in it
            self.blocks = network.blocks
            if pooling.last:
                self.last = torch.nn.Sequential(network.conv_head, network.bn2)
            for stage in pooling.covariances:
                k = min(CHANNELS[stage], N_PAIRED)
                upper = torch.tensor([k * i + j for i in range(k) for j in range(i, k)])  # of a (k, k) matrix laid flat
                self.register_buffer(f"upper_{stage}", upper, persistent=False)  # files hold what was trained

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            x, parts, covariances = self.stem(batch), [], []
            for stage, block in enumerate(self.blocks):
                x = block(x)  # (n, channels, height, width)
                if stage in pooling.moments:
                    std, mean = torch.std_mean(x, dim=(2, 3))
                    parts += [mean, std]
                if stage in pooling.covariances:
                    y = x[:, :N_PAIRED].flatten(2)  # (n, k, positions)
                    y = y - y.mean(2, keepdim=True)
                    matrix = y @ y.transpose(1, 2) / y.shape[2]
                    values = matrix.flatten(1)[:, getattr(self, f"upper_{stage}")]
                    covariances.append(values / (values.abs() + EPSILON).sqrt())
            if pooling.last:
                parts.append(self.last(x).mean((2, 3)))
            return torch.cat([torch.nn.functional.normalize(part) for part in parts + covariances], dim=1)

    return Moments()


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
