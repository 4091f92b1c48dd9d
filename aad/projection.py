"""UMAP maps of the three spaces on one shared frame, fitted offline; a new query is placed from its neighbours.

The three spaces are fitted together by AlignedUMAP, which holds each reference near one place in all three maps, so that what
moves between maps moved in the embedding. AlignedUMAP cannot place a new point; ``place_query`` puts it at the weighted mean of
its nearest references, which is deterministic and needs no umap in the server.
"""

from collections.abc import Mapping

import numpy as np

from aad.spaces import Space

N_PLACING = 5  # neighbours that place a query; more pull it towards the middle of the map


def fit_maps(embeddings: Mapping[Space, np.ndarray], n_neighbors: int = 20, seed: int = 0) -> dict[Space, np.ndarray]:
    """Coordinates of the references in every space.

    Args:
        embeddings: per space, (n, d) unit rows of the same n references in the same order.
        n_neighbors: UMAP's neighbourhood; smaller keeps more near neighbours, but lets islands drift off and shrink the rest.
        seed: makes the result the same on every run (and single-threaded).

    Returns:
        Per space, (n, 2) float32 in [0, 1], one scale and shift for all of them.

    Raises:
        ValueError: no references, or unequal numbers.

    References:
        McInnes, Healy, Melville, arXiv:1802.03426; AlignedUMAP of umap-learn 0.5.
    """
    counts = {len(rows) for rows in embeddings.values()}
    if len(counts) != 1 or min(counts) < 1:
        raise ValueError(f"maps need the same references in every space, and at least one, got {sorted(counts)}")
    n = counts.pop()
    if n < 16:  # too few for UMAP's neighbour graph; the two main directions of each space say as much
        return _shared_frame({space: _principal_plane(rows) for space, rows in embeddings.items()})
    from umap import AlignedUMAP

    spaces = list(embeddings)
    same = [{i: i for i in range(n)} for _ in spaces[1:]]
    fitted = AlignedUMAP(n_neighbors=min(n_neighbors, n - 1), metric="cosine", random_state=seed).fit(
        [embeddings[space] for space in spaces], relations=same
    )
    return _shared_frame({space: np.asarray(rows) for space, rows in zip(spaces, fitted.embeddings_, strict=True)})


def _principal_plane(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(rows), 2))
    plane[:, : len(scale[:2])] = left[:, :2] * scale[:2]
    return plane * np.where(plane.sum(0) < 0, -1, 1)  # a singular vector's sign is arbitrary; fix it


def _shared_frame(maps: dict[Space, np.ndarray]) -> dict[Space, np.ndarray]:
    """All maps into [0.03, 0.97] squared by one scale and shift, keeping the aspect."""
    points = np.concatenate(list(maps.values()))
    low, high = points.min(0), points.max(0)
    scale = 0.94 / max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    return {space: ((rows - middle) * scale + 0.5).astype(np.float32) for space, rows in maps.items()}


def place_query(coordinates: np.ndarray, ids: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Where a query goes: the weighted mean of its nearest references' places.

    Args:
        coordinates: (n, 2) places of the references.
        ids: reference ids, nearest first; the first ``N_PLACING`` are used.
        weights: their attribution weights, not all zero.

    >>> place_query(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), np.array([0.25, 0.25]))
    (0.5, 0.0)
    """
    ids, weights = ids[:N_PLACING], np.asarray(weights[:N_PLACING], dtype=np.float64)
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(len(ids), 1 / len(ids))
    x, y = shares @ coordinates[ids]
    return float(x), float(y)
