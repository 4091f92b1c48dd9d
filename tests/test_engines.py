"""Engines: the same features by another path, refused where they are not; and pictures made ready while the network runs."""

import importlib.util
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from aad import load_image
from aad.backbones import (
    BACKBONES,
    BATCH_SIZE,
    Backbone,
    BackboneError,
    build_engine,
    build_network,
    engines_for,
    load_backbone,
)
from aad.bundle import DEFAULT_BUNDLE, Bundle
from interface.heat import explain
from precompute import extract_features
from precompute.common.ahead import ahead
from precompute.common.embedding import embed_in_shards
from precompute.pictures import drawing as step_pictures
from precompute.pictures.drawing import open_backbone
from tests.release_files import randomise, shallow

NAME = "efficientnet_lite0"
EXEMPLARS = sorted((DEFAULT_BUNDLE.parent / "abc_mini" / "exemplar").rglob("*.webp"))


torch.manual_seed(0)
SMALL = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
).eval()  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    return [load_image(path) for path in EXEMPLARS[::90]]


@pytest.fixture(scope="module")
def plain():
    return load_backbone(NAME)


@pytest.fixture(scope="module")
def openvino():
    return load_backbone(NAME, engine="openvino")


@pytest.fixture(scope="module")
def moments():
    return load_backbone(f"{NAME}_moments", engine="openvino")


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.einsum("nd,nd->n", a.astype(float), b.astype(float)).min())


def test_openvino_gives_the_features_of_torch_without_its_telemetry(pictures, plain, openvino, moments):
    for ours, fast in ((plain, openvino), (moments.in_torch(), moments)):
        assert fast.spec == replace(ours.spec, engine="openvino")
        expected, features = (backbone.embed(pictures) for backbone in (ours, fast))
        assert features.dtype == np.float32 and np.allclose(features, expected, rtol=0, atol=1e-5)
        assert least_cosine(features, expected) > 0.999999
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
    assert sys.modules.get("openvino_telemetry") is None


def test_one_engine_may_be_asked_by_many_threads_and_gives_the_same_bytes_in_any_company(pictures, openvino):
    alone = [openvino.embed([picture]) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: openvino.embed([picture]), pictures * 3))
    assert all(np.array_equal(a, b) for a, b in zip(found, alone * 3, strict=True))
    assert np.allclose(np.concatenate(alone), openvino.embed(pictures), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "dino_vits16",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("dinov3_vits16", "clip_vitb32", "sscd_disc_mixup")),
    ],
)
def test_networks_of_every_kind_go_through_openvino(name, monkeypatch):
    """With random weights and one block; the batch is of another size than the one that was traced."""
    shallow(monkeypatch, 1)
    spec, network = BACKBONES[name], randomise(build_network(name))
    side = 64 if name.startswith("sscd") else spec.image_size  # convolutions take any
    batch = np.random.default_rng(0).normal(size=(3, 3, side, side)).astype(np.float32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    features = [Backbone(spec, network).embed_pixels(batch)]
    features.append(Backbone(spec, network, "cpu", build_engine("openvino", network, side)).embed_pixels(batch))
    assert features[1].shape == (3, spec.dim) and least_cosine(*features) > 0.999999
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_an_engine_that_is_not_to_be_had_is_refused_with_the_remedy(monkeypatch):
    with pytest.raises(BackboneError, match="unknown engine 'tensorrt'; known: torch, openvino"):
        build_engine("tensorrt", SMALL, 8)
    with pytest.raises(BackboneError, match=r"runs on the CPU only, got device cuda: use --device cpu"):
        build_engine("openvino", torch.nn.Identity(), 8, "cuda")
    assert engines_for("cuda") == ("torch",) and engines_for("cpu") == ("torch", "openvino")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    with pytest.raises(BackboneError, match=r"needs the package openvino.*pip install -r requirements-fast\.txt"):
        load_backbone(NAME, engine="openvino")
    assert engines_for("cpu") == ("torch",)
    assert extract_features.backbone_table().endswith("after pip install -r requirements-fast.txt: openvino")


def test_a_bundle_says_its_engine_and_later_steps_take_it(tmp_path, monkeypatch, capsys, plain, openvino):
    """--engine auto chooses; the manifest names what was chosen."""
    loaded = {"torch": plain, "openvino": openvino}
    for module in (extract_features, step_pictures):
        monkeypatch.setattr(module, "load_backbone", lambda name, weights, device, engine="torch": loaded[engine])
    for i, path in enumerate(EXEMPLARS[::120]):
        load_image(path).save(tmp_path / f"{i}.png")
    options = ["--references", str(tmp_path), "--threads", "1"]
    extract_features.main([*options, "--bundle", str(tmp_path / "fast"), "--engine", "auto"])
    assert "taking --engine openvino" in capsys.readouterr().out
    extract_features.main([*options, "--bundle", str(tmp_path / "plain")])
    fast, slow = (Bundle.open(tmp_path / name) for name in ("fast", "plain"))
    assert fast.manifest["backbone"] == slow.manifest["backbone"] | {"engine": "openvino"}
    rows = [bundle.read_array("references_backbone.npy", (6, 1248)) for bundle in (fast, slow)]
    assert np.allclose(*rows, atol=2e-3) and open_backbone(fast).spec.engine == "openvino"
    assert open_backbone(slow).compiled is None


def test_explaining_looks_into_torch_whatever_the_engine(shipped, moments, monkeypatch):
    monkeypatch.setattr(shipped, "_backbone", moments)
    for space, found in explain(shipped, 0, 5).items():
        assert found.similarity == pytest.approx(shipped.similarities([0], space)[0, 5], abs=1e-3)


def threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate()}


