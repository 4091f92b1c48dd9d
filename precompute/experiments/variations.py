"""What ``compare`` compares: every baseline and every variation of the shipped settings, each one line.

A variation is a function from a bundle and the family that training may not see to a way of ranking: n queries and the (m, d)
references give (n, m) similarities, larger for likelier sources. A head ranks by the cosine of its embeddings. Only the methods
marked "pairs" look at the pairs. What each gains is in docs/ablation.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from aad.bundle import Bundle
from aad.method import ALIGNED, DISENTANGLED, Head, TrainConfig, Views, fit_head, nuisance_whitening
from aad.method.training import contrast
from aad.spaces import Domain
from aad.vectors import l2_normalise
from precompute.common.left_out import Queries, read_training_pairs, read_views
from precompute.experiments.alignment import Dino, MoCo, with_bell_sejnowski
from precompute.experiments.baselines import SupervisedConfig, cca, centring, supervised, view_cca, whitening

SHRINKAGE = 0.03  # of the baselines; the ablation varies the shipped head's
STYLES = ("filters", "arbitrary_style", "multistyle26")  # kinds of view that change the rendering

Ranking = Callable[[Queries, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one fit may see: the bundle's training data without one family."""

    bundle: Bundle
    left_out: str

    def views(self, **options: Any) -> Views:
        """Views without the family; options as in ``read_views``."""
        return read_views(self.bundle, [self.left_out], **options)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Matched real and synthetic training features without the family."""
        return read_training_pairs(self.bundle, [self.left_out])


Fit = Callable[[Seen], Head]


def cosine(head: Head, queries: Queries, references: np.ndarray) -> np.ndarray:
    """What ships: the cosine of the embeddings."""
    return _synthetic(head, queries.features) @ _real(head, references).T


def mixture(heads: Sequence[Head], queries: Queries, references: np.ndarray) -> np.ndarray:
    """The mean of the cosines in several spaces."""
    return np.mean([cosine(head, queries, references) for head in heads], axis=0)


def several_crops(head: Head, queries: Queries, references: np.ndarray) -> np.ndarray:
    """The query is the mean embedding of the whole picture and its crops."""
    shown = [queries.features, *np.moveaxis(queries.crops, 1, 0)]
    return np.sum([_synthetic(head, features) for features in shown], axis=0) @ _real(head, references).T


def expanded(head: Head, queries: Queries, references: np.ndarray, k: int = 3, power: float = 3.0) -> np.ndarray:
    """Query expansion: search again with the query plus its first k references, each weighted by its cosine to a power.

    References:
        Radenovic, Tolias and Chum, TPAMI 41(7), 2019 (alpha query expansion).
    """
    embedded, gallery = _synthetic(head, queries.features), _real(head, references)
    similarities = embedded @ gallery.T
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    pull = np.clip(np.take_along_axis(similarities, nearest, 1), 0, None) ** power
    return l2_normalise(embedded + np.einsum("nk,nkd->nd", pull, gallery[nearest])) @ gallery.T


def hub_corrected(
    head: Head, synthetic: np.ndarray, queries: Queries, references: np.ndarray, k: int = 10
) -> np.ndarray:
    """Twice the cosine less how near a reference is to synthetic images at large, the mean cosine of its k nearest.

    ``synthetic`` are (s, d) features of unlabelled synthetic images.

    References:
        Conneau et al., ICLR 2018 (cross-domain similarity local scaling). Their term of the query is left out: it is the same for
        every reference.
    """
    gallery = _real(head, references)
    crowd = np.sort(gallery @ _synthetic(head, synthetic).T, axis=1)[:, -k:].mean(axis=1)
    return 2 * _synthetic(head, queries.features) @ gallery.T - crowd


def _synthetic(head: Head, features: np.ndarray) -> np.ndarray:
    return head.embed(features, Domain.SYNTHETIC)


def _real(head: Head, features: np.ndarray) -> np.ndarray:
    return head.embed(features, Domain.REAL)


def _identity(seen: Seen) -> Head:
    return Head.identity(seen.bundle.manifest["backbone"]["dim"])


def _fitted(
    config: TrainConfig, terms: Callable[[], Mapping[str, Any]] = dict, columns: Any = slice(None), **options: Any
) -> Fit:
    """A trained head, perhaps with other terms, or reading some columns only; options as in ``read_views``."""

    def fit(seen: Seen) -> Head:
        views = seen.views(**options)
        head, _ = fit_head(Views(views.real[..., columns], views.synthetic[..., columns]), config, **terms())
        return head

    return fit


def _with(form: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    """A form of alignment that remembers, one for each domain and fit."""
    return lambda: {"alignment": {domain: form() for domain in Domain}}


def _bell_sejnowski(config: TrainConfig) -> dict[str, Any]:
    term = with_bell_sejnowski(partial(contrast, temperature=config.temperature), config.infomax_weight)
    return {"alignment": dict.fromkeys(Domain, term), "infomax": lambda weight: 0 * weight.sum()}


def read_at(columns: np.ndarray, config: TrainConfig | None = None) -> Fit:
    """A head that reads only some columns of the backbone's features; untrained without settings."""

    def fit(seen: Seen) -> Head:
        chosen = np.zeros((len(columns), seen.bundle.manifest["backbone"]["dim"]), np.float32)
        chosen[np.arange(len(columns)), columns] = 1
        head = _fitted(config, columns=columns)(seen) if config else Head.identity(len(columns))
        return Head({d: head.centre[d] @ chosen for d in Domain}, {d: head.weight[d] @ chosen for d in Domain})

    return fit


