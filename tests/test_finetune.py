"""Fine-tuning the last blocks: what may change, what is drawn, and that a run can stop anywhere. Tiny networks, and Lite0 once."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

from aad.backbones import BACKBONES, Backbone, BackboneError, load_backbone
from aad.bundle import Bundle, BundleError
from precompute import finetune
from precompute.common import embedding
from precompute.experiments.tail import FineTuneConfig, FineTuning, Pool, cut_network
from precompute.pictures import activations, drawing
from precompute.pictures.families import RENDER, RESTYLE
from tests.small import LITE0, picture, small_bundle

SIDE = 24
SPEC = replace(BACKBONES["efficientnet_lite0"], dim=10, image_size=SIDE)
SMALL = ("--steps", 6, "--batch-size", 4, "--n-views", 2, "--threads", 1, "--learning-rate", 0.003)
PLAIN = ("--kinds", "plain", "filters", "--made", "filters", "composite")
CONFIG = FineTuneConfig(n_blocks=2, n_steps=12, batch_size=8, learning_rate=3e-3, anchor_weight=1.0)


class Tiny(torch.nn.Module):
    """Four blocks with batch norm, then a norm and a linear layer; like most networks, read at the end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.offset = torch.nn.Parameter(torch.zeros(12, 1, 1))
        self.stem = torch.nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.blocks = torch.nn.Sequential(*(block() for _ in range(4)))
        self.norm = torch.nn.LayerNorm(12)
        self.out = torch.nn.Linear(12, 10)

    def forward(self, batch):
        return self.out(self.norm(self.blocks(self.stem(batch) + self.offset).mean((2, 3))))


class SeveralDepths(Tiny):
    """Reads its last three blocks, as EfficientNet-Lite0 does here."""

    def forward(self, batch):
        x, parts = self.stem(batch), []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number >= 1:
                parts.append(x.mean((2, 3)))
        return torch.cat([self.out(F.normalize(part)) for part in parts], 1)


