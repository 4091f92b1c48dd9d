"""Learnt maps from backbone features to an embedding. Plain numpy: serving needs no torch.

A head takes a domain's centre away, maps the few hundred directions in which pictures differ most, and leaves all others as they
are: what tells one picture from the next is spread thinly over those others, and no training set is large enough to learn a map of
them. An untrained head changes nothing, so "untrained" equals "backbone". Each domain has its own centre, because real and synthetic
images differ in their mean; the domains share the map.
"""

from dataclasses import dataclass

import numpy as np

from aad.spaces import Domain
from aad.vectors import FLOATS, l2_normalise


@dataclass(frozen=True, slots=True)
class Head:
    """``embedding = normalise(y + basis' (weight - 1) basis y)`` of ``y = feature - centre``; without a basis ``normalise(weight y)``.

    Attributes:
        centre: per domain, (d,) float32.
        weight: per domain, (r, r) float32, the map of the leading directions; without a basis (k, d), of all. One array for both
            where the domains share it.
        basis: (r, d) float32 with orthonormal rows, the leading directions; None for a dense map.
    """

    centre: dict[Domain, np.ndarray]
    weight: dict[Domain, np.ndarray]
    basis: np.ndarray | None = None

    @classmethod
    def identity(cls, d: int) -> "Head":
        """The head that changes nothing: it has no leading direction.

        >>> Head.identity(2).embed(np.array([[0.6, 0.8]], dtype=np.float32), Domain.REAL).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        nothing = np.zeros((0, 0), np.float32)
        return cls(dict.fromkeys(Domain, np.zeros(d, np.float32)), dict.fromkeys(Domain, nothing), np.zeros((0, d), np.float32))

    @property
    def dim(self) -> int:
        """Columns that ``embed`` takes, d."""
        return self.centre[Domain.REAL].size

    @property
    def n_out(self) -> int:
        """Columns that ``embed`` gives: d, or k of a dense map."""
        return self.dim if self.basis is not None else len(self.weight[Domain.REAL])

    def apply(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """The map alone: (..., d) features of one domain to (..., n_out) float32 rows of any length."""
        domain = Domain(domain)
        moved = features.astype(np.float32) - self.centre[domain]
        if self.basis is None:
            return moved @ self.weight[domain].T
        leading = moved @ self.basis.T
        return moved + (leading @ self.weight[domain].T - leading) @ self.basis

    def embed(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """Map (n, d) features of one domain to (n, n_out) float32 embeddings of unit length.

        Raises:
            ValueError: the features do not have ``dim`` columns.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"the head takes (n, {self.dim}) features, got {features.shape}")
        return l2_normalise(self.apply(features, domain))

    def to_tensors(self, name: str) -> dict[str, np.ndarray]:
        """Flat dictionary for a safetensors file.

        ``{name}.{domain}.centre`` in float32; in float16, which halves the file and moves a cosine by less than 0.001,
        ``{name}.weight`` where both domains share it, else ``{name}.{domain}.weight``; and ``basis``, which the heads of a file share.
        """
        real, synthetic = self.weight[Domain.REAL], self.weight[Domain.SYNTHETIC]
        if real is synthetic or np.array_equal(real, synthetic):
            weights = {f"{name}.weight": real}
        else:
            weights = {f"{name}.{domain}.weight": self.weight[domain] for domain in Domain}
        if self.basis is not None:
            weights["basis"] = self.basis
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
        basis = ["basis"] * ("basis" in tensors)
        wanted = dict.fromkeys([*centres.values(), *weights.values(), *basis])
        if missing := [key for key in wanted if key not in tensors]:
            raise ValueError(f"head {name!r} lacks {', '.join(missing)}")
        dim, k = tensors[centres[Domain.REAL]].size, (*tensors[weights[Domain.REAL]].shape, 0)[0]
        shapes = dict.fromkeys(weights.values(), (k, k if basis else dim)) | dict.fromkeys(basis, (k, dim))
        for key in wanted:
            shape, found = shapes.get(key, (dim,)), tensors[key]
            if found.dtype not in FLOATS:
                raise ValueError(f"{key} must be float16 or float32, got {found.dtype}")
            if found.shape != shape or not np.isfinite(found).all():
                got = found.shape if found.shape != shape else "NaN or infinity"
                raise ValueError(f"{key} must be finite and of shape {shape}, got {got}")
        loaded = {key: tensors[key].astype(np.float32) for key in wanted}
        return cls({d: loaded[centres[d]] for d in Domain}, {d: loaded[weights[d]] for d in Domain}, loaded.get("basis"))
