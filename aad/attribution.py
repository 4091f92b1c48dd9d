"""The facade: an image in, its nearest training sources in three spaces out."""

import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.answers import Attribution, Match, SpaceAttribution
from aad.backbones import RELEASES, Backbone, BackboneError, difference, load_backbone
from aad.bundle import Bundle, read_heads
from aad.calibration import Calibration
from aad.hub import open_bundle
from aad.images import load_image
from aad.metrics import exemplar_ranks
from aad.references import References, read_pictures, read_queries, read_references
from aad.schema import require
from aad.search import NEAR_COPY, ExactIndex, Index, SearchResult, method_for
from aad.spaces import SPACES, Domain, Space
from aad.vectors import l2_normalise
from aad.verdict import N_RIVALS, Judge, Verdict, evidence

N_SOUGHT = 100  # places in which a true source is looked for, before all references are compared
N_PLACING = 5  # neighbours that place a query; more pull it towards the middle of the map


class Attributor:
    """A bundle opened for questions. Read-only after loading, and safe to share between threads."""

    def __init__(
        self,
        bundle: Bundle,
        weights: str | Path | None = None,
        device: str = "cpu",
        qdrant: str | None = None,
        load: Callable[[str, str | Path | None, str, str], Backbone] = load_backbone,
    ) -> None:
        self.bundle, manifest = bundle, bundle.manifest
        made = self._made_with = bundle.section("backbone")
        self._qdrant, self._load = qdrant, partial(load, made["name"], weights, device, made.get("engine", "torch"))
        images = Path(os.path.realpath(bundle.folder / bundle.section("images")))
        self.references = read_references(bundle, images)
        self.queries = read_queries(bundle, images, len(self.references))
        n, d_feature = len(self.references), self._made_with["dim"]
        self.spaces = SPACES
        self.heads = read_heads(bundle)
        self._query_features = bundle.read_array("queries_backbone.npy", (len(self.queries), d_feature))
        places = bundle.read_array("coordinates.npy", (len(SPACES), n, 2))
        self.coordinates = dict(zip(SPACES, places, strict=True))
        self.calibration = {space: Calibration(**bundle.section("calibration")[space]) for space in SPACES}
        self.judge = Judge(**bundle.section("verdict")) if "verdict" in manifest else None
        release = RELEASES.get(self._made_with["name"])
        self._near_copy = release.near_copy if release else NEAR_COPY
        self.neighbour_preservation = {space: bundle.section("neighbour_preservation")[space] for space in SPACES}
        self.examples: tuple[int, ...] = tuple(bundle.section("examples")) if "examples" in manifest else ()
        with bundle.telling("manifest.json"):
            require({*self.examples} <= {*range(len(self.queries))}, "ids of queries as 'examples'", self.examples)
        absent = bundle.section("absent") if "absent" in manifest else []
        self.absent = read_pictures(bundle, "manifest.json", images, absent)
        self.metrics = bundle.read_json("metrics.json") if bundle.has("metrics.json") else None
        self.stamp: dict[str, Any] = {
            "name": manifest.get("name", bundle.folder.name),
            "backbone": self._made_with["name"],
            "references": n,
            "backbone_weights": self._made_with.get("sha256", "")[:12],
            "heads": manifest["files"]["heads.safetensors"]["sha256"][:12],
            "seed_of_heads": manifest["steps"].get("train_heads", {}).get("seed", "not stated"),
            "calibration": manifest["steps"].get("calibrate", {}).get("origin", "not stated"),
            "bundle": bundle.sha256[:12],
            "versions": manifest["steps"].get("extract_features", {}).get("versions", {}),
        }
        self._backbone: Backbone | None = None
        self._loading, self._opening = threading.Lock(), threading.Lock()

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        weights: str | Path | None = None,
        device: str = "cpu",
        qdrant: str | None = None,
    ) -> "Attributor":
        """Open a bundle folder; by default the one that ships with the project. No network, no torch yet.

        Args:
            bundle: the folder, or ``hf://owner/name@revision``.
            weights: file with the weights of its backbone, where ``load_backbone`` would not find them itself.
            device: where the backbone runs: ``cpu``, ``cuda`` or ``auto``.
            qdrant: address of a Qdrant server that holds the bundle's references, to be searched there.

        Raises:
            BundleError: a file is missing or damaged; the text names it and the command that rebuilds it.
        """
        return cls(open_bundle(bundle), weights, device, qdrant).opened()

    def opened(self) -> "Attributor":
        """Itself, once the embeddings of all references are read: else they are when first asked for. Errors as ``load``."""
        len(self._index)
        return self

    @cached_property
    def _index(self) -> dict[Space, Index]:
        with self._opening:
            return vars(self).get("_index") or open_indexes(self.bundle, self.references, self._qdrant)

    @property
    def ready(self) -> bool:
        """Whether the backbone is in memory, so that an uploaded image is answered at once."""
        return self._backbone is not None

    def warm_up(self) -> Backbone:
        """The backbone, loaded and run once when it is first asked for, which takes some seconds.

        Raises:
            BackboneError: its weights are missing, or are not those that the bundle's features were made with.
        """
        with self._loading:
            if self._backbone is None:
                backbone = self._load()
                if different := difference(self._made_with, backbone.spec):
                    raise BackboneError(
                        f"this bundle holds {different}: give the weights that it was made with (weights= of "
                        "Attributor.load, or their file in $AAD_WEIGHTS), or make its features again"
                    )
                backbone.embed([Image.new("RGB", (32, 32))])
                self._backbone = backbone
            return self._backbone

    def embed(
        self,
        images: Sequence[Image.Image | str | Path],
        space: Space | str = Space.DISENTANGLED,
        domain: Domain | str = Domain.SYNTHETIC,
    ) -> np.ndarray:
        """Embeddings of images in one space, (n, d) float32 with rows of unit length.

        Args:
            images: PIL images or paths.
            space: ``"backbone"``, ``"aligned"`` or ``"disentangled"``.
            domain: ``"synthetic"`` for queries, ``"real"`` for references.

        Raises:
            ImageError: an image cannot be read; the text says why and what to do.
        """
        head = self.heads[Space(space)]
        pictures = [load_image(image) for image in images]  # a bad one is refused before the long wait for the backbone
        return head.embed(self.warm_up().embed(pictures), domain)

    def attribute(self, image: Image.Image | str | Path, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        """The k nearest references of an image in every space, with weights.

        Args:
            image: PIL image or path.
            k: how many.
            among: (n,) bool, the references that may be named; the weights stay those of the whole gallery.

        Raises:
            ImageError: the image cannot be read.
            ValueError: k below 1.
        """
        return self._answer(self.embed([image], Space.BACKBONE), k, among)

    def attribute_query(self, query_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        """As ``attribute`` for a bundled query, from its stored features: no network is loaded."""
        return self._answer(self._query_features[[query_id]], k, among)

    def attribute_reference(self, reference_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        """The k nearest other references of a reference, as if it were not in the gallery; no network is loaded.

        It is compared as what it is, a real picture; the weights are calibrated for synthetic ones.
        """
        rows = {space: self._index[space].rows(np.array([reference_id])) for space in SPACES}
        found = {space: self._found(space, rows[space], k, among, reference_id) for space in SPACES}
        return Attribution(
            {space: self._answer_in(space, rows[space], found[space], k, among, reference_id) for space in SPACES}
        )

    def near_copies(self, reference_ids: Sequence[int]) -> list[int | None]:
        """For each reference of a ranking, the place in it that it is a near-copy of: the first that is no near-copy itself."""
        rows = self._index[Space.BACKBONE].rows(np.array(list(reference_ids), dtype=np.int64))
        folded: list[int | None] = []
        for alike in rows @ rows.T >= self._near_copy:
            folded.append(next((other for other, head in enumerate(folded) if head is None and alike[other]), None))
        return folded

    def similarities(self, query_ids: Sequence[int], space: Space | str) -> np.ndarray:
        """Cosine of m bundled queries to all n references in one space, (m, n) float32."""
        space = Space(space)
        queries = self.heads[space].embed(self._query_features[list(query_ids)], Domain.SYNTHETIC)
        return self._index[space].similarities(queries)

    def true_ranks(self, query_id: int) -> dict[Space, list[int]]:
        """Where the true sources of a bundled query stand in each space, ascending; empty when they are not known."""
        known = self.queries[query_id].exemplar_ids
        return {space: self._true_ranks(query_id, space, known) if known else [] for space in SPACES}

    def _true_ranks(self, query_id: int, space: Space, known: Sequence[int]) -> list[int]:
        index = self._index[space]
        if not isinstance(getattr(index, "embeddings", None), np.ndarray):  # not in memory: a near rank needs few rows
            query = self.heads[space].embed(self._query_features[[query_id]], Domain.SYNTHETIC)
            places = {i: rank for rank, i in enumerate(index.search(query, N_SOUGHT).ids[0].tolist(), start=1)}
            if places.keys() >= {*known}:
                return sorted(places[i] for i in known)
        return exemplar_ranks(self.similarities([query_id], space)[0], known).tolist()

    def _answer(self, features: np.ndarray, k: int, among: np.ndarray | None = None) -> Attribution:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = {space: self.heads[space].embed(features, Domain.SYNTHETIC) for space in SPACES}
        found = {space: self._found(space, queries[space], max(k, N_RIVALS), among) for space in SPACES}
        answers = {space: self._answer_in(space, queries[space], found[space], k, among) for space in SPACES}
        return Attribution(answers, self._verdict(found))

    def _found(
        self, space: Space, query: np.ndarray, k: int, among: np.ndarray | None, without: int | None = None
    ) -> SearchResult:
        beta = self.calibration[space].inverse_temperature
        return self._index[space].search(query, k, among=among, without=without, inverse_temperature=beta)

    def _verdict(self, found: Mapping[Space, SearchResult]) -> Verdict | None:
        """What the first answers of the spaces amount to; None where no judge was fitted, or nothing may be named."""
        if self.judge is None or not all(one.ids.size for one in found.values()):
            return None
        # As many as in the fit, however many are asked for.
        ids = {space: one.ids[0][:N_RIVALS] for space, one in found.items()}
        similarities = {space: one.similarities[0][:N_RIVALS] for space, one in found.items()}
        listed = np.unique(np.concatenate(list(ids.values())))
        first = int(ids[Space.DISENTANGLED][0])
        rows, place = self._index[Space.BACKBONE].rows(listed), np.searchsorted(listed, first)
        concepts, groups = (self.references.words(field) for field in ("concept", "group"))
        subjects = [concepts[i] or groups[i] for i in listed.tolist()]
        kin = rows @ rows[place] >= self._near_copy
        kin |= [subject == subjects[place] != "" for subject in subjects]
        kin[place] = True  # whatever rounding says
        terms = evidence(ids, similarities, listed[kin])
        is_copy = bool(similarities[Space.BACKBONE][0] >= self._near_copy)
        return self.judge.verdict(int(ids[Space.BACKBONE][0]) if is_copy else first, terms, is_copy)

    def _answer_in(
        self,
        space: Space,
        query: np.ndarray,
        found: SearchResult,
        k: int,
        among: np.ndarray | None,
        without: int | None = None,
    ) -> SpaceAttribution:
        """One (1, d) embedding in one space; ``among`` moves no weight, ``without`` is a reference that is not in the gallery."""
        index, calibration, coordinates = self._index[space], self.calibration[space], self.coordinates[space]
        beta = calibration.inverse_temperature
        assert found.log_mass is not None  # it was asked for
        ids, similarities = found.ids[0][:k], found.similarities[0][:k]
        # The mass is summed in another order, or estimated, and may fall short of what is shown by a last bit or more.
        shown, whole = calibration.log_mass(similarities), len(ids) == len(index) - (without is not None)
        weights, remainder = calibration.shares(similarities, shown if whole else max(shown, float(found.log_mass[0])))
        matches = tuple(map(Match, ids.tolist(), range(1, len(ids) + 1), similarities.tolist(), weights.tolist()))
        elsewhere = max(0.0, 1 - remainder - sum(match.weight for match in matches))
        near = found if among is None or without is not None else index.search(query, min(k, N_PLACING))
        position = 0.5, 0.5  # the middle of the map, for a query that has no reference to be near
        if without is not None:  # it keeps its own place
            position = float(coordinates[without][0]), float(coordinates[without][1])
        elif near.ids.size:
            position = place_query(coordinates, near.ids[0][:k], np.exp(beta * (near.similarities[0][:k] - 1)))
        return SpaceAttribution(space, matches, remainder, elsewhere, position, found.estimated)


def place_query(coordinates: np.ndarray, ids: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Where a query goes on a map, which AlignedUMAP cannot say: the weighted mean of its nearest references' places.

    Args:
        coordinates: (n, 2) places of the references.
        ids: reference ids, nearest first; the first ``N_PLACING`` are used.
        weights: their attribution weights, not all zero.

    >>> place_query(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), np.array([0.25, 0.25]))
    (0.5, 0.0)
    """
    ids, weights = ids[:N_PLACING], np.asarray(weights[:N_PLACING], dtype=np.float64)
    x, y = (weights / weights.sum() if weights.any() else np.full(len(ids), 1 / len(ids))) @ coordinates[ids]
    return float(x), float(y)


def open_indexes(bundle: Bundle, references: References, qdrant: str | None = None) -> dict[Space, Index]:
    """One index per space, over the same references in the same order.

    Without a section ``retrieval`` in the manifest a gallery is searched exactly: in memory up to the size at which
    ``aad.search.method_for`` says otherwise, from there on by reading all of it for each query, which is slow.

    With the address of a Qdrant server what lies in the bundle is not read.

    Raises:
        BundleError: a file is missing or damaged, an index is of other references, or a space has not as many of them.
    """
    if qdrant:
        return importlib.import_module("aad.scale.qdrant").open_collections(bundle, references, qdrant)
    told = bundle.section("retrieval") if "retrieval" in bundle.manifest else {}
    shape = n, _ = len(references), bundle.section("backbone")["dim"]

    def opened(space: Space) -> Index:
        if (told[space].get("method") if told else method_for(n)) == "exact":
            return ExactIndex(l2_normalise(bundle.read_array(f"references_{space}.npy", shape)))
        return importlib.import_module("aad.scale.building").open_stored(bundle, space, n, told.get(space))

    with ThreadPoolExecutor(2) as pool:  # more would need memory for more at once
        return dict(zip(SPACES, pool.map(opened, SPACES), strict=True))