class Tokens(torch.nn.Module):
    """A small vision transformer: tokens instead of maps, blocks in a list that take a second argument."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x, shift=0.0, *, scale=1.0):
            return x + scale * torch.tanh(self.linear(x) + shift)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cls_token = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.patches = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = torch.nn.ModuleList(self.Block() for _ in range(3))
        self.norm = torch.nn.LayerNorm(8)

    def forward(self, batch):
        x = self.patches(batch).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x, 0.1, scale=0.5)
        return self.norm(x)[:, 0]


def block() -> torch.nn.Module:
    convolution, norm = torch.nn.Conv2d(12, 12, 3, padding=1, bias=False), torch.nn.BatchNorm2d(12)
    torch.nn.init.kaiming_normal_(convolution.weight)  # torch's own start shrinks the signal from block to block
    norm.running_mean.uniform_(-0.2, 0.2)
    norm.running_var.uniform_(0.5, 2)
    return torch.nn.Sequential(convolution, norm, torch.nn.ReLU())


def frozen(kind: type[torch.nn.Module] = Tiny) -> torch.nn.Module:
    return kind().eval().requires_grad_(False)


def pool(cut, seed: int, n: int = 20, v: int = 3) -> Pool:
    """Random colours in four corners; a view has other light and grain. One array per picture number."""
    torch.manual_seed(seed)
    whole = F.interpolate(torch.randn(n, 3, 2, 2), size=(SIDE, SIDE))
    pictures = [whole] + [whole * (0.5 + torch.rand(n, 3, 1, 1)) + torch.randn(whole.shape) for _ in range(v)]
    arrays = tuple(cut.front(p).numpy().astype(np.float16)[:, None] for p in pictures)
    images, numbers = np.indices((n, 1 + v))
    return Pool(arrays, np.stack([numbers, images, np.zeros_like(images)], 2))


def started(config: FineTuneConfig = CONFIG, network: torch.nn.Module | None = None) -> FineTuning:
    cut = cut_network(network or frozen(), config.n_blocks, SIDE)
    return FineTuning(cut, pool(cut, 1), pool(cut, 2), config)


def taken(tuning: FineTuning, until: int | None = None) -> FineTuning:
    while tuning.n_done < (until or tuning.config.n_steps):
        tuning.step()
    return tuning


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert after.keys() == before.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(("kind", "depths"), [(Tiny, [3, 2]), (SeveralDepths, [2, 2, 1]), (Tokens, [2, 1])])
def test_front_and_tail_give_what_the_network_gives_cut_as_deep_as_the_features_allow(kind, depths):
    pictures = torch.randn(5, 3, SIDE, SIDE)
    for n_blocks, depth in enumerate(depths, start=1):
        network = frozen(kind)
        wanted = F.normalize(network(pictures))
        cut = cut_network(network, n_blocks, SIDE)
        network.blocks[depth].register_forward_hook(lambda *_: pytest.fail("what is behind the cut ran"))
        activations = cut.front(pictures)
        assert cut.depth == depth and torch.allclose(cut.tail(activations), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [Tiny, SeveralDepths, Tokens])
def test_only_the_last_blocks_and_what_follows_them_change(kind):
    network = frozen(kind).to(memory_format=torch.channels_last).train()
    before = copy.deepcopy(network.state_dict())
    tuning = taken(started(network=network))
    tuned = tuning.weights()
    ends = tuple(f"blocks.{i}." for i in range(len(network.blocks))[-2:])
    later = tuple(name for name in ("norm.", "out.") if kind is not SeveralDepths or name == "out.")
    # so no statistics of a batch norm, although the network came in training mode
    assert changed(before, tuned) == {n for n, _ in network.named_parameters() if n.startswith((*ends, *later))}
    assert not changed(network.state_dict(), before)  # the network that the run started from is as it was
    assert all(tensor.is_contiguous() for tensor in tuned.values())
    assert len({tensor.data_ptr() for tensor in tuned.values()}) == len(tuned)
    pictures, other = torch.randn(5, 3, SIDE, SIDE), frozen(kind)
    other.load_state_dict(tuned)
    by_tail = tuning.cut.tail(tuning.cut.front(pictures)).detach()
    assert torch.allclose(F.normalize(other(pictures)), by_tail, atol=1e-5)
    assert not torch.allclose(F.normalize(network(pictures)), by_tail, atol=1e-2 if kind is Tiny else 1e-4)


def test_alignment_falls_and_the_first_anchor_is_zero():
    alignment, anchor = np.array(taken(started(replace(CONFIG, n_steps=60))).losses).T
    assert alignment[-10:].mean() < 0.7 * alignment[:5].mean()
    assert abs(anchor[0]) < 1e-6 < anchor[-1]


def test_the_first_losses_are_those_of_an_independent_loop():
    tuning = started()
    pools = (tuning.pools["real"], tuning.pools["synthetic"])
    rng = np.random.default_rng([CONFIG.seed, 0])
    expected = 0.0
    for stored_pool in pools:
        images = rng.choice(20, 8, replace=False)
        views = rng.integers(1, 4, size=8)
        stored = np.stack([array[:, 0] for array in stored_pool.arrays]).astype(np.float32)  # (1 + v, n, ...)
        network = tuning.cut.network

        def features(rows, network=network):
            return F.normalize(network.out(network.norm(network.blocks[2:](torch.from_numpy(rows)).mean((2, 3)))))

        scores = (features(stored[0, images]) @ features(stored[views, images]).T / CONFIG.temperature).exp()
        for i in range(8):
            expected -= (scores[i, i] / scores[i].sum()).log().item() / 32
            expected -= (scores[i, i] / scores[:, i].sum()).log().item() / 32
    assert tuning.step()["alignment"] == pytest.approx(expected, rel=1e-3)


def test_a_heavy_anchor_keeps_the_features_where_they_were():
    def moved(anchor_weight):
        tuning = taken(started(replace(CONFIG, anchor_weight=anchor_weight, n_steps=40)))
        pictures = torch.randn(30, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
        before = F.normalize(tuning.cut.network(pictures))
        return (1 - (before * tuning.cut.tail(tuning.cut.front(pictures))).sum(1)).mean().item()

    assert moved(1e4) < 0.1 * moved(0.0)


def test_networks_that_cannot_be_cut_are_refused():
    for n_blocks in (0, 4):
        with pytest.raises(BackboneError, match=f"between 1 and 3 of the network's 4 blocks .*, got {n_blocks}"):
            cut_network(frozen(), n_blocks, SIDE)
    with pytest.raises(BackboneError, match=r"needs a network with \.blocks"):
        cut_network(torch.nn.Linear(2, 2), 1, SIDE)

    class Sideways(Tiny):
        def forward(self, batch):
            return super().forward(batch) + batch.mean((1, 2, 3))[:, None]

    with pytest.raises(BackboneError, match="depend on more than its blocks"):
        cut_network(frozen(Sideways), 1, SIDE)


def test_losses_that_are_not_finite_stop_the_run():
    tuning = started()
    next(iter(tuning.trained.values())).data.fill_(float("nan"))
    with pytest.raises(BackboneError, match="not finite at step 1: take a lower learning rate"):
        tuning.step()


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
    return Backbone(SPEC, frozen())


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
    said = notes(tune(bundle, *PLAIN, "--leave-out", "multistyle26"))
    assert said["backbone"] == SPEC.name and said["base_sha256"] == SPEC.sha256
    assert said["command"].startswith("python -m precompute.finetune --bundle")
    assert said["kinds"] == ["plain", "filters"] and said["made"] == ["filters", "composite"]
    assert said["generators"] == ["photometric"] and said["left_out"] == ["multistyle26"]
    assert (said["n_real"], said["n_synthetic"]) == (4, 2 + 2 * 4)
    assert said["config"]["n_steps"] == 6
    assert len(said["history"]) == 6 and set(said["history"][0]) == {"alignment", "anchor"}


def test_the_same_options_give_the_same_bytes_and_another_seed_others(tmp_path):
    bundle = small_bundle(tmp_path)
    first = tune(bundle).read_bytes()
    for path in (bundle / ".work").iterdir():
        path.unlink()
    assert tune(bundle).read_bytes() == first
    assert without_command(tune(bundle, *PLAIN, "--seed", 1))[1] != without_command(tune(bundle))[1]


@pytest.mark.parametrize("left_out", [["filters", "photometric"], ["multistyle26"]])
def test_a_left_out_family_is_neither_drawn_nor_read(tmp_path, monkeypatch, left_out):
    bundle = small_bundle(tmp_path)
    for family in left_out:
        monkeypatch.setitem(RENDER, family, lambda *_: pytest.fail("made"))
        monkeypatch.setitem(RESTYLE, family, lambda *_: pytest.fail("restyled"))
    queries = json.loads((bundle / "queries.json").read_text())
    read: list[str] = []
    whole = activations.Pictures.whole
    monkeypatch.setattr(activations.Pictures, "whole", lambda self, i: read.append(self.names[i]) or whole(self, i))
    tune(bundle, *PLAIN, "--leave-out", *left_out)
    kept = {q["path"] for q in queries if q["split"] == "train" and q["generator"] not in left_out}
    assert {name for name in read if name.startswith("q")} == kept
    assert {name for name in read if name.startswith("r")} == {f"r{i}.png" for i in range(4)}


def test_only_the_train_split_is_trained_on_and_pairs_are_not_looked_at(tmp_path):
    path = tune(small_bundle(tmp_path / "a"))
    queries = json.loads((tmp_path / "a" / "bundle" / "queries.json").read_text())
    for query in queries[:4]:
        query["exemplar_ids"] = [(query["exemplar_ids"][0] + 1) % 4]
    bundle = small_bundle(tmp_path / "b", **{"queries.json": queries})
    for i in range(4, 10):
        picture(200 + i).save(tmp_path / "b" / "pictures" / f"r{i}.png")
        picture(300 + i).save(tmp_path / "b" / "pictures" / f"q{i}.png")
    assert without_command(tune(bundle)) == without_command(path)
    picture(99).save(tmp_path / "b" / "pictures" / "r2.png")
    assert without_command(tune(bundle))[1] != without_command(path)[1]


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
    view = drawn.views(real, "filters", 2, 3)[1]
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


def test_folders_without_splits_or_known_sources_are_used_whole(tmp_path):
    said = notes(tune(small_bundle(tmp_path, ("", "", "")), "--kinds", "plain", "--made"))
    assert (said["n_real"], said["n_synthetic"]) == (3, 3) and said["generators"] == ["unknown"]


def test_too_little_to_train_on_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no reference in the train split"):
        tune(small_bundle(tmp_path / "a", ("test", "test")))
    none = {"queries.json": [], "queries_backbone.npy": np.zeros((0, LITE0.dim), np.float16)}
    bundle = small_bundle(tmp_path / "b", **none)
    with pytest.raises(BundleError, match=r"two images of each domain.*got 0 with 2.*--made"):
        tune(bundle, "--kinds", "plain", "--made")
    with pytest.raises(BundleError, match=r"two images of each domain.*got 4 with 0.*--kinds"):
        tune(bundle, "--kinds", "--made", "filters")
    with pytest.raises(BundleError, match=r"two images of each domain.*got 0 with 2.*fewer families"):
        tune(bundle, "--kinds", "plain", "--made", "filters", "--leave-out", "filters")


def test_options_that_make_no_sense_are_refused(tmp_path, capsys):
    bundle = small_bundle(tmp_path)
    for options, complaint in (
        (("--out", "tuned.pth"), "--out must end in .safetensors"),
        (("--n-views", "-1"), "--n-views and --n-made must be 0 or more"),
        (("--steps", "0"), "--steps 1 or more"),
        (("--batch-size", "1"), "--batch-size 2 or more"),
        (("--leave-out", "multistile"), "no such family or generator; there are arbitrary_style"),
    ):
        with pytest.raises(SystemExit):
            tune(bundle, *options)
        assert complaint in capsys.readouterr().err


def test_efficientnet_lite0_is_tuned_in_its_last_blocks(tmp_path, monkeypatch):
    base = load_backbone("efficientnet_lite0")
    monkeypatch.setattr(finetune, "open_backbone", lambda *_, **__: load_backbone("efficientnet_lite0"))
    bundle = small_bundle(tmp_path, ("train",) * 3)
    path = tune(bundle, "--kinds", "plain", "--made", "--n-views", 1, "--steps", 2, "--learning-rate", 1e-4)
    before, after = base.network.state_dict(), load_file(path)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {n for n, _ in base.network.named_parameters() if n.startswith(("blocks.5.", "blocks.6."))}
    features = base.embed([picture(0)])
    base.network.load_state_dict(after)
    assert 0.9 < (features @ base.embed([picture(0)]).T).item() < 0.999999
