"""Leaving generators out: train without a family of synthetic images, test on that family.

A family is left out of everything that training sees: the synthetic images that its generator made, and the views of other images
that were rendered with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aad.bundle import Bundle, BundleError
from aad.method import Head, Views
from aad.spaces import Domain
from precompute.common import figures

HELD_OUT = "multistyle26"  # the demo's heads never see this generator: what the page shows is what a new generator gets


@dataclass(frozen=True, slots=True)
class Queries:
    """n queries with known sources, of one family.

    Attributes:
        features: (n, d) float32.
        exemplar_ids: the true sources of each.
        ignored_ids: (n,) a reference that is neither right nor wrong, because the query shows it too; -1 for none.
        types: query type of each; the family's name where it has no types.
        concepts: concept of each, which intervals resample.
    """

    features: np.ndarray
    exemplar_ids: tuple[tuple[int, ...], ...]
    ignored_ids: np.ndarray
    types: tuple[str, ...]
    concepts: tuple[str, ...]


def read_views(bundle: Bundle, left_out: Sequence[str] = (), without_files: Collection[str] = ()) -> Views:
    """Training views of step 3, in float16 as they are stored.

    Args:
        bundle: whose scratch folder holds the views.
        left_out: families whose synthetic images and whose views are dropped.
        without_files: images to drop, as ``real_files`` and ``synthetic_files`` name them, with what was made of them. Pictures of
            folders are then seen nowhere; the bundle's own stay in the surroundings of others.

    Raises:
        BundleError: the file is missing, or too little remains to train on.
    """
    with np.load(scratch_file(bundle, "views.npz", "extract_views"), allow_pickle=False) as stored:
        real, synthetic = stored["real"], stored["synthetic"]
        rows = [np.full(len(real), True), ~np.isin(stored["generators"], left_out)]
        if without_files:
            for kept, domain in zip(rows, Domain, strict=True):
                kept &= ~np.isin(stored[f"{domain}_files"], list(without_files))
            rows[1] &= (stored["synthetic_files"] != "") | rows[0][stored["synthetic_sources"]]
        kinds = (~np.isin(stored[f"{domain}_kinds"], left_out) for domain in Domain)
        real, synthetic = (of[np.ix_(*kept)] for of, *kept in zip((real, synthetic), rows, kinds, strict=True))
    try:
        return Views(real, synthetic)
    except ValueError as error:
        raise BundleError(f"{error}; give more pictures, or take another bundle's heads with --heads-from") from error


def read_queries(bundle: Bundle, family: str, split: str) -> Queries:
    """Every query of a family in a split: the bundle's own, and those that ``extract_families`` made.

    Raises:
        BundleError: a scratch file is missing.
    """
    entries, references = bundle.read_json("queries.json"), bundle.read_json("references.json")
    features = bundle.read_array("queries_backbone.npy", (len(entries), bundle.manifest["backbone"]["dim"]))
    told = [(entry.get("generator"), entry.get("split")) for entry in entries]
    own = [i for i, entry in enumerate(entries) if told[i] == (family, split) and entry["exemplar_ids"]]
    with np.load(scratch_file(bundle, "made_queries.npz", "extract_families"), allow_pickle=False) as stored:
        made = np.flatnonzero((stored["family"] == family) & (stored["split"] == split))
        made_features, made_ids = stored["features"][made], stored["exemplar_id"][made]
        ignored = stored["ignored_id"][made]
    return Queries(
        np.concatenate([features[own], made_features]).astype(np.float32),
        (*(tuple(entries[i]["exemplar_ids"]) for i in own), *((int(i),) for i in made_ids)),
        np.concatenate([np.full(len(own), -1), ignored]).astype(np.int64),
        (*(entries[i]["type"] for i in own), *(family for _ in made)),
        (*(entries[i]["concept"] for i in own), *(references[i]["concept"] for i in made_ids)),
    )


def cosine(head: Head, queries: Queries, references: np.ndarray) -> np.ndarray:
    """Cosines of n queries with (m, d) references in a head's space, (n, m)."""
    return head.embed(queries.features, Domain.SYNTHETIC) @ head.embed(references, Domain.REAL).T


def score(similarities: np.ndarray, queries: Queries) -> dict[str, np.ndarray]:
    """Figures of each query, from (n, m) similarities to all references, which it changes."""
    ignored = np.flatnonzero(queries.ignored_ids >= 0)
    similarities[ignored, queries.ignored_ids[ignored]] = -np.inf
    return figures.score(similarities, queries.exemplar_ids)


def scratch_file(bundle: Bundle, name: str, step: str) -> Path:
    """A scratch file of the bundle.

    Raises:
        BundleError: it has not been made; the text names the step that makes it.
    """
    path = bundle.folder / ".work" / name
    if not path.exists():
        raise BundleError(f"{path} is missing; make it with: python -m precompute.{step} --bundle {bundle.folder}")
    return path
