"""One loop that fits a head: ``fit_head(views, is_synthetic, config) -> head, history``.

    aligned, _ = fit_head(views, is_synthetic, ALIGNED)
    disentangled, _ = fit_head(views, is_synthetic, DISENTANGLED, start=aligned)

What goes in is unpaired: several views of each image and whether the image is real or synthetic. Nothing says which synthetic
image came from which real one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aad.heads import Head
from aad.losses import info_nce, infomax
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one fit. Chosen on validation concepts and a held-out generator, see precompute/README.md."""

    rank: int = 128  # directions that may mix, see centred_start; 256 and 512 learnt the training images by heart
    alignment_weight: float = 1.0
    infomax_weight: float = 0.0  # 0: one map for both domains; above 0: one map and one Infomax term per domain
    anchor_weight: float = 10.0  # pull of the map towards its start, per unit of mean squared change
    temperature: float = 0.1
    shrinkage: float = 0.3  # share of each domain's covariance replaced by the identity
    n_steps: int = 300
    batch_size: int = 256  # images of each domain per step
    learning_rate: float = 1e-3
    seed: int = 0


ALIGNED = TrainConfig()
DISENTANGLED = TrainConfig(infomax_weight=100.0, anchor_weight=0.0, learning_rate=5e-3)  # of a term per dimension


def centred_start(views: np.ndarray, is_synthetic: np.ndarray, rank: int) -> Head:
    """Where training starts: the identity about each domain's own mean, with the principal directions as basis.

    Taking each domain's mean away is the first thing alignment has to do, and has a closed form.

    Args:
        views: (n, v, d) unit rows; the first view is the image itself.
        is_synthetic: (n,) bool.
        rank: directions in the basis; at most half as many as the smaller domain has images, because Infomax makes directions
            that a small set has hardly seen as loud as all others.
    """
    centre = {
        Domain.REAL: views[~is_synthetic, 0].mean(0).astype(np.float32),
        Domain.SYNTHETIC: views[is_synthetic, 0].mean(0).astype(np.float32),
    }
    centred = views[:, 0] - np.where(is_synthetic[:, None], centre[Domain.SYNTHETIC], centre[Domain.REAL])
    rank = min(rank, max(1, int(min(is_synthetic.sum(), (~is_synthetic).sum())) // 2))
    basis = np.linalg.svd(centred.astype(np.float32), full_matrices=False)[2][:rank]
    signs = np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])  # an svd leaves signs open
    core = np.zeros((len(basis), len(basis)), np.float32)
    return Head(basis * signs[:, None], centre, dict.fromkeys(Domain, 1.0), dict.fromkeys(Domain, core))


