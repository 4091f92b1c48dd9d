"""Fine-tune a backbone's last blocks by contrastive self-supervision on unpaired images: an option, off in what ships.

    cut = cut_network(network, n_blocks=2, side=224)             # in two parts: cut.tail(cut.front(pixels)) are the features
    tuning = FineTuning(cut, real, synthetic, FineTuneConfig())  # pools of activations that cut.front gave
    while tuning.n_done < tuning.config.n_steps:
        losses = tuning.step()
    tuning.weights()                                             # a state_dict for load_backbone(name, weights=FILE)

Two terms. InfoNCE within each domain between an image and a view of it, and a pull towards the start: the feature of the whole
image must stay near the one that the untouched network gives. So it is the views that move to where their image already is, and
what the network learnt from many more images is kept. Infomax is left to the head: the covariance of a batch has a lower rank than
features have dimensions, so its determinant says nothing.

The network stays in evaluation mode, so batch-norm statistics never move. Nothing before the last blocks is trained, and its
output for each picture is computed once: that is nine tenths of the work in EfficientNet-Lite0.
"""

import copy
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aad.backbones import BackboneError
from aad.method.losses import info_nce
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch

TERMS = ("alignment", "anchor")
CHUNK = 64  # pictures through the tail at once where no gradient is needed


