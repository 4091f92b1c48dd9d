"""Views that do not fit into memory: read once for their means and covariances, then a batch at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aad.method import Views
from aad.method.views import coordinates
from aad.spaces import Domain
from aad.vectors import covariance

CHUNK = 512  # images read at a time from disk: 512 x 5 views x 768 numbers are 16 MB in float64


class StoredViews(Views):
    """``Views`` of stored rows, measured when it is made; of the same images it gives the same head but for rounding.

    Args:
        real: (n, v, d) views of real images that stay where they are stored: they have a ``shape``, and are read, as float32, where
            they are indexed with a slice or image numbers.
        synthetic: views of synthetic images, likewise.
        progress: called with the number of images read after each chunk.

    Raises:
        ValueError: as ``Views``, or a value that is not finite.
    """

    __slots__ = ("_moments",)
    _moments: dict[Domain, tuple[np.ndarray, np.ndarray]]

    def __init__(self, real: Any, synthetic: Any, progress: Callable[[int], object] | None = None) -> None:
        super().__init__(real, synthetic)
        moments = {domain: streamed_moments(_chunks(self.of(domain), progress)) for domain in Domain}
        object.__setattr__(self, "_moments", moments)

    def centre(self, domain: Domain) -> np.ndarray:
        """Mean of the images themselves, (d,) float32."""
        return self._moments[domain][0].astype(np.float32)

    def spread(self, domain: Domain) -> np.ndarray:
        """Covariance of all views, (d, d) float64."""
        return self._moments[domain][1]

    def moved(self, domain: Domain, centre: np.ndarray, basis: np.ndarray) -> "Moved":
        """As of ``Views``, computed for the images that are asked for when they are."""
        return Moved(self.of(domain), centre, basis)


@dataclass(frozen=True, slots=True)
class Moved:
    """Stored rows that come to other coordinates when a batch is drawn."""

    rows: Any
    centre: np.ndarray
    basis: np.ndarray

    def __len__(self) -> int:
        return self.rows.shape[0]

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        return coordinates(self.rows[chosen], self.centre, self.basis)


def streamed_moments(chunks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of ``[:, 0]`` and covariance of all rows of (m, v, d) chunks, read once: (d,) and (d, d), float64.

    Each chunk is centred on its own mean before it is squared, so that nothing cancels where means are large.

    References:
        Chan, Golub and LeVeque, The American Statistician 37(3), 1983, for joining the moments of two sets.

    >>> whole = np.array([[[0.0], [1.0]], [[2.0], [5.0]]])
    >>> [part.tolist() for part in streamed_moments([whole[:1], whole[1:]])] == [[1.0], covariance(whole).tolist()]
    True

    Raises:
        ValueError: no rows at all, or a value that is not finite.
    """
    n_images, n_rows, first, mean, scatter = 0, 0, np.zeros(()), np.zeros(()), np.zeros(())
    for chunk in chunks:
        if not chunk.size:
            continue
        flat = chunk.reshape(-1, chunk.shape[-1])
        if not np.isfinite(flat).all():
            raise ValueError(f"moments need finite values, got others among the {len(chunk)} images after {n_images:,}")
        own, n_images, n_rows = flat.mean(0, dtype=np.float64), n_images + len(chunk), n_rows + len(flat)
        moved = own - mean
        mean = mean + moved * (len(flat) / n_rows)
        scatter = scatter + covariance(flat) * len(flat) + np.outer(moved, own - mean) * len(flat)
        first = first + chunk[:, 0].sum(0, dtype=np.float64)
    if not n_rows:
        raise ValueError("moments need at least one row")
    return first / n_images, scatter / n_rows


def _chunks(rows: Any, progress: Callable[[int], object] | None) -> Iterator[np.ndarray]:
    for start in range(0, rows.shape[0], CHUNK):
        chunk = rows[start : start + CHUNK]
        yield chunk
        if progress:
            progress(len(chunk))
