"""UMAP maps of the three spaces on one shared frame; of a large gallery on a sample, between which the other references are placed.

The three spaces are fitted together by AlignedUMAP, which holds each reference near one place in all three maps, so that what
moves between maps moved in the embedding.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from aad.attribution import N_PLACING
from aad.search import ExactIndex
from aad.spaces import Space
from precompute.common.store import write_arrays

if TYPE_CHECKING:
    from aad.scale.stored import StoredRows

N_FITTED = 20_000  # references that UMAP is fitted on: some minutes; its time grows faster than their number
N_MEASURED = 2_000  # references on which the faithfulness of a larger map is measured, each against all others
N_NEAR = 10  # neighbours by which a map's faithfulness is told
N_PLACED = 4_096  # references placed at a time; 320 MB of similarities to those fitted


def fit_maps(embeddings: Mapping[Space, np.ndarray], n_neighbors: int = 20, seed: int = 0) -> dict[Space, np.ndarray]:
    """Coordinates of the references in every space.

    Args:
        embeddings: per space, (n, d) unit rows of the same n references in the same order.
        n_neighbors: UMAP's neighbourhood; smaller keeps more near neighbours, but lets islands drift off and shrink the rest.
        seed: makes the result the same on every run (and single-threaded).

    Returns:
        Per space, (n, 2) float32 in [0, 1], one scale and shift for all of them.

    References:
        McInnes, Healy, Melville, arXiv:1802.03426; AlignedUMAP of umap-learn 0.5.
    """
    n = len(embeddings[Space.BACKBONE])
    if n < 16:  # too few for UMAP's neighbour graph; the two main directions of each space say as much
        return _shared_frame({space: _principal_plane(rows) for space, rows in embeddings.items()})
    from umap import AlignedUMAP, aligned_umap, umap_

    slow = aligned_umap.build_neighborhood_similarities, aligned_umap.procrustes_align
    for function in (*slow, umap_.fast_knn_indices, umap_.smooth_knn_dist):
        with suppress(AttributeError, RuntimeError):  # not compiled at all; nowhere to keep it
            function.enable_caching()  # to compile these takes most of the time of a small map
    fitted = AlignedUMAP(n_neighbors=min(n_neighbors, n - 1), metric="cosine", random_state=seed).fit(
        list(embeddings.values()), relations=[{i: i for i in range(n)}] * (len(embeddings) - 1)
    )
    return _shared_frame({space: np.asarray(rows) for space, rows in zip(embeddings, fitted.embeddings_, strict=True)})


def fitted_maps(
    path: Path, embeddings: Mapping[Space, np.ndarray], n_neighbors: int, seed: int
) -> tuple[np.ndarray, dict[Space, np.ndarray]]:
    """As ``fit_maps``, kept in a file; or what is kept there, if nine tenths of the backbone's rows are the same then and now.

    The embeddings of the heads are not compared: their last bits depend on how many are embedded at a time.

    Returns:
        (f,) which of the references the maps hold, and the maps, (f, 2) each.
    """
    met, keys = Counter[str](), []
    for row in embeddings[Space.BACKBONE]:
        key = hashlib.sha256(row).hexdigest()
        met[key] += 1  # equal references have places of their own
        keys.append(f"{key} {met[key]}")
    with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(path, allow_pickle=False) as kept:
        places = {key: i for i, key in enumerate(kept["keys"].tolist())}
        same = [i for i, key in enumerate(keys) if key in places]
        if len(same) >= 0.9 * max(len(keys), len(places)):
            return np.array(same), {space: kept[space][[places[keys[i]] for i in same]] for space in embeddings}
    maps = fit_maps(embeddings, n_neighbors, seed)
    path.parent.mkdir(exist_ok=True)
    write_arrays(path, keys=np.array(keys), **maps)
    return np.arange(len(keys)), maps


def _principal_plane(rows: np.ndarray) -> np.ndarray:
    left, scale, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    plane = np.zeros((len(rows), 2))
    plane[:, : len(scale[:2])] = left[:, :2] * scale[:2]
    return plane * np.where(plane.sum(0) < 0, -1, 1)  # a singular vector's sign is arbitrary; fix it


def _shared_frame(maps: dict[Space, np.ndarray]) -> dict[Space, np.ndarray]:
    """All maps into [0.03, 0.97] squared by one scale and shift, keeping the aspect."""
    points = np.concatenate(list(maps.values()))
    low, high = points.min(0), points.max(0)
    scale = 0.94 / max(float((high - low).max()), 1e-12)
    return {space: ((rows - (low + high) / 2) * scale + 0.5).astype(np.float32) for space, rows in maps.items()}


def place_rest(
    coordinates: np.ndarray,
    fitted: np.ndarray,
    fitted_rows: np.ndarray,
    chunks: Iterator[tuple[int, np.ndarray]],
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """The map of all references, those that were not fitted placed at the mean of their nearest that were, by cosine.

    Args:
        coordinates: (f, 2) places of the references that were fitted.
        fitted: (f,) their ids.
        fitted_rows: (f, d) their unit rows.
        chunks: (id of the first, (c, d) unit rows) of all n references, in order.
        progress: called with the number of rows of each chunk.

    Returns:
        (n, 2) float32; those that were fitted stay where they are.
    """
    placed = []
    k = min(N_PLACING, len(fitted))
    for _, rows in chunks:
        for start in range(0, len(rows), N_PLACED):
            similarity = rows[start : start + N_PLACED] @ fitted_rows.T
            near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            weights = np.clip(np.take_along_axis(similarity, near, 1), 1e-6, None).astype(np.float64)
            weights /= weights.sum(1, keepdims=True)
            placed.append(np.einsum("ck,ckx->cx", weights, coordinates[near]).astype(np.float32))
        if progress:
            progress(len(rows))
    everything = np.concatenate(placed)
    everything[fitted] = coordinates
    return everything


def neighbour_preservation(
    embeddings: "np.ndarray | StoredRows", coordinates: np.ndarray, ids: np.ndarray, k: int = N_NEAR
) -> float:
    """How faithful a map is: the share of some references' k nearest by cosine that are among their k nearest on the map.

    1 is a perfect map, ``k / (n - 1)`` a random one; 1 by definition for a single reference.

    Args:
        embeddings: (n, d) unit rows of all.
        coordinates: (n, 2) places of all.
        ids: (s,) which references are looked at.
        k: neighbours.
    """
    from scipy.spatial import cKDTree

    if (k := min(k, len(coordinates) - 1)) == 0:
        return 1.0
    near = ExactIndex(embeddings).search(embeddings[ids], k + 1).ids
    _, on_map = cKDTree(coordinates).query(coordinates[ids], k=k + 1)
    kept = [
        len(np.intersect1d(true[true != own][:k], places[places != own][:k]))
        for true, places, own in zip(near, on_map, ids, strict=True)
    ]
    return float(np.mean(kept)) / k
