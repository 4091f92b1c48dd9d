"""What a head is fitted on: features of unpaired images and of views of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aad.spaces import Domain
from aad.vectors import CHUNK, covariance


@dataclass(frozen=True, slots=True)
class Views:
    """Unpaired training data: unit rows of backbone features; ``[:, 0]`` is the image itself, the rest are views of it.

    Attributes:
        real: (n, v, d) float16 or float32.
        synthetic: likewise; n and v may differ.
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
        """``coordinates`` of all views, (n, v, r + d): an array, or what gives the same for an array of image numbers."""
        return coordinates(self.of(domain), centre, basis)


def coordinates(rows: np.ndarray, centre: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(..., d) rows about a (d,) centre: first along the r directions of an orthonormal (r, d) basis, then all outside of them.

    Returns:
        (..., r + d) float32. Products of rows are those of the centred ones, and a map of the directions maps the first r columns.
    """
    (r, d), flat = basis.shape, rows.reshape(-1, rows.shape[-1])
    found = np.empty((len(flat), r + d), np.float32)
    for part in (slice(start, start + CHUNK) for start in range(0, len(flat), CHUNK)):
        moved = flat[part].astype(np.float32) - centre
        found[part, :r] = moved @ basis.T
        found[part, r:] = moved - found[part, :r] @ basis
    return found.reshape(*rows.shape[:-1], r + d)
