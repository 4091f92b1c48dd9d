"""The networks, without weights: three readings of EfficientNet-Lite0, timm's vision transformers, and SSCD."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Pooling:
    """What is pooled over positions of EfficientNet-Lite0's stages, 0 to 6; the parts of the feature have this order.

    Attributes:
        means: stages whose channels' means are taken.
        deviations: those of them whose means are followed by standard deviations.
        last: whether the means of the last layer's 1280 channels follow.
        covariances: stages of whose ``mixtures`` of channels the covariances follow, each with its signed square root.
    """

    means: tuple[int, ...]
    deviations: tuple[int, ...] = ()
    last: bool = False
    covariances: tuple[int, ...] = ()


CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of the stages; grids of 112, 56, 28, 14, 14, 7 and 7 positions a side
STAGES = (
    (1, 2, 2, 3, 3, 4, 1),
    (3, 3, 5, 3, 5, 5, 3),
    (1, 2, 2, 2, 1, 2, 1),
)  # blocks, side of the kernel, stride of each
STEM, EXPANSION, LAST = 32, 6, 1280  # channels before the stages; within a block, times its input's; of the last layer
EPS = 1e-3  # TensorFlow's, in batch norm
DEPTHS = Pooling((4, 5, 6), (4, 5, 6))  # chosen on AbC-mini's validation concepts
SECOND_ORDER = Pooling((2, 3, 4, 5, 6), (), True, (2, 3, 4, 5))  # chosen on real generators' pictures
N_MIXED = 40  # mixtures of a stage's channels whose covariances are taken, 820 numbers; 48 find hardly more, 24 fewer
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


def lite0() -> Any:
    """EfficientNet-Lite0 without a classifier, (n, 1280) from its final layer; timm's to its names and bits.

    Written out, because a first upload would wait for timm, whose import takes as long as torch's.
    """
    import torch
    from torch.nn.functional import pad, relu6

    class Conv(torch.nn.Conv2d):
        """Padded as TensorFlow does it: where a stride of 2 leaves it odd, there is one more behind than before."""

        def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
            padding = kernel // 2 if stride == 1 else 0
            super().__init__(n_in, n_out, kernel, stride, padding, groups=groups, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.stride[0] > 1:
                height, width = (self.kernel_size[0] - 2 + side % 2 for side in x.shape[2:])
                x = pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
            return super().forward(x)

    class Norm(torch.nn.BatchNorm2d):
        """With the activation behind it."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return relu6(super().forward(x), inplace=True)

    class Block(torch.nn.Sequential):
        """What it makes of its input, and the input added where the shape is the same."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return y + x if y.shape == x.shape else y

    def block(n: int, n_out: int, kernel: int, stride: int) -> torch.nn.Module:
        wide = n if n == STEM else EXPANSION * n  # the first block looks at the stem's channels as they are
        expand = {} if wide == n else {"conv_pw": Conv(n, wide), "bn1": Norm(wide, EPS)}
        first, second, narrow = ("bn2", "bn3", "conv_pwl") if expand else ("bn1", "bn2", "conv_pw")
        look = {"conv_dw": Conv(wide, wide, kernel, stride, wide), first: Norm(wide, EPS)}
        project = {narrow: Conv(wide, n_out), second: torch.nn.BatchNorm2d(n_out, EPS)}
        return Block(OrderedDict(expand | look | project))

    stages, n = [], STEM
    for n_out, depth, kernel, stride in zip(CHANNELS, *STAGES, strict=True):
        again = [block(n_out, n_out, kernel, 1) for _ in range(depth - 1)]
        stages.append(torch.nn.Sequential(block(n, n_out, kernel, stride), *again))
        n = n_out
    parts = {"conv_stem": Conv(3, STEM, 3, 2), "bn1": Norm(STEM, EPS), "blocks": torch.nn.Sequential(*stages)}
    parts |= {"conv_head": Conv(n, LAST), "bn2": Norm(LAST, EPS)}
    return torch.nn.Sequential(OrderedDict(parts, pool=torch.nn.AdaptiveAvgPool2d(1), flatten=torch.nn.Flatten()))


def mixtures(channels: int) -> np.ndarray:
    """(k, channels) float32 orthonormal rows, k at most ``N_MIXED``: the slowest cosines over the channels, which have no order."""
    k = min(channels, N_MIXED)
    rows = np.cos(np.pi / channels * np.arange(k)[:, None] * (np.arange(channels) + 0.5)) * np.sqrt(2 / channels)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


def moments(pooling: Pooling) -> Any:
    """EfficientNet-Lite0 read at several depths: (n, 3, s, s) to (n, d), every part of unit length, in ``Pooling``'s order.

    The final layer was trained to tell 1000 classes apart, so it drops what makes one giraffe differ from the next; the
    stages before it still hold that instance detail. The mean and the standard deviation over positions say what is there
    and how unevenly it is spread; the covariance of channels says what comes together where. Each part is scaled to unit
    length, because magnitudes differ by stage and the largest alone would decide every cosine.

    References:
        Lin, RoyChowdhury, Maji, *Bilinear CNN models*, ICCV 2015: outer products of activations summed over positions, and their
        signed square roots. Here channels are centred first, for their means are parts of their own.
        Gao, Beijbom, Zhang, Darrell, *Compact bilinear pooling*, CVPR 2016: random projections shorten such sums. Here the
        projection is a cosine transform over the channels: orthonormal, and the same on every machine.
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
                mixed = torch.from_numpy(mixtures(CHANNELS[stage]))
                k = len(mixed)
                upper = torch.tensor([k * i + j for i in range(k) for j in range(i, k)])  # of a (k, k) matrix laid flat
                self.register_buffer(f"mixtures_{stage}", mixed, persistent=False)  # files hold what was trained
                self.register_buffer(f"upper_{stage}", upper, persistent=False)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            x, parts, covariances = self.stem(batch), [], []
            for stage, block in enumerate(self.blocks):
                x = block(x)  # (n, channels, height, width)
                if stage in pooling.means:
                    std, mean = torch.std_mean(x, dim=(2, 3))
                    parts += [mean, std] if stage in pooling.deviations else [mean]
                if stage in pooling.covariances:
                    y = getattr(self, f"mixtures_{stage}") @ x.flatten(2)  # (n, k, positions)
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
