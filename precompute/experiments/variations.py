"""What ``compare`` compares: every baseline and every variation of the shipped settings, each one line.

A variation is a function from what training may see to a way of ranking. Only the methods marked "pairs" look at the pairs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from aad.bundle import Bundle
from aad.method import ALIGNED, DISENTANGLED, Head, TrainConfig, Views, fit_head, nuisance_whitening
from aad.method.training import contrast
from aad.spaces import Domain
from precompute.common.trials import read_training_pairs, read_views
from precompute.experiments.alignment import Dino, MoCo, with_bell_sejnowski
from precompute.experiments.baselines import (
    SupervisedConfig,
    cca,
    centring,
    supervised,
    view_cca,
    whitening,
)
from precompute.experiments.rankings import Ranking, expanded, hub_corrected, mixture, several_crops

SHRINKAGE = 0.03  # of the baselines; the ablation varies the shipped head's
STYLES = ("filters", "arbitrary_style", "multistyle26")  # kinds of view that change the rendering


@dataclass(frozen=True, slots=True)
class Trial:
    """What one fit may see: the bundle's training data without one family."""

    bundle: Bundle
    left_out: str

    def views(self, **options: Any) -> Views:
        """Views without the family; options as in ``read_views``."""
        return read_views(self.bundle, [self.left_out], **options)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Matched real and synthetic training features without the family."""
        return read_training_pairs(self.bundle, [self.left_out])


Fit = Callable[[Trial], Head]


def _identity(trial: Trial) -> Head:
    return Head.identity(trial.bundle.manifest["backbone"]["dim"])


def _trained(config: TrainConfig, fitting: Mapping[str, Any] | None = None, **options: Any) -> Fit:
    return lambda trial: fit_head(trial.views(**options), config, **(fitting or {}))[0]


def _moco(config: TrainConfig) -> Fit:
    return lambda t: fit_head(t.views(), config, alignment={d: MoCo(config.temperature) for d in Domain})[0]


def _dino(config: TrainConfig) -> Fit:
    config = replace(config, temperature=0.1)
    return lambda t: fit_head(
        t.views(), config, alignment={d: Dino(config.temperature, config.learning_rate) for d in Domain}
    )[0]


def _bell_sejnowski(config: TrainConfig) -> Fit:
    term = with_bell_sejnowski(partial(contrast, temperature=config.temperature), config.infomax_weight)
    options: dict[str, Any] = {"alignment": dict.fromkeys(Domain, term), "infomax": lambda weight: 0 * weight.sum()}
    return _trained(config, options)


def _read_at(columns: np.ndarray, config: TrainConfig | None = None) -> Fit:
    """A head that reads only some columns of the backbone's features; untrained without settings."""

    def fit(trial: Trial) -> Head:
        chosen = np.zeros((len(columns), trial.bundle.manifest["backbone"]["dim"]), np.float32)
        chosen[np.arange(len(columns)), columns] = 1
        if config is None:
            return Head(_identity(trial).centre, dict.fromkeys(Domain, chosen))
        views = trial.views()
        head, _ = fit_head(Views(views.real[..., columns], views.synthetic[..., columns]), config)
        return Head(
            {domain: head.centre[domain] @ chosen for domain in Domain},
            {domain: head.weight[domain] @ chosen for domain in Domain},
        )

    return fit


def _supervised_after_whitening(trial: Trial) -> Head:
    """The supervised maps in nuisance-whitened coordinates instead of the backbone's."""
    first = nuisance_whitening(trial.views(), SHRINKAGE)
    real, synthetic = trial.pairs()
    second = supervised(first.apply(real, Domain.REAL), first.apply(synthetic, Domain.SYNTHETIC), SupervisedConfig())
    centre = {d: first.centre[d] + np.linalg.solve(first.weight[d], second.centre[d]) for d in Domain}
    return Head(centre, {domain: second.weight[domain] @ first.weight[domain] for domain in Domain})


