"""What the bundle's embeddings are like in one space: spectrum, concepts, and how synthetic images depart from their sources.

Measured in any number of dimensions, so that `benchmarks.invented` can make more of the kind. Another dimension is had by keeping
the directions in which references and queries together are longest, or by padding with zeros, and then one random rotation, so
that no coordinate is special.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aad.bundle import read_heads
from aad.hub import open_bundle
from aad.spaces import Domain, Space
from aad.vectors import l2_normalise

VERSION = 1  # of how rows are made of this: a change makes other rows, and files of the old ones must not be taken for new ones
N_DIRECTIONS = 128  # of the noise within a concept; what they leave over is spread evenly, which is harder to compress
SMALL = 3  # references; larger concepts, such as a painter's, vary more


@dataclass(frozen=True, slots=True)
class RealDomain:
    """What is measured on the bundle in one space, in D rotated dimensions.

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
        label: names space, dimension, bundle and recipe; files of one label hold the same rows for the same seed.
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
    label: str

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)


def measure_domain(space: Space | str, dim: int, bundle: Path | None = None) -> RealDomain:
    """Measure the references, the concepts and the pairs of a bundle in one space.

    Args:
        space: One of the three.
        dim: Dimensions wanted, at least 2.
        bundle: Its folder; the shipped one where None.

    Raises:
        ValueError: fewer than 2 dimensions.
    """
    if dim < 2:
        raise ValueError(f"an invented gallery needs at least 2 dimensions, got {dim}")
    opened, space = open_bundle(bundle), Space(space)
    references = l2_normalise(opened.read_array(f"references_{space}.npy", (None, None)))
    concepts = np.array([entry["concept"] for entry in opened.read_json("references.json")])
    head = read_heads(opened)[space]
    known = [
        (i, q["exemplar_ids"][0]) for i, q in enumerate(opened.read_json("queries.json")) if len(q["exemplar_ids"]) == 1
    ]
    ids, sources = np.array(known).T
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
    files = "".join(
        opened.manifest["files"][name]["sha256"] for name in (f"references_{space}.npy", "heads.safetensors")
    )
    recipe = hashlib.sha256(f"{VERSION} {N_DIRECTIONS} {files}".encode()).hexdigest()[:8]
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
        label=f"{space}_{dim}_{recipe}",
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
    _, directions = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    kept = directions[:, ::-1][:, :dim]
    rotation, signs = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))
    rotation *= np.sign(np.diag(signs))
    return (kept @ rotation[: kept.shape[1]]).astype(np.float32)
