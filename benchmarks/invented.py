"""An invented gallery of any size that looks like the real one, and queries as far from it as synthetic images are.

A *concept* is an interpolation of three real references (weights of unit length, so that the covariance stays); its rows lie around
it with the spectrum within the bundle's concepts, as many and as widely as in one of them. A query is a row moved by the offset of
a real pair of source and synthetic image, to that pair's cosine; pairs are looked at to *measure*, nothing here is training.
Chunk i of `CHUNK` rows is a function of seed and i only, so a smaller gallery is the beginning of a larger one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aad.bundle import Bundle, read_heads
from aad.spaces import Domain, Space
from aad.vectors import l2_normalise

N_DIRECTIONS = 128  # of the noise within a concept; what they leave over is spread evenly, which is harder to compress
SMALL = 3  # references; larger concepts, such as a painter's, vary more
CHUNK = 10_000  # rows made at once, 30 MB at 768 dimensions; another number makes other rows
N_PARENTS = 3


@dataclass(frozen=True, slots=True)
class RealDomain:
    """What the bundle's embeddings are like in one space, in D rotated dimensions.

    Attributes:
        mean: (D,) float32 mean reference.
        references: (r, D) float32 unit rows.
        factor: (f, D) float32, whose random combinations have the covariance within a concept, scaled to the references' variance.
        floor: standard deviation of the noise that `factor` leaves over, the same in all D directions.
        sizes: (c,) references of each concept.
        shares: (c,) share of the references' variance that is within it; a concept of one has a small concept's.
        cosines: (p,) float32 of p pairs of synthetic image and source.
        offsets: (p, D) float32 unit, how the synthetic image departs from its source, at right angles to it.
        sources: (p,) reference ids of the pairs' sources.
    """

    mean: np.ndarray
    references: np.ndarray
    factor: np.ndarray
    floor: float
    sizes: np.ndarray
    shares: np.ndarray
    cosines: np.ndarray
    offsets: np.ndarray
    sources: np.ndarray


@functools.cache
def measure_domain(space: Space | str, dim: int) -> RealDomain:
    """Measure the references, the concepts and the pairs of the shipped bundle in one space.

    Another dimension is had by keeping the directions in which references and queries together are longest, and then one random
    rotation, so that no coordinate is special.

    Args:
        space: One of the three.
        dim: Dimensions wanted, at most as many as references and queries.
    """
    opened, space = Bundle.open(), Space(space)
    references = l2_normalise(opened.read_array(f"references_{space}.npy", (None, None)))
    concepts = np.array([entry["concept"] for entry in opened.read_json("references.json")])
    head = read_heads(opened)[space]
    asked = enumerate(opened.read_json("queries.json"))
    ids, sources = np.array([(i, q["exemplar_ids"][0]) for i, q in asked if len(q["exemplar_ids"]) == 1]).T
    features = opened.read_array("queries_backbone.npy", (None, head.dim))
    queries = head.embed(features[ids], Domain.SYNTHETIC)

    turn = _turn(np.concatenate([references, queries]), dim)
    references, queries = l2_normalise(references @ turn), l2_normalise(queries @ turn)
    mean = references.mean(0)
    variance = float(((references - mean) ** 2).sum(1).mean())
    names, counts = np.unique(concepts, return_counts=True)
    deviations = []
    for name, count in zip(names[counts > 1], counts[counts > 1], strict=True):
        rows = references[concepts == name]
        deviations.append((rows - rows.mean(0)) * np.sqrt(count / (count - 1)))
    shares = np.empty(len(counts))
    shares[counts > 1] = [(rows**2).sum(1).mean() / variance for rows in deviations]
    small = shares[(counts > 1) & (counts <= SMALL)]
    shares[counts == 1] = np.quantile(small, np.linspace(0, 1, int((counts == 1).sum())))
    within = np.concatenate(deviations)
    _, lengths, directions = np.linalg.svd(within, full_matrices=False)
    energy = variance * lengths.astype(np.float64) ** 2 / (lengths**2).sum()
    noise = (directions.T * energy) @ directions
    even = _evenness(references - mean, noise, float((counts * shares).sum() / counts.sum()))
    energy *= 1 - even
    cosines = (queries * references[sources]).sum(1)
    offsets = l2_normalise(queries - cosines[:, None] * references[sources])
    return RealDomain(
        mean=mean,
        references=references,
        factor=(np.sqrt(energy)[:, None] * directions)[:N_DIRECTIONS].astype(np.float32),
        floor=float(np.sqrt((energy[N_DIRECTIONS:].sum() + even * variance) / dim)),
        sizes=counts,
        shares=np.minimum(shares, 0.98).astype(np.float32),
        cosines=cosines.astype(np.float32),
        offsets=offsets.astype(np.float32),
        sources=sources,
    )


def _evenness(centred: np.ndarray, noise: np.ndarray, share: float) -> float:
    """Share of the noise that must go evenly to all directions, so that as few rows as the real ones show the real spectrum.

    The spectrum of n rows is steeper than that of the population they are drawn from: the sum of its squares is too large by
    about the square of the variance over n. Drawn again from such a spectrum, rows would be steeper still and easier to compress.
    """
    n, dim = centred.shape
    seen = (centred.T @ centred).astype(np.float64) / n
    variance = np.trace(seen)
    wanted = (seen**2).sum() - variance**2 / n
    for even in np.linspace(0, 1, 101):
        flat = (1 - even) * noise + even * variance / dim * np.eye(dim)
        if (((1 - share) * seen + share * flat) ** 2).sum() <= wanted:
            break
    return float(even)


def _turn(rows: np.ndarray, dim: int) -> np.ndarray:
    """(d, dim) float32: onto the directions in which the rows are longest, and then a fixed random rotation."""
    from scipy.linalg import eigh

    rows = rows.astype(np.float64)
    last = len(rows) - 1
    # of the rows' products, which are fewer than those of the dimensions: the same directions, seen from the rows
    lengths, directions = eigh(rows @ rows.T, subset_by_index=[last + 1 - dim, last])
    kept = rows.T @ (directions / np.sqrt(lengths))[:, ::-1]
    rotation, signs = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))
    rotation *= np.sign(np.diag(signs))
    return (kept @ rotation).astype(np.float32)


def make_chunk(domain: RealDomain, seed: int, i: int) -> np.ndarray:
    """Rows ``i * CHUNK`` to ``(i + 1) * CHUNK`` of the gallery, (CHUNK, D) float32 of unit length."""
    rng = np.random.default_rng([seed, i])
    like = rng.integers(len(domain.sizes), size=CHUNK)
    concept = np.repeat(np.arange(CHUNK), domain.sizes[like])[:CHUNK]
    n_concepts = concept[-1] + 1
    share = domain.shares[like[:n_concepts]]
    parents = rng.integers(len(domain.references), size=(n_concepts, N_PARENTS))
    weights = np.abs(rng.standard_normal((n_concepts, N_PARENTS), dtype=np.float32))
    # the more a concept varies, the less of the variance is left to its centre, so that the sum stays the references'
    weights *= (np.sqrt(1 - share) / np.linalg.norm(weights, axis=1))[:, None]
    centres = (1 - weights.sum(1))[:, None] * domain.mean
    for place in range(N_PARENTS):
        centres += weights[:, place, None] * domain.references[parents[:, place]]
    rows = rng.standard_normal((CHUNK, len(domain.mean)), dtype=np.float32)
    rows *= np.float32(domain.floor)
    rows += rng.standard_normal((CHUNK, len(domain.factor)), dtype=np.float32) @ domain.factor
    rows *= np.sqrt(share)[concept, None]
    rows += centres[concept]
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def make_gallery(path: Path, domain: RealDomain, n: int, *, seed: int = 0) -> Path:
    """Write the first n rows as one float16 ``.npy`` file; with `domain` the seed is all that they depend on."""
    from tqdm import trange

    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, len(domain.mean))}
        np.lib.format.write_array_header_1_0(file, header)
        for i in trange(-(-n // CHUNK), unit="chunk", disable=None):
            make_chunk(domain, seed, i)[: n - i * CHUNK].astype(np.float16).tofile(file)
    return path


def make_queries(domain: RealDomain, path: Path, m: int, *, seed: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the gallery as the synthetic domain would show them.

    Args:
        domain: From `measure_domain`.
        path: The gallery's file.
        m: Queries.
        seed: Chooses rows and pairs.
        half: 0 or 1: which half of the real pairs the offsets are drawn from, split by their sources. Settings are chosen on one
            half, and measured on the other.

    Returns:
        (m, D) float32 unit queries, and the (m,) rows they were made from.
    """
    rng = np.random.default_rng([seed, half, 1])
    file = np.load(path, mmap_mode="r", allow_pickle=False)
    ids = rng.integers(len(file), size=m)
    rows = l2_normalise(file[ids].astype(np.float32))
    pairs = rng.choice(np.flatnonzero(domain.sources % 2 == half), m)
    return l2_normalise(moved(rows, domain, pairs)).astype(np.float32), ids


def moved(rows: np.ndarray, domain: RealDomain, pairs: np.ndarray) -> np.ndarray:
    """Each row by the offset of its pair, made orthogonal to the row, to that pair's cosine."""
    offsets = domain.offsets[pairs]
    offsets = l2_normalise(offsets - (offsets * rows).sum(1, keepdims=True) * rows)
    cosines = domain.cosines[pairs, None]
    return cosines * rows + np.sqrt(1 - cosines**2) * offsets
