"""What the three spaces amount to: whether a source was found, and which.

The first answer of the disentangled space is judged against its rivals, by what carries over to a gallery that this was never
fitted on: how alike it is in each space, how far the next concept falls behind there, and in how many of the other spaces it stands
first. Eight numbers, a logistic regression; ``precompute.fit_verdict`` fits and measures them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aad.spaces import SPACES, Space

N_RIVALS = 20  # first answers of each space that are looked at
FOUND, POSSIBLE = 0.7, 0.3  # probabilities from which a source counts as found, and as possible
FAR, NEAR = 0.1, 0.02  # cosine, lead over the next concept in the disentangled space that is worth telling
TERMS = (*(f"{name}_{space}" for name in ("similarity", "lead") for space in SPACES), "agreement")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in one piece.

    Attributes:
        level: ``found``, ``possible`` or ``none``.
        reference_id: what is named; None where the level is ``none``.
        probability: in [0, 1], that this reference, another of its concept, or a copy of it is a true source.
        reasons: of ``near-copy``, ``spaces-agree``, ``spaces-differ``, ``far-ahead`` and ``close-rivals``.
    """

    level: str
    reference_id: int | None
    probability: float
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"level": self.level, "reference": self.reference_id, "probability": round(self.probability, 3),
                "reasons": list(self.reasons)}  # fmt: skip


def evidence(
    ids: Mapping[Space, np.ndarray], similarities: Mapping[Space, np.ndarray], kin: np.ndarray | Sequence[int]
) -> np.ndarray:
    """The quantities that the first answer of the disentangled space is judged by.

    Args:
        ids: of the first answers of each space, best first, at least one each.
        similarities: of these, cosine.
        kin: ids that count as one with the first answer, itself among them: of its concept, or copies.

    Returns:
        (7,) float64, as ``TERMS`` names them. What is not among the first answers of a space is as alike as the last of them.

    >>> ids, alike = {space: np.array([4, 7]) for space in SPACES}, {space: np.array([0.75, 0.5]) for space in SPACES}
    >>> evidence(ids, alike, [4])
    array([0.75, 0.75, 0.75, 0.25, 0.25, 0.25, 2.  ])
    """
    alike, leads, agreement = [], [], 0
    for space in SPACES:
        own, values = np.isin(ids[space], kin), similarities[space].astype(np.float64)
        alike.append(values[own].max() if own.any() else values[-1])
        leads.append(alike[-1] - (values[~own].max() if not own.all() else values[-1]))
        agreement += bool(own[0])
    return np.array([*alike, *leads, agreement - 1])


@dataclass(frozen=True, slots=True)
class Judge:
    """The fitted numbers: ``probability = 1 / (1 + exp(-(weights . terms + bias)))``.

    Attributes:
        weights: of each of ``TERMS``.
        bias: the logit where all are zero.
    """

    weights: Mapping[str, float]
    bias: float

    def probability(self, terms: np.ndarray) -> float:
        """Of (7,) terms."""
        logit = self.bias + sum(self.weights[name] * value for name, value in zip(TERMS, terms.tolist(), strict=True))
        return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))

    def verdict(self, named: int, terms: np.ndarray, is_copy: bool) -> Verdict:
        """What is said of a reference; ``is_copy`` where the query is this picture, or nearly."""
        probability = 1.0 if is_copy else self.probability(terms)
        level = "found" if probability >= FOUND else "possible" if probability >= POSSIBLE else "none"
        lead, agreement = terms[TERMS.index(f"lead_{Space.DISENTANGLED}")], terms[-1]
        told = {
            "near-copy": is_copy,
            "spaces-agree": agreement == len(SPACES) - 1,
            "spaces-differ": agreement == 0,
            "far-ahead": lead >= FAR,
            "close-rivals": lead < NEAR,
        }
        reasons = tuple(reason for reason, holds in told.items() if holds)
        return Verdict(level, None if level == "none" else named, probability, reasons)