BASELINES: dict[str, Fit] = {
    "backbone": _identity,
    "centring": lambda trial: centring(trial.views()),
    "PCA whitening, real images": lambda trial: whitening(trial.views(), SHRINKAGE, "real", "pca"),
    "ZCA whitening, real images": lambda trial: whitening(trial.views(), SHRINKAGE, "real"),
    "PCA whitening, joint": lambda trial: whitening(trial.views(), SHRINKAGE, "joint", "pca"),
    "ZCA whitening, joint": lambda trial: whitening(trial.views(), SHRINKAGE, "joint"),
    "PCA whitening, per domain": lambda trial: whitening(trial.views(), SHRINKAGE, "per_domain", "pca"),
    "ZCA whitening, per domain": lambda trial: whitening(trial.views(), SHRINKAGE, "per_domain"),
    "ZCA whitening of all views (Infomax alone)": lambda trial: whitening(trial.views(), SHRINKAGE, on="views"),
    "CCA between views, rank 256": lambda trial: view_cca(trial.views(), SHRINKAGE, rank=256),
    "nuisance whitening (both terms, closed form)": lambda trial: nuisance_whitening(trial.views(), SHRINKAGE),
    "nuisance whitening, per domain": lambda trial: nuisance_whitening(trial.views(), SHRINKAGE, per_domain=True),
    "supervised AbC recipe (pairs)": lambda trial: supervised(*trial.pairs(), SupervisedConfig()),
    "supervised AbC recipe, no decay (pairs)": lambda trial: supervised(*trial.pairs(), SupervisedConfig(decay=0.0)),
    "CCA oracle, rank 128 (pairs)": lambda trial: cca(*trial.pairs(), 0.3, 128),
    "CCA oracle, weighted (pairs)": lambda trial: cca(*trial.pairs(), 0.3, 512, weighting=1.0),
    "nuisance whitening, then supervised (pairs)": _supervised_after_whitening,
    "aligned (shipped)": _trained(ALIGNED),
    "disentangled (shipped)": _trained(DISENTANGLED),
}

ABLATIONS: dict[str, Fit] = {
    **{f"aligned, temperature {t}": _trained(replace(ALIGNED, temperature=t)) for t in (0.03, 0.1, 0.2)},
    "aligned, MoCo": _moco(ALIGNED),
    "aligned, DINO": _dino(ALIGNED),
    "aligned, anchored to the identity": _trained(ALIGNED, {"anchor_weight": 1.0}),
    "aligned, 750 steps": _trained(replace(ALIGNED, n_steps=750)),
    "aligned, plain views only": _trained(ALIGNED, without_kinds=STYLES),
    **{
        f"disentangled, infomax weight {w:g}": _trained(replace(DISENTANGLED, infomax_weight=w))
        for w in (1, 3, 30, 100)
    },
    "disentangled, Bell and Sejnowski": _bell_sejnowski(DISENTANGLED),
    "disentangled, a matrix per domain": _trained(DISENTANGLED, {"shared": False}),
    **{f"disentangled, shrinkage {s}": _trained(replace(DISENTANGLED, shrinkage=s)) for s in (0.003, 0.01, 0.1, 0.3)},
    "disentangled, temperature 0.1": _trained(replace(DISENTANGLED, temperature=0.1)),
    "disentangled, MoCo": _moco(DISENTANGLED),
    "disentangled, DINO": _dino(DISENTANGLED),
    "disentangled, anchored to its start": _trained(DISENTANGLED, {"anchor_weight": 1.0}),
    "disentangled, 500 steps": _trained(replace(DISENTANGLED, n_steps=500)),
    "disentangled, plain views only": _trained(DISENTANGLED, without_kinds=STYLES),
    "disentangled, half of the images": _trained(DISENTANGLED, share=0.5),
    "disentangled, a quarter of the images": _trained(DISENTANGLED, share=0.25),
}

# EfficientNet-Lite0's features: mean and deviation of 112, then 192, then 320 channels, see aad.backbones.
LAST_STAGE, LAST_TWO_STAGES = np.arange(608, 1248), np.arange(224, 1248)
MEANS = np.concatenate([np.arange(0, 112), np.arange(224, 416), np.arange(608, 928)])

DEPTHS: dict[str, Fit] = {
    "backbone, last stage only": _read_at(LAST_STAGE),
    "backbone, last two stages": _read_at(LAST_TWO_STAGES),
    "backbone, means only": _read_at(MEANS),
    "disentangled, last stage only": _read_at(LAST_STAGE, DISENTANGLED),
    "disentangled, last two stages": _read_at(LAST_TWO_STAGES, DISENTANGLED),
    "disentangled, means only": _read_at(MEANS, DISENTANGLED),
}

_aligned, _disentangled = BASELINES["aligned (shipped)"], BASELINES["disentangled (shipped)"]
RANKINGS: dict[str, Callable[[Trial], Ranking]] = {
    "mean cosine of all three spaces": lambda t: mixture(_identity(t), _aligned(t), _disentangled(t)),
    "mean cosine of backbone and disentangled": lambda t: mixture(_identity(t), _disentangled(t)),
    "disentangled, query expansion": lambda t: expanded(_disentangled(t)),
    "disentangled, hubs corrected": lambda t: hub_corrected(_disentangled(t), t.views().synthetic[:, 0]),
}
CROPS: dict[str, Callable[[Trial], Ranking]] = {
    "backbone, query and three copies": lambda t: several_crops(_identity(t)),
    "disentangled, query and three copies": lambda t: several_crops(_disentangled(t)),
}

VARIATIONS: dict[str, Mapping[str, Callable[[Trial], Head | Ranking]]] = {
    "baselines": BASELINES,
    "ablations": ABLATIONS,
    "depths": DEPTHS,
    "rankings": RANKINGS,
    "crops": CROPS,
}
