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
        real: (n_r, v_r, d) float16 or float32.
        synthetic: (n_s, v_s, d), likewise.
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
        return self.of(domain)[:, 0].mean(0, dtype=np.float64).astype(np.float32)

    def spread(self, domain: Domain) -> np.ndarray:
        """Covariance of all views, (d, d) float64."""
        return covariance(self.of(domain))

    def moved(self, domain: Domain, centre: np.ndarray, basis: np.ndarray) -> Any:
        """All views as ``coordinates`` says, (n, v, r + d): an array, or what gives the same for an array of image numbers."""
        return coordinates(self.of(domain), centre, basis)


def coordinates(rows: np.ndarray, centre: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Rows about a centre: first along r orthonormal directions, then all that lies outside of them.

    Args:
        rows: (..., d).
        centre: (d,).
        basis: (r, d).

    Returns:
        (..., r + d) float32. Products between rows are those of the centred rows, and a map of the directions maps the first r columns.
    """
    moved = rows.astype(np.float32) - centre
    leading = moved @ basis.T
    return np.concatenate([leading, moved - leading @ basis], axis=-1)
