"""A seeded stand-in for `aad.Attributor`: same attributes and methods, invented pictures, no bundle and no torch."""

from __future__ import annotations

import colorsys
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from aad.answers import Attribution, Match, Query, Reference, SpaceAttribution
from aad.bundle import Bundle
from aad.calibration import Calibration
from aad.images import load_image
from aad.references import References
from aad.spaces import SPACES, Space
from interface.heat import Explanation, SpaceExplanation

GROUPS = (
    "animals", "birds", "buildings", "clothes", "flowers", "food", "fruit", "furniture", "music", "paintings",
    "sea life", "tools", "vehicles",
)  # fmt: skip
TYPES = ("media", "scene", "photo", "style", "painted")
#: Reference 3 carries a hostile caption, so that every test page shows that captions are text.
HOSTILE_TITLE = '<img src=x onerror="window.pwned=1"></script><b>Boat</b>'
NOISE = {Space.BACKBONE: 1.9, Space.ALIGNED: 1.2, Space.DISENTANGLED: 0.7}
DIMENSION = 24
SCALE = {Space.BACKBONE: 9.0, Space.ALIGNED: 14.0, Space.DISENTANGLED: 22.0}
N_EXAMPLES = 12


def in_columns(references: Iterable[Reference], folder: Path) -> References:
    """References, whose pictures are in a folder, as a bundle has them."""
    return References([asdict(one) | {"path": one.path.relative_to(folder).as_posix()} for one in references], folder)


