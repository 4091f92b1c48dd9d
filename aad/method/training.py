"""One loop that fits a head: ``fit_head(views, config) -> head, history``.

    aligned, _ = fit_head(views, ALIGNED)
    disentangled, _ = fit_head(views, DISENTANGLED)

What goes in is unpaired: several views of each real image and of each synthetic image. Nothing says which synthetic image came
from which real one, and images are contrasted with others of their own domain only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from aad.alignment import Alignment
from aad.method.head import Head
from aad.method.losses import infomax_bell_sejnowski, infomax_gaussian
from aad.method.whitening import covariance, inverse_root, shrunk, streamed_moments
from aad.spaces import Domain

if TYPE_CHECKING:
    import torch

CHUNK = 512  # images read at a time from disk: 512 x 5 views x 768 numbers are 16 MB in float64


@dataclass(frozen=True, slots=True)
class Views:
    """Unpaired training data: unit rows of backbone features; ``[:, 0]`` is the image itself, the rest are views of it.

    Attributes:
        real: (n_r, v_r, d) float32.
        synthetic: (n_s, v_s, d) float32.
    """

    real: np.ndarray
    synthetic: np.ndarray

    def __post_init__(self) -> None:
        _check(self.real, self.synthetic)

    def of(self, domain: Domain) -> np.ndarray:
        """The (n, v, d) views of one domain."""
        return self.real if domain == Domain.REAL else self.synthetic


class Rows(Protocol):
    """(n, v, d) views that stay where they are stored; indexed with a slice or image numbers they are read, as float32."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, v, d)."""

    def __getitem__(self, images: slice | np.ndarray, /) -> np.ndarray:
        """The (m, v, d) views of m images."""


@dataclass(frozen=True, slots=True)
class StoredViews:
    """``Views`` that do not fit into memory: batches are read when they are drawn. Made by ``measure``.

    Attributes:
        rows: per domain, (n, v, d).
        centre: per domain, (d,) float32 mean of the images themselves.
        spread: per domain, (d, d) float64 covariance of all views.
    """

    rows: dict[Domain, Rows]
    centre: dict[Domain, np.ndarray]
    spread: dict[Domain, np.ndarray]

    @classmethod
    def measure(cls, real: Rows, synthetic: Rows, progress: Callable[[int], object] | None = None) -> "StoredViews":
        """Read everything once for centres and covariances, which every fit needs.

        Args:
            real: views of real images.
            synthetic: views of synthetic images.
            progress: called with the number of images read after each chunk.

        Raises:
            ValueError: as ``Views``, or a value that is not finite.
        """
        _check(real, synthetic)
        rows = {Domain.REAL: real, Domain.SYNTHETIC: synthetic}
        moments = {domain: streamed_moments(_chunks(rows[domain], progress)) for domain in Domain}
        return cls(rows, {d: moments[d][0].astype(np.float32) for d in Domain}, {d: moments[d][1] for d in Domain})


def _check(real: Rows, synthetic: Rows) -> None:
    for name, rows in (("real", real), ("synthetic", synthetic)):
        if len(rows.shape) != 3 or rows.shape[1] < 2 or rows.shape[2] != real.shape[2]:
            raise ValueError(f"{name} views must be (n, v >= 2, d) with one d for both domains, got {rows.shape}")
        if rows.shape[0] < 2:
            raise ValueError(f"training needs at least two images of each domain, got {rows.shape[0]} {name}")


