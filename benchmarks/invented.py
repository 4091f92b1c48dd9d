"""An invented gallery of any size that looks like the real one, and queries as far from it as synthetic images are.

    python -m benchmarks.invented --dim 768          # real beside invented, for the three spaces

It is made from the shipped bundle's own embeddings in one space. A *concept* is an interpolation of three real references (weights
of unit length, so that the covariance stays); its rows lie around it with the spectrum within the bundle's concepts, as many and
as widely as in one of them. Nothing is rounded to clusters: the rows are no easier to compress than real ones. A query is a row
seen from the synthetic domain: a real pair of source and synthetic image is drawn, and the row is moved by that pair's offset, to
that pair's cosine. Pairs are looked at to *measure* (`benchmarks.real_domain`); nothing here is training.

Chunk i of `CHUNK` rows is a function of seed and i only, so a smaller gallery is the beginning of a larger one.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aad.spaces import SPACES
from aad.vectors import l2_normalise
from benchmarks.common import run, table
from benchmarks.real_domain import RealDomain, measure_domain

CHUNK = (
    10_000  # rows made at once, 30 MB at 768 dimensions; another number makes other rows: see VERSION of real_domain
)
N_PARENTS = 3
RESERVE = 2 * 2**30  # bytes of disk that are left alone


class ShortOfDisk(OSError):
    """There is no room for the rows asked for; the text says how much is needed."""


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
    rows = rng.standard_normal((CHUNK, domain.dim), dtype=np.float32)
    rows *= np.float32(domain.floor)
    rows += rng.standard_normal((CHUNK, len(domain.factor)), dtype=np.float32) @ domain.factor
    rows *= np.sqrt(share)[concept, None]
    rows += centres[concept]
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def make_gallery(folder: Path, domain: RealDomain, n: int, *, seed: int = 0, progress: bool = True) -> Path:
    """Write the first n rows as one float16 ``.npy`` file; a finished one is used again.

    Args:
        folder: Where; created when missing.
        domain: From `measure_domain`.
        n: Rows.
        seed: With `domain` all that the rows depend on.
        progress: Show a bar where there is a terminal.

    Raises:
        ShortOfDisk: it does not fit, with 2 GiB to spare.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{domain.label}_{seed}_{n}.npy"
    if path.exists():
        return path
    if (need := n * domain.dim * 2) > (free := _free(folder)):
        raise ShortOfDisk(
            f"{n:,} rows of {domain.dim} dimensions need {need / 1e9:.1f} GB in the scratch folder, and {free / 1e9:.1f} GB "
            "may be used; free some space, name another --scratch, or ask for fewer rows"
        )
    for left_over in folder.glob(f".{path.name}.*.partial"):  # of a run that was killed
        left_over.unlink()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    bar = tqdm(total=n, unit="row", unit_scale=True, disable=None if progress else True)
    try:
        with bar, ThreadPoolExecutor(os.cpu_count()) as pool, partial.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (n, domain.dim)}
            np.lib.format.write_array_header_1_0(file, header)
            side_by_side = 2 * (os.cpu_count() or 1)
            for first in range(0, -(-n // CHUNK), side_by_side):
                batch = range(first, min(first + side_by_side, -(-n // CHUNK)))
                for i, rows in zip(batch, pool.map(lambda i: make_chunk(domain, seed, i), batch), strict=True):
                    rows[: n - i * CHUNK].astype(np.float16).tofile(file)
                    bar.update(min(CHUNK, n - i * CHUNK))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
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
    offsets = domain.offsets[pairs]
    offsets = l2_normalise(offsets - (offsets * rows).sum(1, keepdims=True) * rows)
    cosines = domain.cosines[pairs, None]
    return l2_normalise(cosines * rows + np.sqrt(1 - cosines**2) * offsets).astype(np.float32), ids


def _free(folder: Path) -> int:
    return max(0, shutil.disk_usage(folder).free - RESERVE)


def likeness(domain: RealDomain, *, seed: int = 0) -> list[dict[str, float | str]]:
    """Real beside invented: what decides how hard a search is, at the real gallery's own size.

    Returns:
        One mapping for the real references and queries, one for as many invented ones, with the cosine of a reference to its
        nearest other (mean, 5 % and 95 %), of any two (mean, standard deviation), the participation ratio of the covariance's
        spectrum, and for queries the cosine to the source, to the nearest and to the tenth reference, and how often the
        source comes first.
    """
    n = len(domain.references)
    cosines = domain.cosines[:, None]
    real_queries = cosines * domain.references[domain.sources] + np.sqrt(1 - cosines**2) * domain.offsets
    rows = np.concatenate([make_chunk(domain, seed, i) for i in range(-(-n // CHUNK))])[:n]
    rng = np.random.default_rng(seed)
    ids = rng.integers(n, size=len(cosines))
    offsets = l2_normalise(domain.offsets - (domain.offsets * rows[ids]).sum(1, keepdims=True) * rows[ids])
    queries = cosines * rows[ids] + np.sqrt(1 - cosines**2) * offsets
    return [
        {"gallery": "real", **_figures(domain.references, real_queries, domain.sources)},
        {"gallery": "invented", **_figures(rows, queries, ids)},
    ]


def _figures(rows: np.ndarray, queries: np.ndarray, sources: np.ndarray) -> dict[str, float | str]:
    among = rows @ rows.T
    off = among[~np.eye(len(rows), dtype=bool)]
    np.fill_diagonal(among, -1)
    nearest = among.max(1)
    low, high = np.quantile(nearest, [0.05, 0.95])
    spectrum = np.linalg.svd(rows - rows.mean(0), compute_uv=False).astype(np.float64) ** 2
    found = queries @ rows.T
    to_source = found[np.arange(len(queries)), sources]
    ranked = -np.sort(-found, axis=1)
    return {
        "nearest": float(nearest.mean()),
        "nearest_range": f"{low:.2f} to {high:.2f}",
        "any": float(off.mean()),
        "any_spread": float(off.std()),
        "participation": float(spectrum.sum() ** 2 / (spectrum**2).sum()),
        "query_source": float(to_source.mean()),
        "query_nearest": float(ranked[:, 0].mean()),
        "query_tenth": float(ranked[:, min(9, len(rows) - 1)].mean()),
        "source_first": float((to_source >= ranked[:, 0]).mean()),
    }


LIKENESS = {
    "space": "space",
    "gallery": "gallery",
    "nearest": "cosine to the nearest other",
    "nearest_range": "5 % to 95 %",
    "any": "of any two",
    "any_spread": "spread",
    "participation": "participation ratio",
    "query_source": "query to source",
    "query_nearest": "to the nearest",
    "query_tenth": "to the tenth",
    "source_first": "source first",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print real beside invented for the three spaces."""
    parser = argparse.ArgumentParser(description="How like the real gallery the invented one is.")
    parser.add_argument("--dim", type=int, default=768, help="dimensions of the invented gallery")
    options = parser.parse_args(argv)
    rows = [{"space": str(space), **row} for space in SPACES for row in likeness(measure_domain(space, options.dim))]
    print(table(rows, LIKENESS))
    return 0


if __name__ == "__main__":
    run(main)