class FakeAttributor:
    """Seeded attributor over invented pictures.

    Args:
        folder: Where the pictures are written.
        n_per_group: References in each of the 13 concept groups.
        n_queries: Bundled queries. The first 12 are the examples, of the test split; further ones are of all splits.
    """

    def __init__(self, folder: Path, *, n_per_group: int = 9, n_queries: int = N_EXAMPLES) -> None:
        rng = np.random.default_rng(0)
        self.spaces = SPACES
        self.ready = False
        self.n_backbone_calls = 0
        self._n_per_group = n_per_group
        centres = rng.normal(size=(len(GROUPS), DIMENSION))
        (folder / "exemplar").mkdir(parents=True, exist_ok=True)
        (folder / "synth").mkdir(parents=True, exist_ok=True)
        references = []
        latent = []
        for reference_id, (group, item) in enumerate(itertools.product(range(len(GROUPS)), range(n_per_group))):
            path = folder / "exemplar" / f"{GROUPS[group]} {item}.webp"
            path.write_bytes(_drawn(group, item, False))
            latent.append(centres[group] + 0.9 * rng.normal(size=DIMENSION))
            references.append(
                Reference(
                    reference_id=reference_id,
                    path=path,
                    title=HOSTILE_TITLE if reference_id == 3 else f"{GROUPS[group].capitalize()}, number {item + 1}",
                    source=f"invented-pictures 1.{group % 3}",
                    licence="GPL-2.0-or-later" if group % 2 else "CC0-1.0",
                    author="A. Painter" if item % 2 else "",
                    url="https://example.org/picture" if item % 3 == 0 else "javascript:alert(1)" if item == 1 else "",
                    concept=f"{GROUPS[group]}-{item // 2}",
                    group=GROUPS[group],
                    split=("train", "validation", "test")[(item // 2) % 3],
                )
            )
        self.references = in_columns(references, folder)
        self._latent = np.array(latent)
        self._spread = {space: rng.normal(size=self._latent.shape) * NOISE[space] * 0.6 for space in SPACES}
        self.coordinates = self._lay_out(rng)
        self.neighbour_preservation = {Space.BACKBONE: 0.33, Space.ALIGNED: 0.41, Space.DISENTANGLED: 0.38}
        self.calibration = {space: Calibration(SCALE[space], 0.62 * SCALE[space]) for space in SPACES}
        self.queries, self._query_latent = self._make_queries(folder, rng, n_queries)
        self.examples, self.absent = tuple(range(min(N_EXAMPLES, n_queries))), (folder / "synth" / "absent.webp",)
        Image.new("RGB", (64, 48), (20, 90, 160)).save(self.absent[0])
        self.bundle = Bundle(folder, {"files": {}})
        self.metrics: dict[str, Any] | None = None
        self.stamp = {
            "name": "invented",
            "backbone": "none",
            "references": len(self.references),
            "bundle": "0123456789ab",
            "versions": {"numpy": np.__version__},
        }

    def attribute(self, image: Image.Image | str | Path, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        picture = load_image(image)
        self.warm_up()
        seed = int(np.asarray(picture.resize((8, 8)), dtype=np.int64).sum())
        rng = np.random.default_rng(seed)
        target = int(rng.integers(len(self.references)))
        latent = self._latent[target] + 0.8 * rng.normal(size=DIMENSION)
        return self._search(latent, k, seed, among)

    def attribute_query(self, query_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        return self._search(self._query_latent[query_id], k, query_id, among)

    def attribute_reference(self, reference_id: int, k: int = 10, among: np.ndarray | None = None) -> Attribution:
        others = np.arange(len(self.references)) != reference_id
        allowed = others if among is None else others & among
        return self._search(self._latent[reference_id], k, 1000 + reference_id, allowed)

    def near_copies(self, reference_ids: Sequence[int]) -> list[int | None]:
        """The last two pictures of every group are near-copies, when a group has nine."""
        twins = {i: i - 1 if i % 9 == 8 else i + 1 for i in reference_ids if i % 9 > 6 and self._n_per_group == 9}
        ids = list(reference_ids)
        return [ids.index(twins[i]) if twins.get(i) in ids[:row] else None for row, i in enumerate(ids)]

    def true_ranks(self, query_id: int) -> dict[Space, list[int]]:
        known = list(self.queries[query_id].exemplar_ids)
        ranks = {}
        for space in SPACES:
            similarity = self._similarity(self._query_latent[query_id], query_id, space)
            ranks[space] = sorted(int((similarity > similarity[i]).sum()) + 1 for i in known)
        return ranks

    def similarities(self, query_ids: Sequence[int], space: Space | str) -> np.ndarray:
        rows = [self._similarity(self._query_latent[query_id], query_id, Space(space)) for query_id in query_ids]
        return np.array(rows).reshape(len(rows), len(self.references))

    def _similarity(self, latent: np.ndarray, seed: int, space: Space) -> np.ndarray:
        rng = np.random.default_rng([seed, list(SPACES).index(space)])
        return _cosine(latent + NOISE[space] * rng.normal(size=DIMENSION), self._latent)

    def explain(self, query: int | Reference | Path, reference_id: int) -> Explanation:
        """Most regions a little for, some against."""
        self.warm_up()
        seed = query if isinstance(query, int) else len(str(query))
        rng = np.random.default_rng([seed, reference_id])
        spaces = {}
        for space in SPACES:
            heats = (0.004 + 0.006 * rng.normal(size=(2, 7, 7))).astype(np.float32)
            latent = self._query_latent[query] if isinstance(query, int) else self._latent[seed % len(self._latent)]
            similarity = float(self._similarity(latent, seed, space)[reference_id])
            spaces[space] = SpaceExplanation(similarity, *heats)
        return spaces

    def warm_up(self) -> None:
        self.n_backbone_calls += 1
        self.ready = True

    def _search(self, latent: np.ndarray, k: int, seed: int, among: np.ndarray | None = None) -> Attribution:
        answers = {}
        for space in SPACES:
            similarity = self._similarity(latent, seed, space)
            everything = np.argsort(-similarity, kind="stable")
            order = everything if among is None else everything[among[everything]]
            scale = SCALE[space]
            mass = np.exp(scale * similarity)
            weight = mass / (mass.sum() + np.exp(scale * 0.62))
            matches = tuple(
                Match(int(i), rank, float(similarity[i]), float(weight[i])) for rank, i in enumerate(order[:k], start=1)
            )
            near = everything[:5]
            place = np.average(self.coordinates[space][near], axis=0, weights=mass[near])
            remainder = float(1 - weight.sum())
            elsewhere = float(weight.sum() - weight[order[:k]].sum())
            answers[space] = SpaceAttribution(space, matches, remainder, elsewhere, (float(place[0]), float(place[1])))
        return Attribution(answers)

    def _lay_out(self, rng: np.random.Generator) -> dict[Space, np.ndarray]:
        axes = rng.normal(size=(DIMENSION, 2))
        places = {space: (self._latent + self._spread[space]) @ axes for space in SPACES}
        everything = np.concatenate(list(places.values()))
        low, span = everything.min(axis=0), np.ptp(everything, axis=0)
        return {space: ((p - low) / span).astype(np.float32) for space, p in places.items()}

    def _make_queries(self, folder: Path, rng: np.random.Generator, n: int) -> tuple[tuple[Query, ...], np.ndarray]:
        queries, latent = [], []
        for query_id in range(n):
            target = int((query_id * 11 + 3) % len(self.references))
            group, item = divmod(target, len(self.references) // len(GROUPS))
            path = folder / "synth" / f"query {query_id}.webp"
            path.write_bytes(_drawn(group, item, True))
            kind, generator, split, sources, blur = TYPES[query_id % 5], "multistyle26", "test", (target,), 0.5
            if query_id >= N_EXAMPLES:  # of every kind, harder, some with two sources
                generator = ("multistyle26", "photometric")[query_id % 5 == 2]
                split = ("test", "validation", "train")[query_id % 3]
                sources = (target,) if query_id % 5 != 3 else tuple(sorted((target, target ^ 1)))
                blur = 0.5 + 0.5 * (query_id % 4)
            queries.append(Query(query_id, path, kind, generator, split, GROUPS[group], sources))
            latent.append(self._latent[target] + blur * rng.normal(size=DIMENSION))
        return tuple(queries), np.array(latent)


def _cosine(vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows @ vector / (np.linalg.norm(rows, axis=1) * np.linalg.norm(vector))


@cache
def _drawn(group: int, item: int, restyled: bool) -> bytes:
    """The group sets the colours, the item the shape; a restyled one is recoloured."""
    width, height = (256, 256) if restyled else ((320, 240), (240, 320), (300, 300))[item % 3]
    hue = group / len(GROUPS) + 0.4 * restyled
    picture = Image.new("RGB", (width, height), _colour(hue + 0.5, 0.2, 0.93))
    draw = ImageDraw.Draw(picture)
    x, y, r = width / 2, height * 0.52, min(width, height) * 0.27
    draw.regular_polygon((x, y, r), 3 + item % 6, rotation=12 * item, fill=_colour(hue, 0.65, 0.75))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=85)
    return file.getvalue()


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(r * 255), int(g * 255), int(b * 255)
