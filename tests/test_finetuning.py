"""Fine-tuning the last blocks: what may change, what must not, and that a run can stop anywhere. On networks of a few layers."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aad.backbones import BackboneError
from precompute.experiments.cutting import cut_network
from precompute.experiments.finetuning import FineTuneConfig, FineTuning, Pool, trained_names

SIDE = 16
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


def run(tuning: FineTuning, until: int | None = None) -> FineTuning:
    while tuning.n_done < (until or tuning.config.n_steps):
        tuning.step()
    return tuning


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", [Tiny, SeveralDepths, Tokens])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_front_and_tail_together_give_what_the_network_gives(kind, n_blocks):
    network = frozen(kind)
    pictures = torch.randn(5, 3, SIDE, SIDE)
    cut = cut_network(network, n_blocks, SIDE)
    assert torch.allclose(cut.tail(cut.front(pictures)), F.normalize(network(pictures)), atol=1e-5)


def test_the_cut_is_as_deep_as_the_features_allow():
    assert cut_network(frozen(Tiny), 1, SIDE).depth == 3
    assert cut_network(frozen(SeveralDepths), 1, SIDE).depth == 2  # block 2 is read as well, so its input is needed
    assert cut_network(frozen(SeveralDepths), 2, SIDE).depth == 2
    assert cut_network(frozen(SeveralDepths), 3, SIDE).depth == 1


def test_the_front_does_not_run_the_blocks_behind_the_cut():
    network = frozen()
    cut = cut_network(network, 2, SIDE)
    network.blocks[2].register_forward_hook(lambda *_: pytest.fail("block 2 ran"))
    assert cut.front(torch.randn(2, 3, SIDE, SIDE)).shape == (2, 12, 8, 8)


@pytest.mark.parametrize("kind", [Tiny, SeveralDepths, Tokens])
def test_only_the_last_blocks_and_what_follows_them_change(kind):
    network = frozen(kind)
    before = copy.deepcopy(network.state_dict())
    tuned = run(started(network=network)).weights()
    changed = {name for name in before if not torch.equal(before[name], tuned[name])}
    ends = tuple(f"blocks.{i}." for i in range(len(network.blocks))[-2:])
    later = tuple(name for name in ("norm.", "out.") if kind is not SeveralDepths or name == "out.")
    expected = {n for n, _ in network.named_parameters() if n.startswith((*ends, *later))}
    assert changed == expected and tuned.keys() == before.keys()
    assert same(network.state_dict(), before)  # the network that the run started from is as it was


def test_trained_names_are_the_last_blocks_and_all_after_them():
    assert trained_names(frozen(Tokens), 1) == [
        "blocks.2.linear.weight",
        "blocks.2.linear.bias",
        "norm.weight",
        "norm.bias",
    ]
    assert len(trained_names(frozen(), 2)) == 2 * 3 + 4


def test_the_tuned_weights_give_the_network_the_features_that_the_tail_gives():
    network = frozen()
    tuning = run(started(network=network))
    pictures = torch.randn(5, 3, SIDE, SIDE)
    by_tail = tuning.cut.tail(tuning.cut.front(pictures)).detach()
    other = frozen()
    other.load_state_dict(tuning.weights())
    assert torch.allclose(F.normalize(other(pictures)), by_tail, atol=1e-5)
    assert not torch.allclose(F.normalize(network(pictures)), by_tail, atol=1e-2)


def test_alignment_falls_and_the_first_anchor_is_zero():
    tuning = run(started(replace(CONFIG, n_steps=60)))
    alignment, anchor = np.array(tuning.losses).T
    assert alignment[-10:].mean() < 0.7 * alignment[:5].mean()
    assert abs(anchor[0]) < 1e-6 < anchor[-1]


def test_the_first_losses_are_those_of_an_independent_loop():
    tuning = started()
    pools = (tuning.pools["real"], tuning.pools["synthetic"])
    rng = np.random.default_rng([CONFIG.seed, 0])
    expected = 0.0
    for activations in pools:
        images = rng.choice(20, 8, replace=False)
        views = rng.integers(1, 4, size=8)
        stored = np.stack([array[:, 0] for array in activations.arrays]).astype(np.float32)  # (1 + v, n, ...)
        network = tuning.cut.network

        def features(rows, network=network):
            return F.normalize(network.out(network.norm(network.blocks[2:](torch.from_numpy(rows)).mean((2, 3)))))

        scores = (features(stored[0, images]) @ features(stored[views, images]).T / CONFIG.temperature).exp()
        for i in range(8):
            expected -= (scores[i, i] / scores[i].sum()).log().item() / 32
            expected -= (scores[i, i] / scores[:, i].sum()).log().item() / 32
    assert tuning.step()["alignment"] == pytest.approx(expected, rel=1e-3)


def test_every_step_draws_other_images_and_views(monkeypatch):
    drawn = []
    take = Pool.take
    monkeypatch.setattr(Pool, "take", lambda self, i, v: drawn.append((i.tolist(), v.tolist())) or take(self, i, v))
    tuning = started()
    drawn.clear()
    run(tuning, until=3)
    images, views = zip(*drawn, strict=True)
    assert len({str(chosen) for chosen in images}) == 6 and all(len(set(chosen)) == 8 for chosen in images)
    assert views[::2] == ([0] * 8,) * 6 and {v for chosen in views[1::2] for v in chosen} == {1, 2, 3}


def test_a_heavy_anchor_keeps_the_features_where_they_were():
    def moved(anchor_weight):
        tuning = run(started(replace(CONFIG, anchor_weight=anchor_weight, n_steps=60)))
        pictures = torch.randn(30, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
        before = F.normalize(tuning.cut.network(pictures))
        return (1 - (before * tuning.cut.tail(tuning.cut.front(pictures))).sum(1)).mean().item()

    assert moved(1e4) < 0.1 * moved(0.0)


def test_training_twice_gives_the_same_bits_and_another_seed_others():
    first = run(started()).weights()
    assert same(first, run(started()).weights())
    assert not same(first, run(started(replace(CONFIG, seed=1))).weights())


@pytest.mark.parametrize("kind", [Tiny, Tokens])
@pytest.mark.parametrize("stop", [0, 5, 12])
def test_a_run_that_goes_on_from_a_checkpoint_ends_in_the_same_bits(kind, stop):
    whole = run(started(network=frozen(kind)))
    saved = (
        run(started(network=frozen(kind)), until=stop).checkpoint()
        if stop
        else started(network=frozen(kind)).checkpoint()
    )
    second = started(network=frozen(kind))
    second.restore(saved)
    assert second.n_done == stop
    assert same(run(second).weights(), whole.weights()) and second.losses == whole.losses


def test_a_checkpoint_is_a_copy():
    tuning = run(started(), until=3)
    saved = tuning.checkpoint()
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    run(tuning)
    assert same(saved, kept) and not same(tuning.checkpoint(), kept)


def test_weights_share_no_memory_and_are_laid_out_plainly():
    network = frozen().to(memory_format=torch.channels_last)
    tensors = run(started(network=network)).weights()
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    assert len({tensor.data_ptr() for tensor in tensors.values()}) == len(tensors)


def test_batch_norm_statistics_stay_even_where_the_network_came_in_training_mode():
    network = frozen().train()
    before = copy.deepcopy(network.state_dict())
    tuned = run(started(network=network)).weights()
    assert all(torch.equal(before[n], tuned[n]) for n in before if "running" in n or "num_batches" in n)


@pytest.mark.parametrize("n_blocks", [0, -1, 4, 9])
def test_a_number_of_blocks_out_of_range_is_refused(n_blocks):
    with pytest.raises(
        BackboneError, match=f"between 1 and 3 of the network's 4 blocks can be trained, got {n_blocks}"
    ):
        cut_network(frozen(), n_blocks, SIDE)


def test_networks_that_cannot_be_cut_are_refused():
    with pytest.raises(BackboneError, match=r"needs a network with \.blocks"):
        cut_network(torch.nn.Linear(2, 2), 1, SIDE)

    class Sideways(Tiny):
        def forward(self, batch):
            return super().forward(batch) + batch.mean((1, 2, 3))[:, None]

    with pytest.raises(BackboneError, match="depend on more than its blocks"):
        cut_network(frozen(Sideways), 1, SIDE)


@pytest.mark.parametrize(("n", "v"), [(1, 3), (0, 3), (5, 0)])
def test_a_pool_with_too_few_images_or_no_view_is_refused(n, v):
    with pytest.raises(ValueError, match=f"two images of each domain with a view of each, got {n} with {v}"):
        Pool((np.zeros((9, 1, 2)),), np.zeros((n, 1 + v, 3), np.int64))


def test_a_pool_finds_every_picture_in_its_place():
    arrays = (np.arange(6.0).reshape(2, 3, 1), np.arange(10, 14.0).reshape(4, 1, 1))
    places = np.array([[[0, 1, 2], [1, 3, 0]], [[1, 0, 0], [0, 0, 1]]])
    taken = Pool(arrays, places).take(np.array([0, 1, 0]), np.array([0, 1, 1]))
    assert taken.flatten().tolist() == [5, 1, 13] and taken.dtype == torch.float32


def test_losses_that_are_not_finite_stop_the_run():
    tuning = started()
    next(iter(tuning.trained.values())).data.fill_(float("nan"))
    with pytest.raises(BackboneError, match="not finite at step 1: take a lower learning rate"):
        tuning.step()


def test_small_sets_are_drawn_whole():
    cut = cut_network(frozen(), 2, SIDE)
    tuning = FineTuning(cut, pool(cut, 1, n=2), pool(cut, 2, n=3, v=1), CONFIG)
    assert np.isfinite(list(tuning.step().values())).all()
