"""The facade: an image in, its nearest training sources in three spaces out.

attributor = Attributor.load()
result = attributor.attribute("picture.png", k=10)
best = result["aligned"].matches[0]
attributor.references[best.reference_id].title, best.similarity, best.weight
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.answers import Attribution, Match, Query, Reference, SpaceAttribution
from aad.artifacts import Bundle, safe_paths
from aad.backbones import Backbone, BackboneError, difference, l2_normalise, load_backbone
from aad.calibration import Calibration
from aad.domain import DomainHint, DomainModel, fit_domain
from aad.gallery import fold_near_copies
from aad.heads import read_heads
from aad.images import load_image
from aad.metrics import exemplar_ranks
from aad.projection import place_query
from aad.retrieval import EmbeddingIndex
from aad.spaces import SPACES, Domain, Space


class Attributor:
    """A bundle opened for questions. Read-only after loading, and safe to share between threads."""

    def __init__(self, bundle: Bundle, weights: str | Path | None = None, device: str = "cpu") -> None:
        manifest = bundle.manifest
        self._made_with: dict[str, Any] = manifest["backbone"]
        self._weights, self._device = weights, device
        images = (bundle.folder / bundle.section("images", "extract_features")).resolve()
        self.references = tuple(
            Reference(
                i, path, **{key: value for key, value in entry.items() if key in Reference.__slots__ and key != "path"}
            )
            for i, (entry, path) in enumerate(_entries(bundle, "references.json", images))
        )
        self.queries = tuple(
            Query(
                i,
                path,
                exemplar_ids=tuple(entry["exemplar_ids"]),
                **{key: entry[key] for key in ("type", "generator", "split", "concept", "recipe") if key in entry},
            )
            for i, (entry, path) in enumerate(_entries(bundle, "queries.json", images))
        )
        n, d_feature = len(self.references), manifest["backbone"]["dim"]
        self.spaces = SPACES
        self.heads = read_heads(bundle)
        self._index = {
            space: EmbeddingIndex(l2_normalise(bundle.read_array(f"references_{space}.npy", (n, d_feature))))
            for space in SPACES
        }
        self._query_features = bundle.read_array("queries_backbone.npy", (len(self.queries), d_feature))
        places = bundle.read_array("coordinates.npy", (len(SPACES), n, 2))
        self.coordinates = dict(zip(SPACES, places, strict=True))
        self.calibration = {space: Calibration(**bundle.section("calibration", "calibrate")[space]) for space in SPACES}
        preserved = bundle.section("neighbour_preservation", "project")
        self.neighbour_preservation: dict[Space, float] = {space: preserved[space] for space in SPACES}
        self.examples: tuple[int, ...] = tuple(manifest.get("examples", ()))
        self.metrics, self.generalisation, self.theory = (
            bundle.read_json(name) if bundle.has(name) else None
            for name in ("metrics.json", "generalisation.json", "theory.json")
        )
        self.stamp: dict[str, Any] = {
            "name": manifest.get("name", bundle.folder.name),
            "backbone": manifest["backbone"]["name"],
            "references": n,
            "backbone_weights": manifest["backbone"].get("sha256", "")[:12],
            "heads": manifest["files"]["heads.safetensors"]["sha256"][:12],
            "seed_of_heads": manifest["steps"].get("train_heads", {}).get("seed", "not stated"),
            "bundle": hashlib.sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest()[:12],
            "versions": manifest["steps"]["extract_features"].get("versions", {}),
        }
        self._backbone: Backbone | None = None
        self._loading = threading.Lock()
        self._domain: DomainModel | None = None
        self._domain_fitted = False
        self._fitting = threading.Lock()

    @classmethod
    def load(
        cls, bundle: str | Path | None = None, weights: str | Path | None = None, device: str = "cpu"
    ) -> "Attributor":
        """Open a bundle folder; by default the one that ships with the project. No network, no torch yet.

        Args:
            bundle: the folder, or ``hf://owner/name@revision``.
            weights: file with the weights of its backbone, where ``load_backbone`` would not find them itself.
            device: where the backbone runs: ``cpu``, ``cuda`` or ``auto``.

        Raises:
            BundleError: a file is missing or damaged; the text names it and the command that rebuilds it.
        """
        return cls(Bundle.open(bundle), weights, device)

    @property
    def ready(self) -> bool:
        """Whether the backbone is in memory, so that an uploaded image is answered at once."""
        return self._backbone is not None

    def warm_up(self) -> None:
        """Load the backbone and run it once, which takes some seconds.

        Raises:
            BackboneError: its weights are missing, or are not those that the bundle's features were made with.
        """
        with self._loading:
            if self._backbone is None:
                backbone = load_backbone(self.stamp["backbone"], self._weights, self._device)
                if different := difference(self._made_with, backbone.spec):
                    raise BackboneError(
                        f"this bundle holds {different}: give the weights that it was made with (weights= of "
                        "Attributor.load, or their file in $AAD_WEIGHTS), or make its features again"
                    )
                backbone.embed([Image.new("RGB", (32, 32))])
                self._backbone = backbone

    def embed(
        self,
        images: Sequence[Image.Image | str | Path],
        space: Space | str = Space.DISENTANGLED,
        domain: Domain | str = Domain.SYNTHETIC,
    ) -> np.ndarray:
        """Embeddings of images in one space.

        Args:
            images: PIL images or paths.
            space: ``"backbone"``, ``"aligned"`` or ``"disentangled"``.
            domain: ``"synthetic"`` for queries, ``"real"`` for references.

        Returns:
            (n, d) float32 with rows of unit length.

        Raises:
            ImageError: an image cannot be read; the text says why and what to do.
        """
        head = self.heads[Space(space)]
        pictures = [load_image(image) for image in images]  # a bad one is refused before the long wait for the backbone
        self.warm_up()
        assert self._backbone is not None
        return head.embed(self._backbone.embed(pictures), domain)

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
        features = self.embed([image], Space.BACKBONE)
        return self._answer(features, k, among, self.domain.judge(features)[0] if self.domain else None)

    def attribute_query(self, query_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        """As ``attribute`` for a bundled query, from its stored features: no network is loaded."""
        return self._answer(self._query_features[[query_id]], k, among)

    def attribute_reference(self, reference_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        """The k nearest other references of a reference, as if it were not in the gallery; no network is loaded.

        It is compared as what it is, a real picture; the weights are calibrated for synthetic ones.
        """
        queries = {space: self._index[space].embeddings[[reference_id]] for space in SPACES}
        return self._search(queries, k, among, without=reference_id)

    def near_copies(self, reference_ids: Sequence[int]) -> list[int | None]:
        """For each reference of a ranking, the place in it that it is a near-copy of: see ``aad.gallery.fold_near_copies``."""
        return fold_near_copies(self._index[Space.BACKBONE].embeddings[list(reference_ids)])

    @property
    def domain(self) -> DomainModel | None:
        """What tells photographs from synthetic images, fitted at first use (under a second) outside the test split."""
        with self._fitting:
            if not self._domain_fitted:
                references = [one for one in self.references if one.split != "test"]
                queries = [one for one in self.queries if one.split != "test"]
                self._domain = fit_domain(
                    self._index[Space.BACKBONE].embeddings[[one.reference_id for one in references]],
                    l2_normalise(self._query_features[[one.query_id for one in queries]]),
                    [one.concept for one in references],
                    [one.concept for one in queries],
                )
                self._domain_fitted = True
            return self._domain

    def similarities(self, query_ids: Sequence[int], space: Space | str) -> np.ndarray:
        """Cosine of m bundled queries to all n references in one space, (m, n) float32."""
        space = Space(space)
        queries = self.heads[space].embed(self._query_features[list(query_ids)], Domain.SYNTHETIC)
        return self._index[space].similarities(queries)

    def true_ranks(self, query_id: int) -> dict[Space, list[int]]:
        """Where the true sources of a bundled query stand in each space, ascending; empty when they are not known."""
        known = self.queries[query_id].exemplar_ids
        return {
            space: exemplar_ranks(self.similarities([query_id], space)[0], known).tolist() if known else []
            for space in SPACES
        }

    def _answer(
        self, features: np.ndarray, k: int, among: np.ndarray | None = None, hint: DomainHint | None = None
    ) -> Attribution:
        queries = {space: self.heads[space].embed(features, Domain.SYNTHETIC) for space in SPACES}
        return self._search(queries, k, among, hint=hint)

    def _search(
        self,
        queries: dict[Space, np.ndarray],
        k: int,
        among: np.ndarray | None = None,
        without: int | None = None,
        hint: DomainHint | None = None,
    ) -> Attribution:
        """Ranks and weights of one (1, d) embedding per space; ``without`` is a reference that is not in the gallery."""
        answers = {}
        for space in SPACES:
            index, query = self._index[space], queries[space]
            similarities = index.similarities(query)[0]
            in_gallery = np.ones(len(index), dtype=bool)
            if without is not None:
                in_gallery[without] = False
            weights = np.zeros(len(index))
            weights[in_gallery], remainder = self.calibration[space].weights(similarities[in_gallery])
            if among is None and without is None:
                found = index.search(query, k)
                ids, shown = found.ids[0], found.similarities[0]
            else:
                ids = _nearest(similarities, k, in_gallery if among is None else in_gallery & among)
                shown = similarities[ids]
            matches = tuple(
                Match(int(i), rank, float(similarity), float(weights[i]))
                for rank, (i, similarity) in enumerate(zip(ids, shown, strict=True), start=1)
            )
            elsewhere = max(0.0, 1 - remainder - sum(match.weight for match in matches))
            if without is not None:
                x, y = self.coordinates[space][without]
                position = float(x), float(y)
            else:
                near = (
                    ids if among is None else _nearest(similarities, k, in_gallery)
                )  # a filter does not move the query
                position = place_query(self.coordinates[space], near, weights[near])
            answers[space] = SpaceAttribution(space, matches, remainder, elsewhere, position)
        return Attribution(answers, hint)


def _nearest(similarities: np.ndarray, k: int, allowed: np.ndarray) -> np.ndarray:
    """Ids of the k most similar references among those allowed, best first; equal ones by id, as the index orders them."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ids = np.flatnonzero(allowed)
    return ids[np.lexsort((ids, -similarities[ids]))[:k]]


def _entries(bundle: Bundle, name: str, images: Path) -> list[tuple[dict[str, Any], Path]]:
    entries = bundle.read_json(name)
    return list(zip(entries, safe_paths(images, [entry["path"] for entry in entries]), strict=True))
