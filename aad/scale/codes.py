"""Rows as half a byte for every four dimensions, and the scan of such codes that finds candidates.

Product quantisation (Jegou, Douze and Schmid 2011) cuts a row in pieces and keeps for each the nearest of 16 prototypes; FastScan
(Andre, Kermarrec and Le Scouarnec 2015, as in faiss) adds up tables of similarities to prototypes in processor registers.
The rows are turned first onto their principal axes, and each piece gets axes of large and of small variance, so that no piece has
much more to say than 4 bits hold; queries of another domain then find their nearest rows among fewer candidates.

What is stored are plain arrays that the faiss index is put together from: faiss's own files are unsafe to read from strangers.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

PIECE = 4  # dimensions of a piece: of 3 a scan reads a third more; of 6 it reads less, and three times as many rows are compared
N_PROTOTYPES = 16  # of 4 bits, which FastScan is made for
N_PIECES = 192  # at most, 96 bytes for a row: the axes of least variance beyond 768 are left out of the codes
ROUNDS = 10  # of k-means, which has nearly settled by then


class Codec:
    """How rows become codes.

    Args:
        rotation: (d, p M) float32; columns p b to p b + p - 1 are the axes of piece b.
        codebook: (M, 16, p) float32, the prototypes of each piece; of p = 3 dimensions in older indexes.
        centre: (p M,) float32, where the rotated rows have their middle; it shifts all similarities alike, so search needs none.
    """

    def __init__(self, rotation: np.ndarray, codebook: np.ndarray, centre: np.ndarray | None = None) -> None:
        import faiss

        self.rotation = np.ascontiguousarray(rotation, dtype=np.float32)
        self.codebook = np.ascontiguousarray(codebook, dtype=np.float32)
        self.centre = np.zeros(rotation.shape[1], np.float32) if centre is None else centre
        self._quantiser = faiss.ProductQuantizer(rotation.shape[1], len(codebook), 4)
        faiss.copy_array_to_vector(self.codebook.ravel(), self._quantiser.centroids)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(r, M / 2) uint8 of (r, d) rows, two pieces to a byte."""
        return self._quantiser.compute_codes(rows @ self.rotation - self.centre)


def train_codec(sample: np.ndarray, seed: int) -> Codec:
    """Axes and prototypes of a sample of rows, the same for the same sample, seed and number of threads.

    Args:
        sample: (s, d) float32 rows.
        seed: of k-means.
    """
    import faiss

    s, d = sample.shape
    n_pieces = min(N_PIECES, 2 * -(-d // (2 * PIECE)))  # even, for whole bytes
    middle = sample.mean(0, dtype=np.float64).astype(np.float32)
    centred = sample - middle
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = axes[:, ::-1]  # largest variance first
    # Dealt out like cards, to and fro: the piece with the largest of one round gets the smallest of the next.
    dealt = np.arange(PIECE * n_pieces).reshape(PIECE, n_pieces)
    dealt[1::2] = dealt[1::2, ::-1]
    padded = np.zeros((d, max(d, PIECE * n_pieces)), np.float32)
    padded[:, :d] = axes
    rotation = np.ascontiguousarray(padded[:, dealt.T.ravel()])
    quantiser = faiss.ProductQuantizer(rotation.shape[1], n_pieces, 4)
    quantiser.cp.seed, quantiser.cp.niter, quantiser.cp.min_points_per_centroid = seed + 1, ROUNDS, 1
    rotated = centred @ rotation
    quantiser.train(np.resize(rotated, (max(s, N_PROTOTYPES), rotation.shape[1])))  # k-means wants 16 rows at least
    codebook = faiss.vector_to_array(quantiser.centroids).reshape(n_pieces, N_PROTOTYPES, PIECE)
    return Codec(rotation, codebook, middle @ rotation)


class FlatCodes:
    """All codes, scanned for each query by one thread, so that the processors serve as many people at once as there are of them.

    Args:
        codec: what made them.
        codes: (n, M / 2) uint8.
    """

    def __init__(self, codec: Codec, codes: np.ndarray) -> None:
        faiss: Any = importlib.import_module("faiss")  # its stubs lack what is used here
        self.codec = codec
        pieces, _, piece = codec.codebook.shape
        plain = faiss.IndexPQ(piece * pieces, pieces, 4, faiss.METRIC_INNER_PRODUCT)
        faiss.copy_array_to_vector(codec.codebook.ravel(), plain.pq.centroids)
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), plain.codes)
        plain.ntotal, plain.is_trained = len(codes), True
        self._index = faiss.IndexPQFastScan(plain)

    def candidates(self, queries: np.ndarray, c: int) -> np.ndarray:
        """(m, c) ids of the rows whose codes are most similar to (m, d) queries, in no order; -1 where there are fewer."""
        return self._index.search(np.ascontiguousarray(queries @ self.codec.rotation), c)[1]


def check_codes(arrays: Mapping[str, np.ndarray], n: int, d: int) -> None:
    """That stored arrays fit a gallery of n rows of d dimensions.

    Raises:
        ValueError: an array is missing, or of another shape, type or range; names it.
    """
    names = ("rotation", "codebook", "codes", "sample_ids")
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"the index must hold {', '.join(names)}; {', '.join(missing)} is missing")
    pieces, _, piece = (*arrays["codebook"].shape, 0, 0, 0)[:3]
    if pieces < 2 or pieces % 2:
        raise ValueError(f"codebook of the index must be of an even number of pieces, got {pieces}")
    shapes = ((d, piece * pieces), (pieces, N_PROTOTYPES, piece), (n, pieces // 2), (arrays["sample_ids"].size,))
    types = (np.float32, np.float32, np.uint8, np.int64)
    for name, shape, dtype in zip(names, shapes, types, strict=True):
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} of the index must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"{name} of the index must be finite, got NaN or infinity")
    ids = arrays["sample_ids"]
    if len(ids) and (ids.min() < 0 or ids.max() >= n or len(np.unique(ids)) != len(ids)):
        raise ValueError(f"sample_ids of the index must be different and within 0 to {n - 1}, got others")
