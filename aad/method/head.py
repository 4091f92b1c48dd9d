"""Learnt maps from backbone features to an embedding. Plain numpy: serving needs no torch.

A head takes a domain's centre away, maps the few hundred directions in which pictures differ most, and leaves all others as they
are: what tells one picture from the next is spread thinly over those, too thinly to learn a map of them. An untrained head changes
nothing, so "untrained" equals "backbone". Each domain has its own centre, because their means differ; they share the map.
"""

from dataclasses import dataclass

import numpy as np

from aad.spaces import Domain
from aad.vectors import FLOATS, l2_normalise


@dataclass(frozen=True, slots=True)
class Head:
    """``normalise(y + basis' (weight - 1) basis y)`` of ``y = feature - centre``; without a basis ``normalise(weight y)``.

    Attributes:
        centre: per domain, (d,) float32.
        weight: per domain, (r, r) float32, of the leading directions; without a basis (k, d), of all. One array where shared.
        basis: (r, d) float32 with orthonormal rows, the leading directions; None for a dense map.
    """

    centre: dict[Domain, np.ndarray]
    weight: dict[Domain, np.ndarray]
    basis: np.ndarray | None = None

    @classmethod
    def identity(cls, d: int) -> "Head":
        """The head that changes nothing: it has no leading directions.

        >>> Head.identity(2).embed(np.array([[0.6, 0.8]], dtype=np.float32), Domain.REAL).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        centre, weight = np.zeros(d, np.float32), np.zeros((0, 0), np.float32)
        return cls(dict.fromkeys(Domain, centre), dict.fromkeys(Domain, weight), np.zeros((0, d), np.float32))

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
        ``{name}.weight`` where both domains share it, else ``{name}.{domain}.weight``, and ``basis``, one for all heads of a file.
        """
        real, synthetic = self.weight.values()
        shared = real is synthetic or np.array_equal(real, synthetic)
        halved = {f"{name}.weight": real} if shared else {f"{name}.{d}.weight": self.weight[d] for d in Domain}
        halved |= {} if self.basis is None else {"basis": self.basis}
        centres = {f"{name}.{d}.centre": np.ascontiguousarray(self.centre[d], dtype=np.float32) for d in Domain}
        return centres | {key: np.ascontiguousarray(tensor, dtype=np.float16) for key, tensor in halved.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], name: str) -> "Head":
        """The inverse of ``to_tensors``.

        Raises:
            ValueError: a tensor is missing, or shapes do not fit together, or a value is not finite.
        """
        centres, has_basis = {d: f"{name}.{d}.centre" for d in Domain}, "basis" in tensors
        weights = {d: f"{name}.weight" if f"{name}.weight" in tensors else f"{name}.{d}.weight" for d in Domain}
        if missing := [key for key in (*centres.values(), *dict.fromkeys(weights.values())) if key not in tensors]:
            raise ValueError(f"head {name!r} lacks {', '.join(missing)}")
        dim, k = tensors[centres[Domain.REAL]].size, (*tensors[weights[Domain.REAL]].shape, 0)[0]
        wanted = dict.fromkeys(centres.values(), (dim,)) | ({"basis": (k, dim)} if has_basis else {})
        wanted |= dict.fromkeys(weights.values(), (k, k if has_basis else dim))
        for key, shape in wanted.items():
            found = tensors[key]
            if found.dtype not in FLOATS:
                raise ValueError(f"{key} must be float16 or float32, got {found.dtype}")
            if found.shape != shape or not np.isfinite(found).all():
                got = found.shape if found.shape != shape else "NaN or infinity"
                raise ValueError(f"{key} must be finite and of shape {shape}, got {got}")
        loaded = {key: tensors[key].astype(np.float32) for key in wanted}
        centre, weight = ({d: loaded[keys[d]] for d in Domain} for keys in (centres, weights))
        return cls(centre, weight, loaded.get("basis"))
