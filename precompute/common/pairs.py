"""Matched images of a bundle: which query came from which reference. For measuring and for supervised baselines only."""

from dataclasses import dataclass

import numpy as np

from aad.bundle import Bundle, BundleError
from aad.spaces import Domain


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matched images of one split.

    Attributes:
        source_ids: (n,) the reference that each query came from.
        features: per domain, (n, d) backbone features, matched row by row.
    """

    source_ids: np.ndarray
    features: dict[Domain, np.ndarray]

    @property
    def n_sources(self) -> int:
        """Different references among the pairs."""
        return len(np.unique(self.source_ids))

    def distinct(self, rows: np.ndarray, domain: Domain) -> np.ndarray:
        """The rows of different images: a source with several queries counts once."""
        return rows[np.unique(self.source_ids, return_index=True)[1]] if domain == Domain.REAL else rows


def read_pairs(bundle: Bundle, split: str, n_sources: int) -> Pairs:
    """Queries of a split with exactly one known source, and that source.

    Raises:
        BundleError: not more than ``n_sources`` different sources.
    """
    dim = bundle.manifest["backbone"]["dim"]
    references = bundle.read_array("references_backbone.npy", (None, dim))
    queries = bundle.read_array("queries_backbone.npy", (None, dim))
    sources = {
        i: query["exemplar_ids"][0]
        for i, query in enumerate(bundle.read_json("queries.json"))
        if query.get("split") == split and len(query["exemplar_ids"]) == 1
    }
    source_ids = np.array(list(sources.values()), dtype=np.int64)
    pairs = Pairs(source_ids, {Domain.REAL: references[source_ids], Domain.SYNTHETIC: queries[list(sources)]})
    if pairs.n_sources <= n_sources:
        raise BundleError(
            f"known pairs are needed here: more than {n_sources} different sources of {split} queries are required, "
            f"{bundle.folder} has {pairs.n_sources}; a benchmark such as the demo has them"
        )
    return pairs
