"""The facade: an image in, its nearest training sources in three spaces out.

attributor = Attributor.load()
result = attributor.attribute("picture.png", k=10)
best = result["aligned"].matches[0]
attributor.references[best.reference_id].title, best.similarity, best.weight
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.artifacts import Bundle, safe_paths
from aad.backbones import Backbone, l2_normalise, load_backbone
from aad.calibration import Calibration
from aad.heads import read_heads
from aad.images import load_image
from aad.metrics import exemplar_ranks
from aad.projection import place_query
from aad.retrieval import EmbeddingIndex
from aad.spaces import SPACES, Domain, Space


@dataclass(frozen=True, slots=True)
class Reference:
    """One candidate training source. ``reference_id`` is its row in every array of the bundle."""

    reference_id: int
    path: Path
    title: str
    source: str
    licence: str
    author: str = ""
    url: str = ""
    concept: str = ""
    group: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A bundled synthetic image; ``exemplar_ids`` are its true sources, empty when they are not known."""

    query_id: int
    path: Path
    type: str
    generator: str = ""
    split: str = ""
    concept: str = ""
    exemplar_ids: tuple[int, ...] = ()
    recipe: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One retrieved reference: 1-based rank, cosine similarity, and attribution weight in [0, 1]."""

    reference_id: int
    rank: int
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class SpaceAttribution:
    """The answer of one space. The weights of ``matches``, ``elsewhere`` and ``remainder`` sum to 1.

    Attributes:
        space: which space answered.
        matches: the k nearest references, best first.
        remainder: share explained by no reference, "none of these".
        elsewhere: share of the references beyond the k shown.
        position: the query's place on this space's map, in the frame of ``Attributor.coordinates``.
    """

    space: Space
    matches: tuple[Match, ...]
    remainder: float
    elsewhere: float
    position: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answers of all spaces to one query: ``attribution["aligned"]``."""

    spaces: dict[Space, SpaceAttribution]

    def __getitem__(self, space: Space | str) -> SpaceAttribution:
        return self.spaces[Space(space)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: per space the matches, the remainder, the share elsewhere and the position."""
        return json.loads(json.dumps({str(space): asdict(answer) for space, answer in self.spaces.items()}))


class Attributor:
    """A bundle opened for questions. Read-only after loading, and safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
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
        self.metrics: dict[str, Any] | None = bundle.read_json("metrics.json") if bundle.has("metrics.json") else None
        self.stamp: dict[str, Any] = {
            "name": manifest.get("name", bundle.folder.name),
            "backbone": manifest["backbone"]["name"],
            "references": n,
            "bundle": hashlib.sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest()[:12],
            "versions": manifest["steps"]["extract_features"].get("versions", {}),
        }
        self._backbone: Backbone | None = None
        self._loading = threading.Lock()

    @classmethod
    def load(cls, bundle: str | Path | None = None) -> "Attributor":
        """Open a bundle folder; by default the one that ships with the project. No network, no torch yet.

        Raises:
            BundleError: a file is missing or damaged; the text names it and the command that rebuilds it.
        """
        return cls(Bundle.open(bundle))

    @property
    def ready(self) -> bool:
        """Whether the backbone is in memory, so that an uploaded image is answered at once."""
        return self._backbone is not None

    def warm_up(self) -> None:
        """Load the backbone and run it once, which takes some seconds."""
        with self._loading:
            if self._backbone is None:
                backbone = load_backbone(self.stamp["backbone"])
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

    def attribute(self, image: Image.Image | str | Path, k: int = 10) -> Attribution:
        """The k nearest references of an image in every space, with weights.

        Raises:
            ImageError: the image cannot be read.
            ValueError: k below 1.
        """
        return self._answer(self.embed([image], Space.BACKBONE), k)

    def attribute_query(self, query_id: int, k: int = 10) -> Attribution:
        """As ``attribute`` for a bundled query, from its stored features: no network is loaded."""
        return self._answer(self._query_features[[query_id]], k)

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

    def _answer(self, features: np.ndarray, k: int) -> Attribution:
        answers = {}
        for space in SPACES:
            query = self.heads[space].embed(features, Domain.SYNTHETIC)
            found = self._index[space].search(query, k)
            ids = found.ids[0]
            weights, remainder = self.calibration[space].weights(self._index[space].similarities(query)[0])
            matches = tuple(
                Match(int(i), rank, float(similarity), float(weights[i]))
                for rank, (i, similarity) in enumerate(zip(ids, found.similarities[0], strict=True), start=1)
            )
            elsewhere = max(0.0, 1 - remainder - sum(match.weight for match in matches))
            position = place_query(self.coordinates[space], ids, weights[ids])
            answers[space] = SpaceAttribution(space, matches, remainder, elsewhere, position)
        return Attribution(answers)


def _entries(bundle: Bundle, name: str, images: Path) -> list[tuple[dict[str, Any], Path]]:
    entries = bundle.read_json(name)
    return list(zip(entries, safe_paths(images, [entry["path"] for entry in entries]), strict=True))
