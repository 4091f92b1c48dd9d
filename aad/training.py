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

from aad.heads import LinearHead
from aad.losses import info_nce, infomax
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one fit. Chosen on validation concepts and a held-out generator, see precompute/README.md."""

    dim: int = 256  # embedding dimensions; the training images span little more
    alignment_weight: float = 1.0
    infomax_weight: float = 0.0  # 0: one map for both domains; above 0: one map and one Infomax term per domain
    temperature: float = 0.1
    shrinkage: float = 0.3  # share of the covariance replaced by the identity, per domain
    anchor_weight: float = 1.0  # pull towards the starting map, per squared unit of relative change
    n_steps: int = 400
    batch_size: int = 256  # images of each domain per step
    learning_rate: float = 1e-3
    seed: int = 0


ALIGNED = TrainConfig()
DISENTANGLED = TrainConfig(infomax_weight=1.0)


def principal_start(features: np.ndarray, dim: int) -> LinearHead:
    """The start of training: the ``dim`` principal directions of the features, which keeps cosine as it is within them.

    Args:
        features: (n, d_feature) unit rows of both domains.
        dim: number of directions, at most ``min(n, d_feature)``.
    """
    _, _, directions = np.linalg.svd(features.astype(np.float32), full_matrices=False)  # (min(n, d_feature), d_feature)
    directions = directions[:dim]
    largest = np.abs(directions).argmax(1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]  # svd leaves signs open
    zero = np.zeros(features.shape[1], np.float32)
    return LinearHead(dict.fromkeys(Domain, directions), dict.fromkeys(Domain, zero))


def fit_head(
    views: np.ndarray,
    is_synthetic: np.ndarray,
    config: TrainConfig,
    start: LinearHead | None = None,
    progress: Callable[[int, float], object] | None = None,
) -> tuple[LinearHead, list[dict[str, float]]]:
    """Fit a linear head by contrastive alignment and, with ``infomax_weight`` above 0, Infomax per domain.

    Args:
        views: (n, v, d_feature) unit rows; v >= 2 views of each image, the first being the image itself.
        is_synthetic: (n,) bool, the domain of each image.
        config: settings.
        start: head to go on from; ``principal_start`` when None.
        progress: called with the step and the loss.

    Returns:
        The head, and one dictionary of losses per tenth of the run.

    Raises:
        ValueError: fewer than two views, or fewer than two images of a domain.

    References:
        Liu et al., arXiv:2601.22663, for the two terms; linear heads on frozen features, the anchor to the start and the
        order (align, then disentangle) are ours.
    """
    import torch

    if views.ndim != 3 or views.shape[1] < 2 or len(views) != len(is_synthetic):
        raise ValueError(f"views must be (n, v >= 2, d) with n domains, got {views.shape} and {is_synthetic.shape}")
    if min(is_synthetic.sum(), (~is_synthetic).sum()) < 2:
        raise ValueError("training needs at least two images of each domain, real and synthetic")
    members = {Domain.REAL: np.flatnonzero(~is_synthetic), Domain.SYNTHETIC: np.flatnonzero(is_synthetic)}
    start = start or principal_start(views[:, 0], config.dim)
    dim = start.dim  # fewer than config.dim when there are fewer images
    features = torch.from_numpy(np.ascontiguousarray(views, dtype=np.float32))
    centres = {domain: torch.from_numpy(start.centre[domain]) for domain in Domain}
    if config.infomax_weight > 0:  # one map per domain, each about its own mean
        centres = {domain: features[rows, 0].mean(0) for domain, rows in members.items()}
        initial = {domain: torch.from_numpy(start.weight[domain]) for domain in Domain}
        scale = {
            domain: _unit_power(initial[domain], features[members[domain], 0] - centres[domain]) for domain in Domain
        }
        initial = {domain: weight * scale[domain] for domain, weight in initial.items()}
        # the map is trained as (I + change) @ initial: from the identity, Infomax stays near a symmetric whitening
        changes = {domain: torch.zeros(dim, dim, requires_grad=True) for domain in Domain}
    else:
        initial = dict.fromkeys(Domain, torch.from_numpy(start.weight[Domain.REAL]))
        changes = dict.fromkeys(Domain, torch.zeros(dim, dim, requires_grad=True))
    eye = torch.eye(dim)
    free = list({id(change): change for change in changes.values()}.values())
    optimiser = torch.optim.Adam(free, lr=config.learning_rate)
    generator = np.random.default_rng(config.seed)
    projected = {domain: (features[rows] - centres[domain]) @ initial[domain].T for domain, rows in members.items()}
    history: list[dict[str, float]] = []
    for step in range(1, config.n_steps + 1):
        first, second, spread = [], [], []
        for domain, rows in members.items():
            chosen = generator.choice(len(rows), min(config.batch_size, len(rows)), replace=False)
            pairs = np.array([generator.choice(views.shape[1], 2, replace=False) for _ in chosen])
            weight = eye + _free(changes[domain], config)
            first.append(projected[domain][chosen, pairs[:, 0]] @ weight.T)
            second.append(projected[domain][chosen, pairs[:, 1]] @ weight.T)
            if config.infomax_weight > 0:
                spread.append(infomax(projected[domain].flatten(0, 1) @ weight.T, config.shrinkage))
        alignment = info_nce(torch.cat(first), torch.cat(second), config.temperature)
        information = torch.stack(spread).sum() if spread else torch.zeros(())
        anchor = torch.stack([(change**2).sum() for change in free]).mean() / dim
        loss = config.alignment_weight * alignment + config.infomax_weight * information + config.anchor_weight * anchor
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % max(1, config.n_steps // 10) == 0:
            history.append(
                {"step": step, "alignment": alignment.item(), "infomax": information.item(), "anchor": anchor.item()}
            )
        if progress:
            progress(step, loss.item())
    with torch.no_grad():
        weights = {domain: ((eye + _free(changes[domain], config)) @ initial[domain]).numpy() for domain in Domain}
    return LinearHead(weights, {domain: centres[domain].numpy() for domain in Domain}), history


def _free(change: "torch.Tensor", config: TrainConfig) -> "torch.Tensor":
    """With one map per domain only symmetric changes are allowed: stretching, no turning, so that the domains stay parallel."""
    return (change + change.T) / 2 if config.infomax_weight > 0 else change


def _unit_power(weight: "torch.Tensor", centred: "torch.Tensor") -> float:
    """Scale that gives the mapped features a mean variance of 1 per dimension, where Infomax is at rest."""
    return 1 / float(((centred @ weight.T) ** 2).mean().clamp_min(1e-12).sqrt())
