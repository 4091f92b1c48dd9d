"""Does a query look like a plain photograph, or unlike every synthetic image seen? A hint, never a verdict.

Two questions in the backbone space, where the way of rendering is still loud (alignment is taught to forget it: fitted there,
the discriminant does worse):

- *Photograph*: a linear discriminant (Fisher) between the bundle's references and its synthetic queries, test rows left out.
  It speaks above the score that 5 % of synthetic queries reach, each scored by a fit that never saw its concept.
- *Unfamiliar*: the cosine to the nearest synthetic image seen. It speaks below what 1 % of synthetic queries show to those of
  other concepts.

On the demo's test concepts it takes 86 % of 238 references for photographs, and wrongly 4 % of 869 synthetic queries:
14 % of those of `photometric`, which are nearly photographs, 4 % of `arbitrary_style` and 1 % of `multistyle26`. A generator
that the fit never saw fares worse: 22 % (multistyle26), 5 % (arbitrary_style) and 87 % (photometric) are taken for photographs.
`python -m precompute.measure_domain` prints the table.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aad.method.whitening import shrunk

SHRINKAGE = 0.3  # of the within-class covariance: fewer images than dimensions; 0.1 to 0.5 do as well
FALSE_ALARMS = 0.05  # share of known synthetic images that may be called photographs
STRANGERS = 0.01  # share of known synthetic images that may be called unfamiliar
N_FOLDS = 4
N_ROWS = 4000  # of each kind are enough for one direction, and keep a large gallery's fit within seconds
N_LEAST = 60  # of each kind, below which there is nothing to tell apart


@dataclass(frozen=True, slots=True)
class DomainHint:
    """What a query looks like.

    Attributes:
        photograph: whether it looks more like the references than nearly all known synthetic images do.
        unfamiliar: whether it is far from every synthetic image seen.
        score: the discriminant; -1 is the mean synthetic image, 1 the mean reference.
        nearest: cosine to the nearest synthetic image seen.
    """

    photograph: bool
    unfamiliar: bool
    score: float
    nearest: float


@dataclass(frozen=True, slots=True)
class DomainModel:
    """The fitted discriminant and the synthetic images it knows.

    Attributes:
        weight: (d,) direction from synthetic to real.
        offset: added to the projection, so that the class means score -1 and 1.
        photograph_above: score from which a query is called a photograph.
        seen: (m, d) unit features of the synthetic images seen.
        unfamiliar_below: cosine to the nearest of them below which a query is called unfamiliar.
    """

    weight: np.ndarray
    offset: float
    photograph_above: float
    seen: np.ndarray
    unfamiliar_below: float

    def judge(self, features: np.ndarray) -> list[DomainHint]:
        """One hint for each of (m, d) unit backbone features."""
        scores = features @ self.weight + self.offset
        nearest = (features @ self.seen.T).max(1)
        return [
            DomainHint(
                bool(score > self.photograph_above), bool(near < self.unfamiliar_below), float(score), float(near)
            )
            for score, near in zip(scores, nearest, strict=True)
        ]

    def share_of_photographs(self, features: np.ndarray) -> float:
        """Share of (m, d) unit features that are called photographs."""
        return float((features @ self.weight + self.offset > self.photograph_above).mean())


def fit_domain(
    real: np.ndarray, synthetic: np.ndarray, real_concepts: Sequence[str], synthetic_concepts: Sequence[str]
) -> DomainModel | None:
    """Fit the discriminant and both thresholds.

    Args:
        real: (n, d) unit features of references.
        synthetic: (m, d) unit features of synthetic images.
        real_concepts: (n,) what each shows; a concept is never on both sides of a fold.
        synthetic_concepts: (m,) likewise.

    Returns:
        The model, or None where there are too few images of a kind, or too few concepts, to say anything.
    """
    real, real_fold, _ = _drawn(real, real_concepts)
    synthetic, synthetic_fold, concepts = _drawn(synthetic, synthetic_concepts)
    for folds in (real_fold, synthetic_fold):
        if len(folds) < N_LEAST or np.bincount(folds, minlength=N_FOLDS).max() > len(folds) / 2:
            return None
    held_out = np.empty(len(synthetic))
    for fold in range(N_FOLDS):
        weight, offset = _discriminant(real[real_fold != fold], synthetic[synthetic_fold != fold])
        held_out[synthetic_fold == fold] = synthetic[synthetic_fold == fold] @ weight + offset
    weight, offset = _discriminant(real, synthetic)
    similarity = synthetic @ synthetic.T
    similarity[
        concepts[:, None] == concepts[None, :]
    ] = -1  # its siblings from the same source would make all look familiar
    return DomainModel(
        weight,
        offset,
        float(np.quantile(held_out, 1 - FALSE_ALARMS)),
        synthetic,
        float(np.quantile(similarity.max(1), STRANGERS)),
    )


def sample(n: int) -> np.ndarray:
    """Ascending rows out of n, at most `N_ROWS`: those that ``fit_domain`` looks at, so that only they need be read."""
    if n <= N_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, N_ROWS, replace=False))


def _drawn(features: np.ndarray, concepts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most `N_ROWS` of the rows, float32, with the fold and the number of each one's concept."""
    _, numbers = np.unique(np.asarray(concepts, dtype=str), return_inverse=True)
    folds = np.array([zlib.crc32(concept.encode()) % N_FOLDS for concept in concepts], dtype=np.int64)
    rows = sample(len(features))
    return features[rows].astype(np.float32), folds[rows], numbers[rows]


def _discriminant(real: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, float]:
    """Fisher's direction, scaled so that the means of the two kinds score 1 and -1."""
    means = real.mean(0, dtype=np.float64), synthetic.mean(0, dtype=np.float64)
    # each kind's own scatter counts the same, however many images there are of it
    within = (_scatter(real, means[0]) + _scatter(synthetic, means[1])) / 2
    weight = np.linalg.solve(shrunk(within, SHRINKAGE), means[0] - means[1])
    weight *= 2 / (weight @ (means[0] - means[1]))
    return weight.astype(np.float32), -float(weight @ (means[0] + means[1])) / 2


def _scatter(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    centred = rows - mean.astype(
        np.float32
    )  # single precision halves the longest step and is far finer than the shrinkage
    return (centred.T @ centred).astype(np.float64) / len(rows)
