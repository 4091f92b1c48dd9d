"""One loop that fits a head: ``fit_head(views, config) -> head, history``.

What goes in is unpaired: several views of each real image and of each synthetic image. Nothing says which synthetic image came
from which real one, and images are contrasted with others of their own domain only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aad.method.head import Head
from aad.method.losses import info_nce, infomax_gaussian
from aad.method.views import Views
from aad.method.whitening import Leading, leading_directions, whitening
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one fit, compared with repositories and their subjects left out: ``docs/real_generators.md``."""

    temperature: float = 0.05  # of the cosine
    infomax_weight: float = 0.0  # of a term per dimension; at 0 there is no Infomax, and no whitening before it
    gains_only: bool = True  # learn how loud each leading direction is, and turn none
    rank: int = 512  # leading directions that are mapped; the rest stays as it is
    shrinkage: float = 0.9  # share of the views' covariance replaced by the identity before whitening
    n_steps: int = 15  # stopped early: longer, what restyling changes is lost, and with it the sources of a style
    batch_size: int = 192  # images of each domain per step
    learning_rate: float = 0.03
    seed: int = 0


ALIGNED = TrainConfig()
DISENTANGLED = TrainConfig(infomax_weight=10.0)


def fit_head(
    views: Views,
    config: TrainConfig,
    progress: Callable[[int, float], object] | None = None,
    leading: Leading | None = None,
) -> tuple[Head, list[dict[str, float]]]:
    """Fit a head by contrastive alignment and, where the settings ask for it, Infomax.

    The map starts at the identity; with Infomax at Infomax's own optimum, where the leading directions of all views are white, and
    alignment departs from there. From the identity that is reached too slowly: variances span several orders of magnitude.

    Args:
        views: unpaired training data.
        config: settings.
        progress: called with the step and the loss.
        leading: what ``leading_directions(views, config.rank)`` gives, where it is known already.

    Returns:
        The head, and one dictionary of losses per tenth of the run.

    References:
        Liu et al., arXiv:2601.22663, for the two terms; linear heads on frozen features that learn only the gains of
        leading directions, contrast within each domain only, stopping early, and the start are ours.
    """
    import torch

    rng = np.random.default_rng(config.seed)
    leading = leading or leading_directions(views, config.rank)
    r, centre = len(leading.basis), {domain: views.centre(domain) for domain in Domain}
    inputs = {domain: views.moved(domain, centre[domain], leading.basis) for domain in Domain}  # (n, v, r + d) each
    start = torch.from_numpy(whitening(leading, config.shrinkage)) if config.infomax_weight else torch.eye(r)
    learnt = (torch.zeros(r) if config.gains_only else torch.eye(r)).requires_grad_()  # logarithms of gains, or a map
    optimiser = torch.optim.Adam([learnt], lr=config.learning_rate)
    history: list[dict[str, float]] = []
    for step in range(1, config.n_steps + 1):
        change = learnt.exp().diag() if config.gains_only else learnt  # of the start
        weight = change @ start
        alignment = torch.zeros(())
        for rows in inputs.values():
            batch = torch.from_numpy(rows[rng.choice(len(rows), min(len(rows), config.batch_size), replace=False)])
            first, second = (torch.cat([x[:, :r] @ weight.T, x[:, r:]], 1) for x in two_views(batch, rng))
            alignment = alignment + info_nce(first, second, config.temperature) / 2
        infomax = infomax_gaussian(change) if config.infomax_weight else torch.zeros(())
        loss = alignment + config.infomax_weight * infomax
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % max(1, config.n_steps // 10) == 0:
            terms = {"alignment": alignment, "infomax": infomax}
            history.append({"step": step} | {name: round(term.item(), 6) for name, term in terms.items()})
        if progress:
            progress(step, loss.item())
    change = learnt.exp().diag() if config.gains_only else learnt
    return Head(centre, dict.fromkeys(Domain, (change @ start).detach().numpy()), leading.basis), history


def two_views(images: "torch.Tensor", rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor]":
    """Two different views of each of (n, v, d) images, drawn at random, each (n, d)."""
    rows = np.arange(len(images))
    first = rng.integers(images.shape[1], size=len(images))
    second = (first + rng.integers(1, images.shape[1], size=len(images))) % images.shape[1]
    return images[rows, first], images[rows, second]
