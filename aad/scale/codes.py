"""Rows as two codes: a short one of all rows, which a scan reads, and a finer one of what it left over, for those it found.

Product quantisation (Jegou, Douze and Schmid 2011) cuts a row in pieces and keeps for each the nearest of some prototypes. In the
short code that is one of 16, and FastScan (Andre, Kermarrec and Le Scouarnec 2015, as in faiss) adds up tables of similarities to
prototypes in processor registers. What it leaves over of a row is cut in other pieces, of which each is kept as one of 256.
The rows are turned first onto their principal axes, and each piece gets axes of large and of small variance, so that no piece has
much more to say than its bits hold; queries of another domain then find their nearest rows among fewer candidates.

What is stored are plain arrays that the faiss index is put together from: faiss's own files are unsafe to read from strangers.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

PIECE = 8  # dimensions: of 4 the short codes are twice as large, more than a cache holds, and a scan takes four times as long
N_PROTOTYPES, N_FINE = 16, 256  # of 4 bits, which FastScan is made for, and of a byte
N_AXES, N_FINE_AXES = 768, 576  # at most, 48 and 72 bytes for a row: axes of less variance are left out
N_SHORT = 10_000  # rows whose finer codes are compared, at least: 5,000 of a million miss some of the ten nearest
SHORT_PER_CANDIDATE = 10
ROUNDS = 10  # of k-means, which has nearly settled by then
NO_FINE = np.zeros((0, N_FINE, 0), np.float32)


class Codec:
    """How rows become codes.

    Args:
        rotation: (d, p M) float32; columns p b to p b + p - 1 are the axes of piece b.
        codebook: (M, 16, p) float32, the prototypes of each piece; of p = 3 or 4 dimensions in older indexes.
        fine: (F, 256, p) float32, those of the finer code, of the p F axes of most variance; no piece in older indexes.
        centre: (p M,) float32, where the rotated rows have their middle; it shifts all similarities alike, so search needs none.
    """

    def __init__(
        self, rotation: np.ndarray, codebook: np.ndarray, fine: np.ndarray, centre: np.ndarray | None = None
    ) -> None:
        self.rotation = np.ascontiguousarray(rotation, dtype=np.float32)
        self.codebook = np.ascontiguousarray(codebook, dtype=np.float32)
        self.centre = np.zeros(rotation.shape[1], np.float32) if centre is None else centre
        self._short = _quantiser(self.codebook, 4)
        self.fine = fine
        if len(fine):
            self._fine = _quantiser(fine, 8)
            self.order = _order_of_fine(rotation.shape[1], len(fine), codebook.shape[2])

    def encode(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(r, M / 2) uint8 of (r, d) rows, two pieces to a byte, and (r, F) uint8 of what that leaves over."""
        rotated = rows @ self.rotation - self.centre
        codes = self._short.compute_codes(rotated)
        return codes, self._fine.compute_codes((rotated - self._short.decode(codes))[:, self.order])