def test_ahead_keeps_the_order_and_never_more_than_asked_for_in_memory():
    lock, waiting, most = threading.Lock(), 0, 0

    def slow(i: int) -> int:
        nonlocal waiting, most
        time.sleep(0.002 * (i % 3))
        with lock:
            waiting += 1
            most = max(most, waiting)
        return i

    before = threads()
    with ahead(slow, range(40), n_ahead=5, n_threads=3) as results:
        got = []
        for i in results:
            got.append(i)
            with lock:
                waiting -= 1
            time.sleep(0.001)
    assert got == list(range(40)) and 3 <= most <= 6 and threads() <= before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_trouble_ends_the_threads_and_drops_what_has_not_begun(error):
    begun, before = [], threads()

    def work(i: int) -> int:
        begun.append(i)
        time.sleep(0.005)
        if i == 3 and error is ValueError:
            raise error
        return i

    seen = []
    with pytest.raises(error), ahead(work, range(1000), n_ahead=20, n_threads=2) as results:  # noqa: PT012
        for i in results:
            seen.append(i)
            if i == 3:
                raise error
    assert seen[:3] == [0, 1, 2] and len(begun) < 30 and threads() <= before


class Recorder(torch.nn.Module):
    """Each picture's mean, and how many went through together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(batch))
        return batch.mean((2, 3)).repeat(1, 2)


SPEC = replace(BACKBONES[NAME], dim=6, image_size=8)


def noise(i: int) -> list[Image.Image]:
    time.sleep(0.001 * (i % 4))
    values = np.random.default_rng(i).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    return [Image.fromarray(value) for value in values]


def test_shards_of_one_engine_hold_what_one_after_the_other_gives_in_the_same_batches(tmp_path):
    network, keys = Recorder(), [str(i) for i in range(150)]
    found = embed_in_shards(Backbone(SPEC, network), keys, noise, tmp_path, "test", "test")
    assert network.batches == [32] * 4 + [32] * 4 + [32, 12]  # of 64, 64 and 22 images with 2 views each
    expected = np.stack([Backbone(SPEC, Recorder()).embed(noise(i)) for i in range(150)])
    assert np.array_equal(found, expected)
    many = Backbone(SPEC, Recorder()).embed([noise(i)[0] for i in range(BATCH_SIZE + 3)])
    assert np.array_equal(many, expected[: BATCH_SIZE + 3, 0])
    fast = Backbone(
        replace(SPEC, engine="openvino"), Recorder(), compiled=lambda batch: np.eye(6, dtype=np.float32)[: len(batch)]
    )
    assert not np.array_equal(embed_in_shards(fast, keys[:1], noise, tmp_path, "test", "test"), found[:1]), "of its own"
