"""Learnt maps from backbone features to an embedding. Plain numpy: serving needs no torch.

A head takes a domain's centre away and applies one square matrix. An untrained head is the identity, so "untrained" equals
"backbone". Each domain has its own centre and may have its own matrix, because real and synthetic images differ in their mean and
in how they vary; the shipped heads share the matrix.
"""

from dataclasses import dataclass

import numpy as np

from aad.spaces import Domain
from aad.vectors import FLOATS, l2_normalise


@dataclass(frozen=True, slots=True)
class Head:
    """``embedding = normalise(weight (feature - centre))``, with centre and weight per domain.

    Attributes:
        centre: per domain, (d,) float32.
        weight: per domain, (k, d) float32; one array for both where the domains share it.
    """

    centre: dict[Domain, np.ndarray]
    weight: dict[Domain, np.ndarray]

    @classmethod
    def identity(cls, d: int) -> "Head":
        """The head that changes nothing.

        >>> Head.identity(2).embed(np.array([[0.6, 0.8]], dtype=np.float32), Domain.REAL).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        return cls(
            dict.fromkeys(Domain, np.zeros(d, np.float32)),
            dict.fromkeys(Domain, np.eye(d, dtype=np.float32)),
        )

    @property
    def dim(self) -> int:
        """Columns that ``embed`` takes."""
        return self.weight[Domain.REAL].shape[1]

    def apply(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """The map alone: (..., d) features of one domain to (..., k) float32 rows of any length."""
        domain = Domain(domain)
        return (features.astype(np.float32) - self.centre[domain]) @ self.weight[domain].T

    def embed(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """Map (n, d) features of one domain to (n, k) float32 embeddings of unit length.

        Raises:
            ValueError: the features do not have ``dim`` columns.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"the head takes (n, {self.dim}) features, got {features.shape}")
        return l2_normalise(self.apply(features, domain))

    def to_tensors(self, name: str) -> dict[str, np.ndarray]:
        """Flat dictionary for a safetensors file.

        ``{name}.{domain}.centre`` in float32; ``{name}.weight`` where both domains share it, else ``{name}.{domain}.weight``, in
        float16, which halves the file and moves a cosine by less than 0.001.
        """
        real, synthetic = self.weight[Domain.REAL], self.weight[Domain.SYNTHETIC]
        if real is synthetic or np.array_equal(real, synthetic):
            weights = {f"{name}.weight": real}
        else:
            weights = {f"{name}.{domain}.weight": self.weight[domain] for domain in Domain}
        halved = {key: np.ascontiguousarray(weight, dtype=np.float16) for key, weight in weights.items()}
        centres = {f"{name}.{d}.centre": np.ascontiguousarray(self.centre[d], dtype=np.float32) for d in Domain}
        return centres | halved

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], name: str) -> "Head":
        """The inverse of ``to_tensors``.

        Raises:
            ValueError: a tensor is missing, or shapes do not fit together, or a value is not finite.
        """
        stem = {d: name if f"{name}.weight" in tensors else f"{name}.{d}" for d in Domain}
        centres = {d: f"{name}.{d}.centre" for d in Domain}
        weights = {d: f"{stem[d]}.weight" for d in Domain}
        wanted = dict.fromkeys([*centres.values(), *weights.values()])
        if missing := [key for key in wanted if key not in tensors]:
            raise ValueError(f"head {name!r} lacks {', '.join(missing)}")
        dim, k = tensors[centres[Domain.REAL]].size, (*tensors[weights[Domain.REAL]].shape, 0)[0]
        for key in wanted:
            shape, found = (dim,) if key.endswith("centre") else (k, dim), tensors[key]
            if found.dtype not in FLOATS:
                raise ValueError(f"{key} must be float16 or float32, got {found.dtype}")
            if found.shape != shape or not np.isfinite(found).all():
                got = found.shape if found.shape != shape else "NaN or infinity"
                raise ValueError(f"{key} must be finite and of shape {shape}, got {got}")
        loaded = {key: tensors[key].astype(np.float32) for key in wanted}
        return cls({d: loaded[centres[d]] for d in Domain}, {d: loaded[weights[d]] for d in Domain})