def train_codec(sample: np.ndarray, seed: int) -> Codec:
    """Axes and prototypes of a sample of rows, the same for the same sample, seed and number of threads.

    Args:
        sample: (s, d) float32 rows.
        seed: of k-means.
    """
    s, d = sample.shape
    n_axes = 2 * PIECE * -(-min(N_AXES, d) // (2 * PIECE))  # an even number of pieces, for whole bytes
    middle = sample.mean(0, dtype=np.float64).astype(np.float32)
    centred = sample - middle
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    padded = np.zeros((d, max(d, n_axes)), np.float32)
    padded[:, :d] = axes[:, ::-1]  # largest variance first
    rotation = np.ascontiguousarray(padded[:, _dealt(n_axes, PIECE)])
    rotated = np.resize(centred @ rotation, (max(s, N_FINE), n_axes))  # k-means wants as many rows as prototypes
    short = _trained(rotated, PIECE, 4, seed)
    left = rotated - _quantiser(short, 4).decode(_quantiser(short, 4).compute_codes(rotated))
    fine = _trained(left[:, _order_of_fine(n_axes, min(n_axes, N_FINE_AXES) // PIECE, PIECE)], PIECE, 8, seed)
    return Codec(rotation, short, fine, middle @ rotation)


def _dealt(n: int, piece: int) -> np.ndarray:
    """The order in which n axes lie in pieces.

    They are dealt out like cards, to and fro: the piece with the largest of one round gets the smallest of the next.

    >>> _dealt(6, 3).tolist()
    [0, 3, 4, 1, 2, 5]
    """
    rounds = np.arange(n).reshape(piece, -1)
    rounds[1::2] = rounds[1::2, ::-1]
    return rounds.T.ravel()


def _order_of_fine(n: int, n_pieces: int, piece: int) -> np.ndarray:
    """Where the axes of the finer code's pieces are in rows that are turned for the short one."""
    return np.argsort(_dealt(n, piece))[_dealt(piece * n_pieces, piece)]


def _trained(rows: np.ndarray, piece: int, bits: int, seed: int) -> np.ndarray:
    """(M, 2 ** bits, piece) float32 prototypes."""
    import faiss

    quantiser = faiss.ProductQuantizer(rows.shape[1], rows.shape[1] // piece, bits)
    quantiser.cp.seed, quantiser.cp.niter, quantiser.cp.min_points_per_centroid = seed + 1, ROUNDS, 1
    quantiser.train(rows)
    return faiss.vector_to_array(quantiser.centroids).reshape(-1, 2**bits, piece)


def _quantiser(codebook: np.ndarray, bits: int) -> Any:
    import faiss

    pieces, _, piece = codebook.shape
    quantiser = faiss.ProductQuantizer(piece * pieces, pieces, bits)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebook).ravel(), quantiser.centroids)
    return quantiser


class FlatCodes:
    """All codes, scanned for each query by one thread, so that the processors serve as many people at once as there are of them.

    Args:
        codec: what made them.
        codes: (n, M / 2) uint8.
        fine: (n, F) uint8; None where the codec has no such code.
    """

    def __init__(self, codec: Codec, codes: np.ndarray, fine: np.ndarray | None) -> None:
        faiss: Any = importlib.import_module("faiss")  # its stubs lack what is used here
        self.codec, self._fine = codec, fine
        plain = faiss.IndexPQ(codec.rotation.shape[1], len(codec.codebook), 4, faiss.METRIC_INNER_PRODUCT)
        faiss.copy_array_to_vector(codec.codebook.ravel(), plain.pq.centroids)
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), plain.codes)
        plain.ntotal, plain.is_trained = len(codes), True
        self._index = faiss.IndexPQFastScan(plain)

    def candidates(self, queries: np.ndarray, c: int) -> np.ndarray:
        """(m, c) ids of the rows whose codes are most similar to (m, d) queries, in no order; -1 where there are fewer."""
        rotated = np.ascontiguousarray(queries @ self.codec.rotation)
        if self._fine is None:
            return self._index.search(rotated, c)[1]
        about, ids = self._index.search(rotated, max(N_SHORT, SHORT_PER_CANDIDATE * c))
        found = np.empty((len(queries), c), np.int64)
        for row, (query, their) in enumerate(zip(rotated, ids, strict=True)):
            tables = np.einsum("fjp,fp->fj", self.codec.fine, query[self.codec.order].reshape(len(self.codec.fine), -1))
            # where there is no row the id is -1, and about the least there is; code by code, for so a table stays in the cache
            for table, code in zip(tables, self._fine.take(their, axis=0, mode="wrap").T.copy(), strict=True):
                about[row] += table.take(code)
            found[row] = their[np.argpartition(about[row], -c)[-c:]]
        return found


def check_codes(arrays: Mapping[str, np.ndarray], n: int, d: int) -> None:
    """That stored arrays fit a gallery of n rows of d dimensions.

    Raises:
        ValueError: an array is missing, or of another shape, type or range; names it.
    """
    names = ["rotation", "codebook", "codes", "sample_ids"]
    if "fine_codebook" in arrays or "fine_codes" in arrays:  # older indexes have neither
        names += ["fine_codebook", "fine_codes"]
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"the index must hold {', '.join(names)}; {', '.join(missing)} is missing")
    pieces, _, piece = (*arrays["codebook"].shape, 0, 0, 0)[:3]
    if pieces < 2 or pieces % 2:
        raise ValueError(f"codebook of the index must be of an even number of pieces, got {pieces}")
    axes, fine = piece * pieces, min(pieces, len(arrays.get("fine_codebook", ())))
    shapes: list[tuple[int, ...]] = [
        (d, axes),
        (pieces, N_PROTOTYPES, piece),
        (n, pieces // 2),
        (arrays["sample_ids"].size,),
    ]
    shapes += [(fine, N_FINE, piece), (n, fine)]
    types = (np.float32, np.float32, np.uint8, np.int64, np.float32, np.uint8)
    for name, shape, dtype in zip(names, shapes, types, strict=False):
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} of the index must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"{name} of the index must be finite, got NaN or infinity")
    ids = arrays["sample_ids"]
    if len(ids) and (ids.min() < 0 or ids.max() >= n or len(np.unique(ids)) != len(ids)):
        raise ValueError(f"sample_ids of the index must be different and within 0 to {n - 1}, got others")
