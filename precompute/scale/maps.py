"""Maps of a large gallery: UMAP is fitted on a sample, and the other references are placed at the mean of their nearest there."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from aad.projection import N_PLACING

N_FITTED = 20_000  # references that UMAP is fitted on: some minutes; its time grows faster than their number
N_MEASURED = 2_000  # references on which the faithfulness of a larger map is measured, each against all others
N_PLACED = 4_096  # references placed at a time; 320 MB of similarities to those fitted


def fitted_sample(groups: Sequence[str], seed: int = 0, n_fitted: int = N_FITTED) -> np.ndarray:
    """Ids of the references that a map is fitted on, ascending: all of them, or of each group as many as is its share.

    Every group has at least one, as far as ``n_fitted`` goes.

    Args:
        groups: (n,) the group of each reference.
        seed: of the draw.
        n_fitted: how many.

    >>> fitted_sample(["a"] * 8 + ["b"] * 2, n_fitted=5).tolist()[-1] >= 8
    True
    """
    n = len(groups)
    if n <= n_fitted:
        return np.arange(n)
    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(n)
    by_group = shuffled[np.argsort(codes[shuffled], kind="stable")]
    starts = np.searchsorted(codes[by_group], codes[by_group])
    # A member's turn is its place in its group, between 0 and 1; the first of each group come before all others.
    turn = (np.arange(n) - starts) / np.bincount(codes)[codes[by_group]]
    return np.sort(by_group[np.argsort(turn, kind="stable")[:n_fitted]])


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


def sampled_preservation(near: np.ndarray, ids: np.ndarray, coordinates: np.ndarray) -> float:
    """``neighbour_preservation`` of some references of a large gallery.

    Args:
        near: (s, k) ids of the k nearest of each of them by cosine, among all but itself.
        ids: (s,) which references they are.
        coordinates: (n, 2) places of all.
    """
    from scipy.spatial import cKDTree

    k = near.shape[1]
    _, on_map = cKDTree(coordinates).query(coordinates[ids], k=k + 1)
    kept = [
        len(np.intersect1d(true, places[places != own][:k]))
        for true, places, own in zip(near, on_map, ids, strict=True)
    ]
    return float(np.mean(kept)) / k
