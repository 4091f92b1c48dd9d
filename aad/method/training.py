"""One loop that fits a head: ``fit_head(views, config) -> head, history``.

What goes in is unpaired: several views of each real image and of each synthetic image. Nothing says which synthetic image came
from which real one, and images are contrasted with others of their own domain only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from aad.method.head import Head
from aad.method.losses import info_nce, infomax_gaussian
from aad.method.views import Views
from aad.method.whitening import inverse_roots
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch

Term = Callable[["torch.Tensor", "torch.Tensor", np.random.Generator], "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one fit. Chosen on validation concepts and left-out generators: ``docs/ablation.md`` has the search."""

    alignment_weight: float = 1.0
    temperature: float = 0.05  # of the cosine; 0.1 is as good with Infomax, 0.2 is worse
    infomax_weight: float = 0.0  # of a term per dimension; at 0 there is no Infomax, and no whitening before it
    shrinkage: float = 0.03  # share of the views' covariance replaced by the identity before whitening
    n_steps: int = 250
    batch_size: int = 192  # images of each domain per step
    learning_rate: float = 1e-3
    seed: int = 0


ALIGNED = TrainConfig()
DISENTANGLED = TrainConfig(infomax_weight=10.0)


def fit_head(
    views: Views,
    config: TrainConfig,
    progress: Callable[[int, float], object] | None = None,
    *,
    alignment: Mapping[Domain, Term] | None = None,
    infomax: Callable[["torch.Tensor"], "torch.Tensor"] = infomax_gaussian,
    shared: bool = True,
    anchor_weight: float = 0.0,
) -> tuple[Head, list[dict[str, float]]]:
    """Fit a head by contrastive alignment and, where the settings ask for it, Infomax.

    Without Infomax the map starts at the identity. With it, the map is trained in coordinates in which all views together are
    white, and starts at the identity there: Infomax's own optimum, from which alignment then departs. From the plain identity the
    same optimum is reached too slowly, because the features' variances span several orders of magnitude.

    Args:
        views: unpaired training data.
        config: settings.
        progress: called with the step and the loss.
        alignment: per domain, the term of a (d, d) map and a batch of (n, v, d) views; ``contrast`` when None.
        infomax: the term of a (d, d) map.
        shared: one matrix for both domains; one for each is no better on unseen generators, and twice the size.
        anchor_weight: pull of the map towards its start, per unit of mean squared change.

    Returns:
        The head, and one dictionary of losses per tenth of the run.

    References:
        Liu et al., arXiv:2601.22663, for the two terms; linear heads on frozen features, contrasting each image with others of its
        own domain only, and the start are ours.
    """
    import torch

    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    centre, start = {domain: views.centre(domain) for domain in Domain}, _start(views, config, shared)
    inputs = {domain: views.moved(domain, centre[domain], start[domain]) for domain in Domain}  # (n, v, d) each
    identity = torch.eye(len(centre[Domain.REAL]))
    trained = [identity.clone().requires_grad_() for _ in range(1 if shared else 2)]
    maps = dict(zip(Domain, trained * 2, strict=False))
    terms_of = alignment or dict.fromkeys(Domain, partial(contrast, temperature=config.temperature))
    optimiser = torch.optim.Adam(trained, lr=config.learning_rate)
    history: list[dict[str, float]] = []
    for step in range(1, config.n_steps + 1):
        terms = {"alignment": torch.zeros(()), "infomax": torch.zeros(()), "anchor": torch.zeros(())}
        for domain in Domain:
            n = len(inputs[domain])
            batch = torch.from_numpy(inputs[domain][rng.choice(n, min(n, config.batch_size), replace=False)])
            terms["alignment"] = terms["alignment"] + terms_of[domain](maps[domain], batch, rng) / 2
        for weight in trained:
            if config.infomax_weight:
                terms["infomax"] = terms["infomax"] + infomax(weight) / len(trained)
            terms["anchor"] = terms["anchor"] + (weight - identity).square().sum() / len(identity) / len(trained)
        loss = config.alignment_weight * terms["alignment"] + config.infomax_weight * terms["infomax"]
        loss = loss + anchor_weight * terms["anchor"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % max(1, config.n_steps // 10) == 0:
            history.append({"step": step} | {name: round(term.item(), 6) for name, term in terms.items()})
        if progress:
            progress(step, loss.item())
    learnt = {domain: maps[domain].detach().numpy() @ start[domain] for domain in Domain}
    if shared:
        learnt[Domain.SYNTHETIC] = learnt[Domain.REAL]
    return Head(centre, learnt), history


def contrast(
    weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator, temperature: float
) -> "torch.Tensor":
    """InfoNCE between two different views of each image of a batch, drawn at random."""
    first, second = two_views(images, rng)
    return info_nce(first @ weight.T, second @ weight.T, temperature)


def two_views(images: "torch.Tensor", rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor]":
    """Two different views of each of (n, v, d) images, drawn at random, each (n, d)."""
    rows = np.arange(len(images))
    first = rng.integers(images.shape[1], size=len(images))
    second = (first + rng.integers(1, images.shape[1], size=len(images))) % images.shape[1]
    return images[rows, first], images[rows, second]


def _start(views: Views, config: TrainConfig, shared: bool) -> dict[Domain, np.ndarray]:
    """Coordinates to train in, (d, d) float32 per domain: unit power and nothing else, or whitened for Infomax."""
    spread = {domain: views.spread(domain) for domain in Domain}
    if config.infomax_weight:
        return inverse_roots(spread, config.shrinkage, per_domain=not shared)
    both = (spread[Domain.REAL] + spread[Domain.SYNTHETIC]) / 2
    return dict.fromkeys(Domain, (np.eye(len(both)) / np.sqrt(np.trace(both) / len(both))).astype(np.float32))