def fit_head(
    views: np.ndarray,
    is_synthetic: np.ndarray,
    config: TrainConfig,
    start: Head | None = None,
    progress: Callable[[int, float], object] | None = None,
) -> tuple[Head, list[dict[str, float]]]:
    """Fit a head by contrastive alignment and, with ``infomax_weight`` above 0, Infomax per domain.

    With one map per domain only symmetric changes are allowed: stretching, no turning. Without pairs nothing would stop two
    whitened domains from turning against each other.

    Args:
        views: (n, v, d) unit rows; v >= 2 views of each image, the first being the image itself.
        is_synthetic: (n,) bool, the domain of each image.
        config: settings.
        start: head to go on from; ``centred_start`` when None.
        progress: called with the step and the loss.

    Returns:
        The head, and one dictionary of losses per tenth of the run.

    Raises:
        ValueError: fewer than two views, or fewer than two images of a domain.

    References:
        Liu et al., arXiv:2601.22663, for the two terms; near-identity heads on frozen features, contrasting each image with
        others of its own domain only, and symmetric maps per domain are ours.
    """
    import torch

    if views.ndim != 3 or views.shape[1] < 2 or len(views) != len(is_synthetic):
        raise ValueError(f"views must be (n, v >= 2, d) with n domains, got {views.shape} and {is_synthetic.shape}")
    members = {Domain.REAL: np.flatnonzero(~is_synthetic), Domain.SYNTHETIC: np.flatnonzero(is_synthetic)}
    if min(map(len, members.values())) < 2:
        raise ValueError("training needs at least two images of each domain, real and synthetic")
    start = start or centred_start(views, is_synthetic, config.rank)
    per_domain = config.infomax_weight > 0
    inputs = {domain: _unit_power(start, views[rows], domain) for domain, rows in members.items()}  # (n, v, d) each
    basis = torch.from_numpy(start.basis)
    maps = {domain: _Change(basis, symmetric=per_domain) for domain in Domain}
    if not per_domain:
        maps[Domain.SYNTHETIC] = maps[Domain.REAL]
    trained = [parameter for change in set(maps.values()) for parameter in change.parameters]
    optimiser = torch.optim.Adam(trained, lr=config.learning_rate)
    rng = np.random.default_rng(config.seed)
    history: list[dict[str, float]] = []
    for step in range(1, config.n_steps + 1):
        terms = {"alignment": torch.zeros(()), "infomax": torch.zeros(()), "anchor": torch.zeros(())}
        for domain in Domain:
            first, second = _two_views(inputs[domain], config.batch_size, rng)
            alignment = info_nce(maps[domain](first), maps[domain](second), config.temperature)
            terms["alignment"] = terms["alignment"] + alignment / 2
            terms["anchor"] = terms["anchor"] + maps[domain].size() / 2
            if per_domain:
                terms["infomax"] = terms["infomax"] + infomax(maps[domain](inputs[domain][:, 0]), config.shrinkage) / 2
        loss = (
            config.alignment_weight * terms["alignment"]
            + config.infomax_weight * terms["infomax"]
            + config.anchor_weight * terms["anchor"]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % max(1, config.n_steps // 10) == 0:
            history.append({"step": step} | {name: round(term.item(), 6) for name, term in terms.items()})
        if progress:
            progress(step, loss.item())
    changed = {domain: maps[domain].after(start, domain) for domain in Domain}
    gain = {domain: changed[domain][0] for domain in Domain}
    core = {domain: changed[domain][1] for domain in Domain}
    return Head(start.basis, start.centre, gain, core), history


class _Change:
    """A trainable map ``gain I + basis^T core basis``, the identity at first, that follows the start head."""

    def __init__(self, basis: "torch.Tensor", symmetric: bool) -> None:
        import torch

        self.basis, self.symmetric = basis, symmetric
        self.log_gain = torch.zeros((), requires_grad=symmetric)  # a shared gain would change no cosine
        self.free = torch.zeros(len(basis), len(basis), requires_grad=True)
        self.parameters = [self.free, self.log_gain] if symmetric else [self.free]

    @property
    def core(self) -> "torch.Tensor":
        return (self.free + self.free.T) / 2 if self.symmetric else self.free

    def __call__(self, rows: "torch.Tensor") -> "torch.Tensor":
        return self.log_gain.exp() * rows + (rows @ self.basis.T) @ self.core.T @ self.basis

    def size(self) -> "torch.Tensor":
        """Mean squared change per basis direction."""
        return (self.core**2).sum() / max(1, len(self.basis))

    def after(self, start: Head, domain: Domain) -> tuple[float, np.ndarray]:
        """Gain and core of this map applied to what the start head gives."""
        gain, core = float(self.log_gain.detach().exp()), self.core.detach().numpy()
        first_gain, first_core = start.gain[domain], start.core[domain]
        return gain * first_gain, (gain * first_core + first_gain * core + core @ first_core).astype(np.float32)


def _unit_power(start: Head, views: np.ndarray, domain: Domain) -> "torch.Tensor":
    """What the start head gives before normalising, scaled to a mean variance of 1, where Infomax is at rest."""
    import torch

    rows = start.apply(views, domain)
    return torch.from_numpy(rows / max(float(rows[:, 0].std(0).mean()), 1e-12))


def _two_views(images: "torch.Tensor", n: int, rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor]":
    """Two different views of n images drawn without repetition, each (n, d)."""
    chosen = rng.choice(len(images), min(n, len(images)), replace=False)
    first = rng.integers(images.shape[1], size=len(chosen))
    second = (first + rng.integers(1, images.shape[1], size=len(chosen))) % images.shape[1]
    return images[chosen, first], images[chosen, second]
