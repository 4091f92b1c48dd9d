"""Fine-tune a backbone's last blocks by contrastive self-supervision on unpaired images: an option, off in what ships.

    cut = cut_network(network, n_blocks=2, side=224)            # in two parts: front, tail
    tuning = FineTuning(cut, real, synthetic, FineTuneConfig())  # pools of activations that cut.front gave
    while tuning.n_done < tuning.config.n_steps:
        losses = tuning.step()
    tuning.weights()                                            # a state_dict for load_backbone(name, weights=FILE)

Two terms. InfoNCE within each domain between an image and a view of it, and a pull towards the start: the feature of the whole
image must stay near the one that the untouched network gives. So it is the views that move to where their image already is, and
what the network learnt from many more images is kept. Infomax is left to the head: the covariance of a batch has a lower rank than
features have dimensions, so its determinant says nothing.

The network stays in evaluation mode, so batch-norm statistics never move. Nothing before the last blocks is trained, and its
output for each picture is computed once: that is nine tenths of the work in EfficientNet-Lite0.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aad.backbones import BackboneError
from aad.method.losses import info_nce
from aad.spaces import Domain
from precompute.experiments.cutting import Cut

if TYPE_CHECKING:
    import torch

TERMS = ("alignment", "anchor")
CHUNK = 64  # pictures through the tail at once where no gradient is needed


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """Settings of one run.

    Attributes:
        n_blocks: how many of the last blocks are trained; what comes after the blocks is trained as well.
        n_steps: length of the run; the learning rate rises over the first tenth and falls to zero at the end.
        batch_size: images of each domain per step.
        temperature: of InfoNCE, as in the heads.
        anchor_weight: of the mean cosine distance between tuned and untouched feature of the whole image.
        learning_rate: Adam's, at its highest.
        seed: of the batches.
    """

    n_blocks: int = 2
    n_steps: int = 300
    batch_size: int = 48
    temperature: float = 0.05
    anchor_weight: float = 20.0  # 1 / temperature: a cosine lost costs what one gained earns at most
    learning_rate: float = 1e-4
    seed: int = 0


def trained_names(network: Any, n_blocks: int) -> list[str]:
    """Names of the parameters of the last blocks and of everything that the network defines after its blocks."""
    own = {id(parameter) for block in list(network.blocks)[-n_blocks:] for parameter in block.parameters()}
    members = [id(parameter) in own for _, parameter in network.named_parameters()]
    after = max(number for number, member in enumerate(members) if member)
    return [name for number, (name, _) in enumerate(network.named_parameters()) if members[number] or number > after]


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
        if self.places.ndim != 3 or len(self.places) < 2 or self.places.shape[1] < 2:
            n, pictures = self.places.shape[:2]
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
    """One run, step by step; what it depends on beside its arguments is in ``checkpoint``.

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

        rows = []
        with torch.no_grad():
            for start in range(0, len(pool), CHUNK):
                images = np.arange(start, min(start + CHUNK, len(pool)))
                rows.append(self.cut.tail(pool.take(images, np.zeros_like(images))))
        return torch.cat(rows)

    def weights(self) -> "dict[str, torch.Tensor]":
        """The whole network's ``state_dict`` with the trained parameters in it, on the CPU, no two tensors sharing memory."""
        import torch

        state = self.cut.network.state_dict() | {name: parameter.detach() for name, parameter in self.trained.items()}
        return {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}

    def checkpoint(self) -> "dict[str, torch.Tensor]":
        """Everything that ``restore`` needs to go on as if nothing had happened."""
        import torch

        tensors = {"losses": torch.tensor(self.losses, dtype=torch.float64).reshape(-1, len(TERMS))}
        for name, parameter in self.trained.items():
            tensors[f"weight {name}"] = parameter.detach()
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self.optimiser.state[parameter]:  # not before the first step
                    tensors[f"{key} {name}"] = self.optimiser.state[parameter][key]
        return {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}

    def restore(self, tensors: "dict[str, torch.Tensor]") -> None:
        """Go on from a ``checkpoint`` of a run with the same arguments."""
        import torch

        self.losses = [tuple(row) for row in tensors["losses"].tolist()]
        for name, parameter in self.trained.items():
            parameter.data.copy_(tensors[f"weight {name}"])
            moments = {k: tensors[f"{k} {name}"] for k in ("exp_avg", "exp_avg_sq") if f"{k} {name}" in tensors}
            if moments:
                # the parameter's own memory layout: sums in another order would change the last bits
                state = {key: torch.empty_like(parameter).copy_(moment) for key, moment in moments.items()}
                self.optimiser.state[parameter] = {"step": torch.tensor(float(self.n_done)), **state}


def _schedule(step: int, n_steps: int) -> float:
    """Share of the learning rate at a step: a rise over the first tenth, then half a cosine down to zero."""
    rise = max(1, n_steps // 10)
    return min((step + 1) / rise, (1 + np.cos(np.pi * step / n_steps)) / 2)
