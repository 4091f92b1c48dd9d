"""Learnt linear maps from backbone features to an embedding, one map per domain. Plain numpy: serving needs no torch.

An untrained square head is the identity with no offset, so "untrained" equals "backbone". The aligned head has the same map
for both domains; the disentangled head has one map for each, because real and synthetic images differ in how they vary.
"""

from dataclasses import dataclass

import numpy as np

from aad.backbones import l2_normalise
from aad.spaces import Domain


@dataclass(frozen=True, slots=True)
class LinearHead:
    """``embedding = normalise(weight[domain] @ (feature - centre[domain]))``.

    Attributes:
        weight: per domain, (d, d_feature) float32.
        centre: per domain, (d_feature,) float32, subtracted first.
    """

    weight: dict[Domain, np.ndarray]
    centre: dict[Domain, np.ndarray]

    @classmethod
    def identity(cls, d_feature: int) -> "LinearHead":
        """The head that changes nothing.

        >>> head = LinearHead.identity(2)
        >>> head.embed(np.array([[0.6, 0.8]], dtype=np.float32), Domain.REAL).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        eye, zero = np.eye(d_feature, dtype=np.float32), np.zeros(d_feature, np.float32)
        return cls(dict.fromkeys(Domain, eye), dict.fromkeys(Domain, zero))

    @property
    def d_feature(self) -> int:
        """Columns that ``embed`` takes."""
        return self.weight[Domain.REAL].shape[1]

    @property
    def dim(self) -> int:
        """Columns that ``embed`` gives."""
        return self.weight[Domain.REAL].shape[0]

    def embed(self, features: np.ndarray, domain: Domain | str) -> np.ndarray:
        """Map (n, d_feature) features of one domain to (n, d) float32 embeddings of unit length.

        Raises:
            ValueError: the features do not have ``d_feature`` columns.
        """
        domain = Domain(domain)
        if features.ndim != 2 or features.shape[1] != self.d_feature:
            raise ValueError(f"the head takes (n, {self.d_feature}) features, got {features.shape}")
        return l2_normalise((features.astype(np.float32) - self.centre[domain]) @ self.weight[domain].T)

    def to_tensors(self, name: str) -> dict[str, np.ndarray]:
        """Flat dictionary for a safetensors file: ``{name}.{domain}.weight`` and ``.centre``."""
        return {
            f"{name}.{domain}.{part}": np.ascontiguousarray(values[domain], dtype=np.float32)
            for domain in Domain
            for part, values in (("weight", self.weight), ("centre", self.centre))
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], name: str) -> "LinearHead":
        """The inverse of ``to_tensors``.

        Raises:
            KeyError: a tensor is missing.
            ValueError: shapes do not fit together.
        """
        head = cls(
            {domain: tensors[f"{name}.{domain}.weight"].astype(np.float32) for domain in Domain},
            {domain: tensors[f"{name}.{domain}.centre"].astype(np.float32) for domain in Domain},
        )
        shape = head.weight[Domain.REAL].shape
        for domain in Domain:
            if head.weight[domain].shape != shape or head.centre[domain].shape != shape[1:]:
                raise ValueError(
                    f"head {name!r}: expected weight {shape} and centre {shape[1:]} in both domains, got "
                    f"{head.weight[domain].shape} and {head.centre[domain].shape} for {domain}"
                )
        return head