def _supervised_after_whitening(seen: Seen) -> Head:
    """The supervised maps in nuisance-whitened coordinates instead of the backbone's."""
    first = nuisance_whitening(seen.views(), SHRINKAGE)
    real, synthetic = seen.pairs()
    second = supervised(first.apply(real, Domain.REAL), first.apply(synthetic, Domain.SYNTHETIC), SupervisedConfig())
    centre = {d: first.centre[d] + np.linalg.solve(first.weight[d], second.centre[d]) for d in Domain}
    return Head(centre, {domain: second.weight[domain] @ first.weight[domain] for domain in Domain})


BASELINES: dict[str, Fit] = {
    "backbone": _identity,
    "centring": lambda seen: centring(seen.views()),
    "PCA whitening, real images": lambda seen: whitening(seen.views(), SHRINKAGE, "real", "pca"),
    "ZCA whitening, real images": lambda seen: whitening(seen.views(), SHRINKAGE, "real"),
    "PCA whitening, joint": lambda seen: whitening(seen.views(), SHRINKAGE, "joint", "pca"),
    "ZCA whitening, joint": lambda seen: whitening(seen.views(), SHRINKAGE, "joint"),
    "PCA whitening, per domain": lambda seen: whitening(seen.views(), SHRINKAGE, "per_domain", "pca"),
    "ZCA whitening, per domain": lambda seen: whitening(seen.views(), SHRINKAGE, "per_domain"),
    "ZCA whitening of all views (Infomax alone)": lambda seen: whitening(seen.views(), SHRINKAGE, on="views"),
    "CCA between views, rank 256": lambda seen: view_cca(seen.views(), SHRINKAGE, rank=256),
    "nuisance whitening (both terms, closed form)": lambda seen: nuisance_whitening(seen.views(), SHRINKAGE),
    "nuisance whitening, per domain": lambda seen: nuisance_whitening(seen.views(), SHRINKAGE, per_domain=True),
    "supervised AbC recipe (pairs)": lambda seen: supervised(*seen.pairs(), SupervisedConfig()),
    "supervised AbC recipe, no decay (pairs)": lambda seen: supervised(*seen.pairs(), SupervisedConfig(decay=0.0)),
    "CCA oracle, rank 128 (pairs)": lambda seen: cca(*seen.pairs(), 0.3, 128),
    "CCA oracle, weighted (pairs)": lambda seen: cca(*seen.pairs(), 0.3, 512, weighting=1.0),
    "nuisance whitening, then supervised (pairs)": _supervised_after_whitening,
    "aligned (shipped)": _fitted(ALIGNED),
    "disentangled (shipped)": _fitted(DISENTANGLED),
}

