"""Leaving generators out: train without a family of synthetic images, test on that family.

A family is left out of everything that training sees: the synthetic images that its generator made, and the views of other images
that were rendered with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aad.bundle import Bundle, BundleError
from aad.method import Views
from aad.spaces import Domain
from precompute.common import figures


@dataclass(frozen=True, slots=True)
class Queries:
    """n queries with known sources, of one family.

    Attributes:
        features: (n, d) float32.
        exemplar_ids: the true sources of each.
        ignored_ids: (n,) a reference that is neither right nor wrong, because the query shows it too; -1 for none.
        types: query type of each; the family's name where it has no types.
        concepts: concept of each, which intervals resample.
        crops: (n, c, d) features of further crops of each; none of them (c = 0) unless asked for.
    """

    features: np.ndarray
    exemplar_ids: tuple[tuple[int, ...], ...]
    ignored_ids: np.ndarray
    types: tuple[str, ...]
    concepts: tuple[str, ...]
    crops: np.ndarray


def read_views(
    bundle: Bundle,
    left_out: Sequence[str] = (),
    without_kinds: Sequence[str] = (),
    share: float = 1.0,
    without_files: Collection[str] = (),
) -> Views:
    """Training views of step 3.

    Args:
        bundle: whose scratch folder holds the views.
        left_out: families whose synthetic images and whose views are dropped.
        without_kinds: kinds of view to drop besides.
        share: of each domain's images to keep, in (0, 1], drawn with a fixed seed.
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
        kinds = (~np.isin(stored[f"{domain}_kinds"], [*left_out, *without_kinds]) for domain in Domain)
        real, synthetic = (of[np.ix_(*kept)] for of, *kept in zip((real, synthetic), rows, kinds, strict=True))
    if share < 1:
        rng = np.random.default_rng(0)
        real, synthetic = (
            rows[np.sort(rng.permutation(len(rows))[: max(2, round(share * len(rows)))])] for rows in (real, synthetic)
        )
    try:
        return Views(real.astype(np.float32), synthetic.astype(np.float32))
    except ValueError as error:
        raise BundleError(f"{error}; give more pictures, or take another bundle's heads with --heads-from") from error


def read_training_pairs(bundle: Bundle, left_out: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Matched (n, d) real and synthetic training features, for baselines that need pairs; nothing shipped is fitted on them."""
    with np.load(scratch_file(bundle, "views.npz", "extract_views"), allow_pickle=False) as stored:
        kept = ~np.isin(stored["generators"], left_out) & (stored["synthetic_sources"] >= 0)
        real = stored["real"][stored["synthetic_sources"][kept], 0]
        return real.astype(np.float32), stored["synthetic"][kept, 0].astype(np.float32)


def read_queries(bundle: Bundle, family: str, split: str, with_crops: bool = False) -> Queries:
    """Every query of a family in a split: the bundle's own, and those that ``extract_families`` made.

    Raises:
        BundleError: a scratch file is missing; or crops are asked for, and the family has queries that are not the bundle's own.
    """
    entries, references = bundle.read_json("queries.json"), bundle.read_json("references.json")
    features = bundle.read_array("queries_backbone.npy", (len(entries), bundle.manifest["backbone"]["dim"]))
    own = [
        i
        for i, entry in enumerate(entries)
        if (entry.get("generator"), entry.get("split")) == (family, split) and entry["exemplar_ids"]
    ]
    with np.load(scratch_file(bundle, "made_queries.npz", "extract_families"), allow_pickle=False) as stored:
        made = np.flatnonzero((stored["family"] == family) & (stored["split"] == split))
        made_features, made_ids = stored["features"][made], stored["exemplar_id"][made]
        ignored = stored["ignored_id"][made]
    whole = np.concatenate([features[own], made_features]).astype(np.float32)
    crops = np.zeros((len(whole), 0, whole.shape[1]), np.float32)
    if with_crops and len(made):
        raise BundleError("crops are of the bundle's own queries; of those that extract_families makes there are none")
    if with_crops:
        with np.load(scratch_file(bundle, "query_crops.npz", "extract_crops"), allow_pickle=False) as stored:
            row_of = {int(query_id): row for row, query_id in enumerate(stored["query_ids"])}
            crops = stored["crops"][[row_of[i] for i in own]].astype(np.float32)
    return Queries(
        whole,
        (*(tuple(entries[i]["exemplar_ids"]) for i in own), *((int(i),) for i in made_ids)),
        np.concatenate([np.full(len(own), -1), ignored]).astype(np.int64),
        (*(entries[i]["type"] for i in own), *(family for _ in made)),
        (*(entries[i]["concept"] for i in own), *(references[i]["concept"] for i in made_ids)),
        crops,
    )


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