def _chunks(rows: Rows, progress: Callable[[int], object] | None) -> Iterator[np.ndarray]:
    for start in range(0, rows.shape[0], CHUNK):
        chunk = rows[start : start + CHUNK]
        yield chunk
        if progress:
            progress(len(chunk))


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one fit. Chosen on validation concepts and left-out generators: ``docs/ablation.md`` has the search."""

    alignment: Literal["info_nce", "moco", "dino"] = "info_nce"
    alignment_weight: float = 1.0
    temperature: float = 0.05  # of the cosine; 0.1 is as good with Infomax, 0.2 is worse
    infomax: Literal["none", "gaussian", "bell_sejnowski"] = "none"
    infomax_weight: float = 10.0  # of a term per dimension
    shrinkage: float = 0.03  # share of the views' covariance replaced by the identity before whitening
    shared: bool = (
        True  # one matrix for both domains; one for each is no better on unseen generators, and twice the size
    )
    anchor_weight: float = 0.0  # pull of the map towards its start, per unit of mean squared change
    n_steps: int = 250
    batch_size: int = 192  # images of each domain per step
    learning_rate: float = 1e-3
    seed: int = 0


ALIGNED = TrainConfig()
DISENTANGLED = TrainConfig(infomax="gaussian")


def fit_head(
    views: Views | StoredViews, config: TrainConfig, progress: Callable[[int, float], object] | None = None
) -> tuple[Head, list[dict[str, float]]]:
    """Fit a head by contrastive alignment and, where the settings ask for it, Infomax.

    Without Infomax the map starts at the identity. With it, the map is trained in coordinates in which all views together are
    white, and starts at the identity there: Infomax's own optimum, from which alignment then departs. From the plain identity the
    same optimum is reached too slowly, because the features' variances span several orders of magnitude.

    Args:
        views: see ``Views``; ``StoredViews`` of the same images give the same head but for rounding.
        config: settings.
        progress: called with the step and the loss.

    Returns:
        The head, and one dictionary of losses per tenth of the run.

    References:
        Liu et al., arXiv:2601.22663, for the two terms; linear heads on frozen features, contrasting each image with others of its
        own domain only, and the start are ours.
    """
    import torch

    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    if isinstance(views, Views):
        centre = {domain: views.of(domain)[:, 0].mean(0).astype(np.float32) for domain in Domain}
        start = _starts({domain: covariance(views.of(domain)) for domain in Domain}, config)
        inputs: dict[Domain, torch.Tensor | _Prepared] = {
            d: torch.from_numpy((views.of(d) - centre[d]) @ start[d].T) for d in Domain
        }  # (n, v, d) each
    else:
        centre, start = views.centre, _starts(views.spread, config)
        inputs = {d: _Prepared(views.rows[d], centre[d], start[d]) for d in Domain}
    d = len(centre[Domain.REAL])
    maps = {domain: torch.eye(d, requires_grad=True) for domain in Domain}
    if config.shared:
        maps[Domain.SYNTHETIC] = maps[Domain.REAL]
    alignments = {domain: Alignment(config.alignment, config.temperature, d) for domain in Domain}
    trained = list({id(weight): weight for weight in maps.values()}.values())
    optimiser = torch.optim.Adam(
        [*trained, *(p for alignment in alignments.values() for p in alignment.parameters)], lr=config.learning_rate
    )
    history: list[dict[str, float]] = []
    for step in range(1, config.n_steps + 1):
        terms = {"alignment": torch.zeros(()), "infomax": torch.zeros(()), "anchor": torch.zeros(())}
        for domain in Domain:
            weight, chosen = maps[domain], _draw(len(inputs[domain]), config.batch_size, rng)
            batch = inputs[domain][chosen]  # (b, v, d)
            terms["alignment"] = terms["alignment"] + alignments[domain](weight, batch, rng) / 2
            if config.infomax == "bell_sejnowski":
                outputs = batch[np.arange(len(batch)), rng.integers(batch.shape[1], size=len(batch))] @ weight.T
                terms["infomax"] = terms["infomax"] + infomax_bell_sejnowski(weight, outputs) / 2
        for weight in trained:
            if config.infomax == "gaussian":
                terms["infomax"] = terms["infomax"] + infomax_gaussian(weight) / len(trained)
            terms["anchor"] = terms["anchor"] + (weight - torch.eye(d)).square().sum() / d / len(trained)
        loss = (
            config.alignment_weight * terms["alignment"]
            + config.infomax_weight * terms["infomax"]
            + config.anchor_weight * terms["anchor"]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for domain in Domain:
            alignments[domain].after_step(maps[domain])
        if step % max(1, config.n_steps // 10) == 0:
            history.append({"step": step} | {name: round(term.item(), 6) for name, term in terms.items()})
        if progress:
            progress(step, loss.item())
    learnt = {domain: maps[domain].detach().numpy() @ start[domain] for domain in Domain}
    if config.shared:
        learnt[Domain.SYNTHETIC] = learnt[Domain.REAL]
    return Head(centre, learnt), history


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Stored rows that come to the coordinates of training when a batch is drawn."""

    rows: Rows
    centre: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return self.rows.shape[0]

    def __getitem__(self, chosen: np.ndarray) -> "torch.Tensor":
        import torch

        return torch.from_numpy((self.rows[chosen] - self.centre) @ self.start.T)


def _starts(spread: dict[Domain, np.ndarray], config: TrainConfig) -> dict[Domain, np.ndarray]:
    """Coordinates to train in, (d, d) float32 per domain: unit power and nothing else, or whitened for Infomax."""
    both = (spread[Domain.REAL] + spread[Domain.SYNTHETIC]) / 2
    if config.infomax == "none":
        return dict.fromkeys(Domain, (np.eye(len(both)) / np.sqrt(np.trace(both) / len(both))).astype(np.float32))
    if config.shared:
        return dict.fromkeys(Domain, inverse_root(shrunk(both, config.shrinkage)).astype(np.float32))
    return {domain: inverse_root(shrunk(spread[domain], config.shrinkage)).astype(np.float32) for domain in Domain}


def _draw(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Up to ``size`` of n image numbers, without repetition."""
    return rng.choice(n, min(n, size), replace=False)
