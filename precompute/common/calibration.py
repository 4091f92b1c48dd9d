"""The similarities of a gallery that are too many to keep, counted in bins for `aad.calibration.fit_calibration`."""

from collections.abc import Iterable, Sequence

import numpy as np

N_BINS = 4096  # of cosine from -1 to 1


def condense(
    chunks: Iterable[tuple[int, np.ndarray]], queries: np.ndarray, named_ids: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, list[dict[int, int]]]:
    """The similarities of some queries to a gallery too large to keep them, as ``fit_calibration`` takes them.

    The references that a query names keep a column each; all others are counted in bins of 1/2048 of cosine, each at its mean,
    which moves the log of their mass by less than 1e-3 at any inverse temperature below 100.

    Args:
        chunks: (id of the first, (c, d) unit rows) of the whole gallery, in order.
        queries: (m, d) unit rows.
        named_ids: per query, the references that must not be counted away: those absent and its exemplars.

    Returns:
        (m, c) similarities, (m, c) counts, and for each query the columns of the references that it names, by id.
    """
    names = [np.unique(np.asarray(ids, dtype=np.int64)) for ids in named_ids]
    width = max((len(ids) for ids in names), default=0)
    kept, kept_counts = np.zeros((len(queries), width)), np.zeros((len(queries), width))
    counts, sums = np.zeros((2, len(queries), N_BINS))
    for first, rows in chunks:
        for row, (found, ids) in enumerate(zip(queries @ rows.T, names, strict=True)):
            here = np.flatnonzero((ids >= first) & (ids < first + len(rows)))
            kept[row, here], kept_counts[row, here] = found[ids[here] - first], 1
            others = np.delete(found, ids[here] - first).astype(np.float64)
            bins = np.clip(((others + 1) * (N_BINS / 2)).astype(np.int64), 0, N_BINS - 1)
            counts[row] += np.bincount(bins, minlength=N_BINS)
            sums[row] += np.bincount(bins, others, N_BINS)
    used = counts.any(0)
    counts, sums = counts[:, used], sums[:, used]
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    columns = [{int(i): column for column, i in enumerate(ids)} for ids in names]
    return np.concatenate([kept, means], 1), np.concatenate([kept_counts, counts], 1), columns