ABLATIONS: dict[str, Fit] = {
    **{f"aligned, temperature {t}": _fitted(replace(ALIGNED, temperature=t)) for t in (0.03, 0.1, 0.2)},
    "aligned, MoCo": _fitted(ALIGNED, _with(lambda: MoCo(ALIGNED.temperature))),
    "aligned, DINO": _fitted(ALIGNED, _with(lambda: Dino(0.1, ALIGNED.learning_rate))),
    "aligned, anchored to the identity": _fitted(ALIGNED, lambda: {"anchor_weight": 1.0}),
    "aligned, 750 steps": _fitted(replace(ALIGNED, n_steps=750)),
    "aligned, plain views only": _fitted(ALIGNED, without_kinds=STYLES),
    **{
        f"disentangled, infomax weight {w:g}": _fitted(replace(DISENTANGLED, infomax_weight=w)) for w in (1, 3, 30, 100)
    },
    "disentangled, Bell and Sejnowski": _fitted(DISENTANGLED, lambda: _bell_sejnowski(DISENTANGLED)),
    "disentangled, a matrix per domain": _fitted(DISENTANGLED, lambda: {"shared": False}),
    **{f"disentangled, shrinkage {s}": _fitted(replace(DISENTANGLED, shrinkage=s)) for s in (0.003, 0.01, 0.1, 0.3)},
    "disentangled, temperature 0.1": _fitted(replace(DISENTANGLED, temperature=0.1)),
    "disentangled, MoCo": _fitted(DISENTANGLED, _with(lambda: MoCo(DISENTANGLED.temperature))),
    "disentangled, DINO": _fitted(DISENTANGLED, _with(lambda: Dino(0.1, DISENTANGLED.learning_rate))),
    "disentangled, anchored to its start": _fitted(DISENTANGLED, lambda: {"anchor_weight": 1.0}),
    "disentangled, 500 steps": _fitted(replace(DISENTANGLED, n_steps=500)),
    "disentangled, plain views only": _fitted(DISENTANGLED, without_kinds=STYLES),
    "disentangled, half of the images": _fitted(DISENTANGLED, share=0.5),
    "disentangled, a quarter of the images": _fitted(DISENTANGLED, share=0.25),
}

# EfficientNet-Lite0's features: mean and deviation of 112, then 192, then 320 channels, see aad.backbones.
LAST_STAGE, LAST_TWO_STAGES = np.arange(608, 1248), np.arange(224, 1248)
MEANS = np.concatenate([np.arange(0, 112), np.arange(224, 416), np.arange(608, 928)])

DEPTHS: dict[str, Fit] = {
    "backbone, last stage only": read_at(LAST_STAGE),
    "backbone, last two stages": read_at(LAST_TWO_STAGES),
    "backbone, means only": read_at(MEANS),
    "disentangled, last stage only": read_at(LAST_STAGE, DISENTANGLED),
    "disentangled, last two stages": read_at(LAST_TWO_STAGES, DISENTANGLED),
    "disentangled, means only": read_at(MEANS, DISENTANGLED),
}

_aligned, _disentangled = BASELINES["aligned (shipped)"], BASELINES["disentangled (shipped)"]
RANKINGS: dict[str, Callable[[Seen], Ranking]] = {
    "mean cosine of all three spaces": lambda seen: partial(
        mixture, [f(seen) for f in (_identity, _aligned, _disentangled)]
    ),
    "mean cosine of backbone and disentangled": lambda seen: partial(mixture, [_identity(seen), _disentangled(seen)]),
    "disentangled, query expansion": lambda seen: partial(expanded, _disentangled(seen)),
    "disentangled, hubs corrected": lambda s: partial(hub_corrected, _disentangled(s), s.views().synthetic[:, 0]),
}
CROPS: dict[str, Callable[[Seen], Ranking]] = {
    "backbone, query and three copies": lambda seen: partial(several_crops, _identity(seen)),
    "disentangled, query and three copies": lambda seen: partial(several_crops, _disentangled(seen)),
}

VARIATIONS: dict[str, Mapping[str, Callable[[Seen], Head | Ranking]]] = {
    "baselines": BASELINES,
    "ablations": ABLATIONS,
    "depths": DEPTHS,
    "rankings": RANKINGS,
    "crops": CROPS,
}
