"""What a head is fitted on: features of unpaired images and of views of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aad.spaces import Domain
from aad.vectors import covariance


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
        for name, rows in (("real", self.real), ("synthetic", self.synthetic)):
            if len(rows.shape) != 3 or rows.shape[1] < 2 or rows.shape[2] != self.real.shape[2]:
                raise ValueError(f"{name} views must be (n, v >= 2, d) with one d for both domains, got {rows.shape}")
            if rows.shape[0] < 2:
                raise ValueError(f"training needs at least two images of each domain, got {rows.shape[0]} {name}")

    def of(self, domain: Domain) -> np.ndarray:
        """The (n, v, d) views of one domain."""
        return self.real if domain == Domain.REAL else self.synthetic

    def centre(self, domain: Domain) -> np.ndarray:
        """Mean of the images themselves, (d,) float32."""
        return self.of(domain)[:, 0].mean(0).astype(np.float32)

    def spread(self, domain: Domain) -> np.ndarray:
        """Covariance of all views, (d, d) float64."""
        return covariance(self.of(domain))

    def moved(self, domain: Domain, centre: np.ndarray, matrix: np.ndarray) -> Any:
        """``matrix (view - centre)`` of all views, (n, v, d): an array, or what gives the same for an array of image numbers."""
        return (self.of(domain) - centre) @ matrix.T