class Cut:
    """A network in two parts: ``front`` gives the activations behind one block, ``tail`` makes features of them.

    The tail is a copy in which the blocks up to the cut give what is laid into them: training it leaves the network as it is.

    Args:
        network: a frozen module with ``blocks``.
        depth: the cut lies behind this many blocks, at least 1.
        side: of the square network input, in pixels.
    """

    def __init__(self, network: Any, depth: int, side: int) -> None:
        import torch

        class Handover(torch.nn.Module):
            """Stands for the blocks before the cut."""

            activations: torch.Tensor | None = None

            def forward(self, *inputs: Any, **options: Any) -> torch.Tensor | None:
                return self.activations

        self.network, self.depth, self.side = network, depth, side
        self.tail_network, self.handover = copy.deepcopy(network), Handover()
        for number in range(depth):
            self.tail_network.blocks[number] = self.handover

    @property
    def device(self) -> "torch.device":
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    def front(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Activations (n, ...) behind the cut for (n, 3, s, s) pictures; the rest of the network does not run."""
        import torch

        class Reached(Exception):
            """No error: the way out of a forward pass."""

        caught: list[torch.Tensor] = []

        def stop(module: object, inputs: object, output: torch.Tensor) -> None:
            caught.append(output)
            raise Reached

        hook = self.network.blocks[self.depth - 1].register_forward_hook(stop)
        try:
            with torch.no_grad(), suppress(Reached):
                self.network(_laid_out(pixels.to(self.device)))
        finally:
            hook.remove()
        return caught[0]

    def tail(self, activations: "torch.Tensor") -> "torch.Tensor":
        """Features (n, d), L2-normalised, of (n, ...) activations."""
        import torch

        # what comes before the first block still runs, on one empty picture, and is thrown away
        empty = torch.zeros(1, 3, self.side, self.side, device=self.device)
        self.handover.activations = _laid_out(activations.to(self.device))
        try:
            return torch.nn.functional.normalize(self.tail_network(empty), dim=1)
        finally:
            self.handover.activations = None


def cut_network(network: Any, n_blocks: int, side: int) -> Cut:
    """Cut a network before its last blocks, as deep as the features allow.

    A network may read its blocks at several depths, as EfficientNet-Lite0 here does. Behind a cut only one of them is known, so the
    cut moves towards the front until tail and front together give what the network gives.

    Args:
        network: a frozen module with ``blocks``, in evaluation mode.
        n_blocks: how many of the last blocks are to be trained.
        side: of the square network input, in pixels.

    Raises:
        BackboneError: no blocks, too many of them asked for, or no cut gives the network's own features.
    """
    import torch

    if not hasattr(network, "blocks"):
        raise BackboneError(
            "fine-tuning needs a network with .blocks in order, this one has none: take another backbone"
        )
    total = len(network.blocks)
    if not 1 <= n_blocks < total:
        raise BackboneError(f"between 1 and {total - 1} of the network's {total} blocks can be trained, got {n_blocks}")
    network.eval().requires_grad_(False)
    device = next(network.parameters()).device
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():  # not inference_mode: the copy's weights could never be trained
        wanted = torch.nn.functional.normalize(network(_laid_out(noise)), dim=1)
        for depth in range(total - n_blocks, 0, -1):
            cut = Cut(network, depth, side)
            with suppress(RuntimeError):  # a network that reads a block before the cut may meet sizes that do not fit
                features = cut.tail(cut.front(noise))
                if features.shape == wanted.shape and torch.allclose(features, wanted, atol=1e-4):
                    return cut
    raise BackboneError(
        "the network's features depend on more than its blocks in order, so they cannot be fine-tuned alone"
    )


def _laid_out(batch: "torch.Tensor") -> "torch.Tensor":
    """Images and feature maps with channels last: a third less time on a CPU."""
    import torch

    return batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch


def trained_names(network: Any, n_blocks: int) -> list[str]:
    """Names of the parameters of the last blocks and of everything that the network defines after its blocks."""
    own = {id(parameter) for block in list(network.blocks)[-n_blocks:] for parameter in block.parameters()}
    names = {name: id(parameter) in own for name, parameter in network.named_parameters()}
    last = max(number for number, is_own in enumerate(names.values()) if is_own)
    return [name for number, (name, is_own) in enumerate(names.items()) if is_own or number > last]


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """Settings of one run."""

    n_blocks: int = 2  # how many of the last blocks are trained; what comes after the blocks is trained as well
    n_steps: int = 300  # the learning rate rises over the first tenth and falls to zero at the end
    batch_size: int = 48  # images of each domain per step
    temperature: float = 0.05  # of InfoNCE, as in the heads
    # of the mean cosine distance between tuned and untouched feature of the whole image;
    anchor_weight: float = 20.0  # 1 / temperature: a cosine lost costs what one gained earns at most
    learning_rate: float = 1e-4  # Adam's, at its highest
    seed: int = 0  # of the batches


@dataclass(frozen=True, slots=True)
class Pool:
    """Activations of n images of one domain and of views of them; the arrays may be memory-mapped.

    Attributes:
        arrays: each (rows, columns, ...), the last axes the same for all.
        places: (n, 1 + v, 3) integers, the array, row and column of each picture; ``[:, 0]`` is the image itself.
    """

    arrays: tuple[np.ndarray, ...]
    places: np.ndarray

    def __post_init__(self) -> None:
        n, pictures = self.places.shape[:2]
        if n < 2 or pictures < 2:
            raise ValueError(
                f"training needs two images of each domain with a view of each, got {n} with {pictures - 1}"
            )

    def __len__(self) -> int:
        return len(self.places)

    def take(self, images: np.ndarray, pictures: np.ndarray) -> "torch.Tensor":
        """Activations (n, ...) float32 of one picture each of n images."""
        import torch

        rows = [self.arrays[array][row, column] for array, row, column in self.places[images, pictures]]
        return torch.from_numpy(np.stack(rows).astype(np.float32))


class FineTuning:
    """One run, step by step.

    Args:
        cut: of the network to start from, untouched by the run.
        real: pictures of real images.
        synthetic: pictures of synthetic images; nothing says what they were made from.
        config: settings.
    """

    def __init__(self, cut: Cut, real: Pool, synthetic: Pool, config: FineTuneConfig) -> None:
        import torch

        self.cut, self.config = cut, config
        self.pools = {Domain.REAL: real, Domain.SYNTHETIC: synthetic}
        self.start = {domain: self._wholes(pool) for domain, pool in self.pools.items()}
        names = set(trained_names(cut.network, config.n_blocks))
        self.trained = {name: p for name, p in cut.tail_network.named_parameters() if name in names}
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.trained.values(), lr=config.learning_rate)
        self.losses: list[tuple[float, ...]] = []

    @property
    def n_done(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def step(self) -> dict[str, float]:
        """Take one step; which images it draws depends on the seed and its number only.

        Returns:
            The two terms before the step: ``alignment`` in nats, ``anchor`` as a cosine distance.

        Raises:
            BackboneError: a loss is not finite any more.
        """
        rng = np.random.default_rng([self.config.seed, self.n_done])
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(self.n_done, self.config.n_steps)
        self.optimiser.zero_grad()
        sums = dict.fromkeys(TERMS, 0.0)
        for domain in Domain:
            terms = self._terms(domain, rng)
            loss = (terms["alignment"] + self.config.anchor_weight * terms["anchor"]) / len(Domain)
            loss.backward()  # one domain after the other, for half the memory
            sums = {name: sums[name] + terms[name].item() / len(Domain) for name in TERMS}
        if not np.isfinite(list(sums.values())).all():
            raise BackboneError(f"the losses are not finite at step {self.n_done + 1}: take a lower learning rate")
        self.optimiser.step()
        self.losses.append(tuple(sums.values()))
        return sums

    def _terms(self, domain: Domain, rng: np.random.Generator) -> "dict[str, torch.Tensor]":
        import torch

        pool = self.pools[domain]
        images = rng.choice(len(pool), min(len(pool), self.config.batch_size), replace=False)
        views = rng.integers(1, pool.places.shape[1], size=len(images))
        pictures = torch.cat([pool.take(images, np.zeros_like(views)), pool.take(images, views)])
        whole, view = self.cut.tail(pictures).chunk(2)
        return {
            "alignment": info_nce(whole, view, self.config.temperature),
            "anchor": 1 - (whole * self.start[domain][images]).sum(1).mean(),
        }

    def _wholes(self, pool: Pool) -> "torch.Tensor":
        """Features (n, d) of the images themselves, from the tail as it is now."""
        import torch

        parts = np.split(np.arange(len(pool)), range(CHUNK, len(pool), CHUNK))
        with torch.no_grad():
            return torch.cat([self.cut.tail(pool.take(images, np.zeros_like(images))) for images in parts])

    def weights(self) -> "dict[str, torch.Tensor]":
        """The whole network's ``state_dict`` with the trained parameters in it, on the CPU, no two tensors sharing memory."""
        import torch

        state = self.cut.network.state_dict() | {name: parameter.detach() for name, parameter in self.trained.items()}
        return {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}


def _schedule(step: int, n_steps: int) -> float:
    """Share of the learning rate at a step: a rise over the first tenth, then half a cosine down to zero."""
    rise = max(1, n_steps // 10)
    return min((step + 1) / rise, (1 + math.cos(math.pi * step / n_steps)) / 2)
