"""Learnt maps from backbone features to an embedding. Plain numpy: serving needs no torch.

A head stays near the identity: it keeps every feature and changes only how the features mix within a small basis. An untrained
head is the identity, so "untrained" equals "backbone". Each domain has its own centre, and may have its own map, because real
and synthetic images differ in their mean and in how they vary.
"""

from dataclasses import dataclass

import numpy as np

from aad.artifacts import Bundle
from aad.backbones import l2_normalise
from aad.spaces import Domain, Space


@dataclass(frozen=True, slots=True)
class Head:
    """``embedding = normalise((gain I + basis^T core basis) (feature - centre))``, with centre, gain and core per domain.

    Attributes:
        basis: (r, d) float32, orthonormal rows shared by both domains; r is the rank of the change.
        centre: per domain, (d,) float32.
        gain: per domain, scalar; how much of the feature passes unmixed.
        core: per domain, (r, r) float32.
    """

    basis: np.ndarray
    centre: dict[Domain, np.ndarray]
    gain: dict[Domain, float]
    core: dict[Domain, np.ndarray]

    @classmethod
    def identity(cls, d: int) -> "Head":
        """The head that changes nothing.

        >>> Head.identity(2).embed(np.array([[0.6, 0.8]], dtype=np.float32), Domain.REAL).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        zero, empty = np.zeros(d, np.float32), np.zeros((0, 0), np.float32)
        return cls(
            np.zeros((0, d), np.float32),
            dict.fromkeys(Domain, zero),
            dict.fromkeys(Domain, 1.0),
            dict.fromkeys(Domain, empty),
        )

    @property
    def dim(self) -> int:
        """Columns that ``embed`` takes and gives."""
        return self.basis.shape[1]

    def apply(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """The map alone: (..., d) features of one domain to (..., d) float32 rows of any length, as training needs them."""
        domain = Domain(domain)
        centred = features.astype(np.float32) - self.centre[domain]
        mixed = (centred @ self.basis.T) @ self.core[domain].T @ self.basis
        return np.float32(self.gain[domain]) * centred + mixed

    def embed(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """Map (n, d) features of one domain to (n, d) float32 embeddings of unit length.

        Raises:
            ValueError: the features do not have ``dim`` columns.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"the head takes (n, {self.dim}) features, got {features.shape}")
        return l2_normalise(self.apply(features, domain))

    def to_tensors(self, name: str) -> dict[str, np.ndarray]:
        """Flat dictionary for a safetensors file: ``{name}.basis`` and ``{name}.{domain}.centre``, ``.gain``, ``.core``."""
        tensors = {f"{name}.basis": np.ascontiguousarray(self.basis, dtype=np.float32)}
        for domain in Domain:
            tensors[f"{name}.{domain}.centre"] = np.ascontiguousarray(self.centre[domain], dtype=np.float32)
            tensors[f"{name}.{domain}.gain"] = np.array([self.gain[domain]], dtype=np.float32)
            tensors[f"{name}.{domain}.core"] = np.ascontiguousarray(self.core[domain], dtype=np.float32)
        return tensors

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], name: str) -> "Head":
        """The inverse of ``to_tensors``.

        Raises:
            ValueError: a tensor is missing, or shapes do not fit together, or a value is not finite.
        """
        wanted = [
            f"{name}.basis",
            *(f"{name}.{domain}.{part}" for domain in Domain for part in ("centre", "gain", "core")),
        ]
        missing = [key for key in wanted if key not in tensors]
        if missing:
            raise ValueError(f"head {name!r} lacks {', '.join(missing)}")
        rank, d = tensors[f"{name}.basis"].shape
        shapes = {"basis": (rank, d), "centre": (d,), "gain": (1,), "core": (rank, rank)}
        for key in wanted:
            shape = shapes[key.rsplit(".", 1)[1]]
            if tensors[key].shape != shape or not np.isfinite(tensors[key]).all():
                raise ValueError(f"{key} must be finite and of shape {shape}, got {tensors[key].shape}")
        return cls(
            tensors[f"{name}.basis"],
            {domain: tensors[f"{name}.{domain}.centre"] for domain in Domain},
            {domain: float(tensors[f"{name}.{domain}.gain"][0]) for domain in Domain},
            {domain: tensors[f"{name}.{domain}.core"] for domain in Domain},
        )


def read_heads(bundle: Bundle) -> dict[Space, Head]:
    """The heads of all three spaces; the backbone's changes nothing.

    Raises:
        BundleError: the file is missing, damaged, or not for this backbone.
    """
    dim, tensors = bundle.manifest["backbone"]["dim"], bundle.read_tensors("heads.safetensors")
    heads = {Space.BACKBONE: Head.identity(dim)}
    for space in (Space.ALIGNED, Space.DISENTANGLED):
        try:
            heads[space] = Head.from_tensors(tensors, space)
        except ValueError as error:
            raise bundle.refusal("heads.safetensors", f"does not hold the heads ({error})") from None
        if heads[space].dim != dim:
            raise bundle.refusal("heads.safetensors", f"is for {heads[space].dim} features, the backbone gives {dim}")
    return heads
