"""From similarity to attribution weight: a share of the query for each reference, and a remainder for "none of these".

One softmax over the gallery and one extra option, "no reference explains this image", with a fixed logit:

    weight_i  = exp(beta * s_i) / (sum_j exp(beta * s_j) + exp(gamma))
    remainder = exp(gamma)      / (sum_j exp(beta * s_j) + exp(gamma))

``beta`` (inverse temperature) and ``gamma`` (null logit) are fitted per space on validation queries by maximum likelihood, each
query seen once with its source in the gallery and once with every reference of its concept taken out. The remainder therefore
assumes even odds that the source is in the gallery at all; where sources are rarer it is too small.

How this differs from AbC (Wang et al., ICCV 2023, equation 7): their weight is ``relu(exp(.) + bias)`` normalised over the gallery
with no option for "none", fitted to training pairs.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Calibration:
    """Two numbers per space.

    Attributes:
        inverse_temperature: ``beta``, per unit of cosine.
        null_logit: ``gamma``, the logit of "none of these".
    """

    inverse_temperature: float
    null_logit: float

    def shares(self, similarities: np.ndarray, log_mass: float) -> tuple[np.ndarray, float]:
        """Attribution weights of some references of one query, of which the mass of the whole gallery is known.

        Args:
            similarities: (k,) cosine to these references.
            log_mass: log of the sum of ``exp(beta * s)`` over the gallery; not below what these references have alone.

        Returns:
            (k,) float64 weights and the remainder; over the whole gallery they sum to 1.

        >>> weights, remainder = Calibration(10.0, 5.0).shares(np.array([0.5]), np.log(2) + 5.0)
        >>> weights.round(3).tolist(), round(remainder, 3)
        ([0.333], 0.333)
        """
        total = np.logaddexp(log_mass, self.null_logit)
        weights = np.exp(self.inverse_temperature * similarities.astype(np.float64) - total)
        return weights, float(np.exp(self.null_logit - total))

    def log_mass(self, similarities: np.ndarray) -> float:
        """Log of the sum of ``exp(beta * s)``; minus infinity for none."""
        return float(np.logaddexp.reduce(self.inverse_temperature * similarities.astype(np.float64), initial=-np.inf))
