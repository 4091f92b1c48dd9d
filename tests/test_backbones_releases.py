"""Every backbone: it builds, embeds, and takes its weights from each kind of file that its release comes in."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from aad.backbones import BACKBONES, Backbone, build_network, load_backbone, state_fingerprint
from tests.release_files import randomise, shallow, variants

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the tests write such archives
N_BLOCKS = {"efficientnet_lite0": 7, "efficientnet_lite0_final": 7, "sscd_disc_mixup": 16}
N_HEADS = {"dino_vits16": 6, "dinov2_vits14": 6, "dinov3_vits16": 6}  # 12 in all others, MoCo v3's small one as well


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    blotches = [Image.fromarray(rng.integers(0, 256, (3, 3, 3)).astype(np.uint8)) for _ in range(2)]
    return [blotches[0].resize((90, 60)), blotches[1].resize((50, 70))]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_builds_at_its_full_depth_and_frozen(name):
    with torch.device("meta"):  # all of it, but for the numbers
        network = build_network(name)
    assert len(network.blocks) == N_BLOCKS.get(name, 12)
    if name not in N_BLOCKS:
        assert network.blocks[0].attn.num_heads == N_HEADS.get(name, 12)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


@pytest.fixture(scope="module", params=BACKBONES)
def sample(request):
    """A network with random weights, of few blocks where it is a vision transformer, and what it makes of two pictures."""
    with pytest.MonkeyPatch.context() as patch:
        depth = {"dino_vits16": 12, "dinov2_vits14": 4}.get(request.param, 2)  # two digits, and two chunks of blocks
        shallow(patch, depth)
        network = randomise(build_network(request.param))
        if hasattr(network, "head") and request.param.startswith("clip"):
            network.head.bias.zero_()  # CLIP's projection has none
        network.to(memory_format=torch.channels_last)
        yield request.param, network, Backbone(BACKBONES[request.param], network).embed(pictures())


def test_every_file_of_a_release_gives_the_network_its_weights(sample, tmp_path):
    name, network, expected = sample
    assert expected.shape == (2, BACKBONES[name].dim) and expected.dtype == np.float32
    assert np.allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    files = variants(name, network)
    assert "release" in files or name.startswith("efficientnet")
    for label, write in files.items():
        path = write(tmp_path)
        backbone = load_backbone(name, path)
        path.unlink()
        loaded = backbone.network.state_dict()
        for key, tensor in network.state_dict().items():
            assert torch.equal(loaded[key], tensor) or key.endswith("num_batches_tracked"), (label, key)
        assert backbone.spec.sha256 == state_fingerprint(network)
        assert backbone.spec.weights == f"file {path.name}"
    assert np.array_equal(backbone.embed(pictures()), expected)


def test_another_value_is_another_fingerprint():
    network = torch.nn.Linear(3, 2).requires_grad_(False)
    before, first = state_fingerprint(network), next(network.parameters())
    kept = first.clone()
    first[(0,) * first.ndim] += 1
    after = state_fingerprint(network)
    first.copy_(kept)
    assert before != after and state_fingerprint(network) == before


def bicubic(row: np.ndarray, position: float) -> float:
    """Keys' cubic convolution with a = -0.75, edges repeated: what torch calls bicubic, along one axis."""
    a, start = -0.75, math.floor(position)
    total = 0.0
    for i in range(start - 1, start + 3):
        d = abs(position - i)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        total += (near if d <= 1 else far) * row[min(max(i, 0), len(row) - 1)]
    return total


def test_dinov2_positions_are_interpolated_as_the_release_does(tmp_path, monkeypatch):
    """From 37 x 37 to 16 x 16 with its scale of 16.1 / 37 and without smoothing; the hub's file has the names of ours."""
    shallow(monkeypatch, 1)
    network = randomise(build_network("dinov2_vits14"))
    tensors = dict(network.state_dict())
    tensors["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    grid = tensors["pos_embed"][0, 1:, 0].reshape(37, 37).double().numpy()
    at = [(i + 0.5) * 37 / 16.1 - 0.5 for i in range(16)]
    rows = np.array([[bicubic(row, x) for x in at] for row in grid])
    expected = np.array([[bicubic(column, y) for y in at] for column in rows.T]).T
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "model.safetensors")
    torch.save(tensors | {"mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2_vits14_pretrain.pth")
    for file in tmp_path.iterdir():
        positions = load_backbone("dinov2_vits14", file).network.pos_embed[0]
        assert positions.shape == (257, 384) and torch.equal(positions[0], tensors["pos_embed"][0, 0])
        assert np.allclose(positions[1:, 0].reshape(16, 16).numpy(), expected, atol=1e-5)


def test_sscd_is_torchvisions_resnet_with_a_generalised_mean(tmp_path):
    from torchvision.models import resnet50

    class CubicMean(torch.nn.Module):
        def forward(self, x):
            return (x.clamp(min=1e-6) ** 3).mean((2, 3), keepdim=True) ** (1 / 3)

    theirs = resnet50(num_classes=512)
    theirs.avgpool = CubicMean()
    theirs.eval()
    torch.save({f"backbone.{key}": tensor for key, tensor in theirs.state_dict().items()}, tmp_path / "sscd.pt")
    backbone = load_backbone("sscd_disc_mixup", tmp_path / "sscd.pt")
    batch = torch.from_numpy(np.stack([backbone.spec.preprocess(picture) for picture in pictures()]))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(theirs(batch)).numpy()
    assert np.allclose(backbone.embed(pictures()), expected, atol=1e-5)


def test_timms_own_reading_of_flaxs_arrays_agrees(tmp_path, monkeypatch):
    """timm converts them itself, too: another pair of eyes on the names."""
    from timm.models import vision_transformer

    shallow(monkeypatch, 2)
    path = variants("vit_b16_384", randomise(build_network("vit_b16_384")))["release"](tmp_path)
    theirs = build_network("vit_b16_384")
    vision_transformer._load_weights(theirs, str(path))
    ours = load_backbone("vit_b16_384", path).network.state_dict()
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(ours[key], tensor), key


def test_dinov3_rotates_by_the_releases_periods():
    periods = build_network("dinov3_vits16").rope.periods
    exact = 100 ** (torch.arange(16, dtype=torch.float64) / 16)
    assert torch.equal(periods, exact.to(torch.bfloat16).float())
