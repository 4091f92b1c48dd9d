"""The attributor of a small bundle of invented pictures, with a seeded stand-in for its network: no torch."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from aad import Attributor
from aad.answers import Reference
from aad.bundle import Bundle
from aad.calibration import Calibration
from aad.method import Head
from aad.references import References
from aad.search import ExactIndex
from aad.spaces import SPACES, Domain, Space
from aad.vectors import l2_normalise
from interface.heat import Explanation, SpaceExplanation
from tests.factory import written

GROUPS = (
    "animals", "birds", "buildings", "clothes", "flowers", "food", "fruit", "furniture", "music", "paintings",
    "sea life", "tools", "vehicles",
)  # fmt: skip
TYPES = ("media", "scene", "photo", "style", "painted")
#: Reference 3 carries a hostile caption, so that every test page shows that captions are text.
HOSTILE_TITLE = '<img src=x onerror="window.pwned=1"></script><b>Boat</b>'
DIMENSION = 24  # of the content that a query shares with its source, and of the look that it does not
LOOK = {Space.BACKBONE: 1.5, Space.ALIGNED: 1.1, Space.DISENTANGLED: 0.7}  # how loud it is
SCALE = {Space.BACKBONE: 9.0, Space.ALIGNED: 14.0, Space.DISENTANGLED: 22.0}
N_EXAMPLES = 12


def in_columns(references: Iterable[Reference], folder: Path) -> References:
    """References, whose pictures are in a folder, as a bundle has them."""
    return References([asdict(one) | {"path": one.path.relative_to(folder).as_posix()} for one in references], folder)


class FakeAttributor(Attributor):
    """Attributor of a bundle of invented pictures that answers an upload as its pixels draw it.

    Args:
        folder: Where the pictures are written.
        n_per_group: References in each of the 13 concept groups; of nine the last two are near-copies.
        n_queries: Bundled queries. The first 12 are the examples, of the test split; further ones are of all splits.
    """

    ready = False

    def __init__(self, folder: Path, *, n_per_group: int = 9, n_queries: int = N_EXAMPLES) -> None:
        rng = np.random.default_rng(0)
        n = len(GROUPS) * n_per_group
        centres, (own, look) = rng.normal(size=(len(GROUPS), DIMENSION)), rng.normal(size=(2, n, DIMENSION))
        self._content = np.repeat(centres, n_per_group, 0) + 0.9 * own
        if n_per_group == 9:
            self._content[8::9], look[8::9] = self._content[7::9], look[7::9]
        references = [_reference(folder, *divmod(i, n_per_group)) for i in range(n)]
        references[3]["title"] = HOSTILE_TITLE
        queries = [_query(folder, query_id, n) for query_id in range(n_queries)]
        # The examples are all as hard, further ones differ.
        blur = np.where(np.arange(n_queries) < N_EXAMPLES, 0.5, 0.5 + 0.5 * (np.arange(n_queries) % 4))[:, None]
        asked = self._content[[_target(i, n) for i in range(n_queries)]].reshape(-1, DIMENSION)
        other, look_of_query = rng.normal(size=(2, n_queries, DIMENSION))
        features = (self._content, look), (asked + blur * other, look_of_query)
        rows = {domain: l2_normalise(np.hstack(one)) for domain, one in zip(Domain, features, strict=True)}
        tables, centre = {"references.json": references, "queries.json": queries}, np.zeros(2 * DIMENSION, np.float32)
        about: dict[str, Any] = {"name": "invented", "images": "..", "backbone": {"name": "none", "dim": 2 * DIMENSION}}
        about |= {
            "examples": [*range(min(N_EXAMPLES, n_queries))],
            "absent": [_written(folder, "synth/absent.webp", _drawn(0, 99, True))],
        }
        centred = dict.fromkeys(Domain, centre)
        super().__init__(Bundle.open(written(folder / "bundle", tables, rows, centred, 0.0, rng, **about)))
        for space, loudness in LOOK.items():
            weight = np.diag(np.repeat([1, loudness], DIMENSION)).astype(np.float32)
            self.heads[space] = Head(centred, dict.fromkeys(Domain, weight))
            self._index[space] = ExactIndex(self.heads[space].embed(rows[Domain.REAL], Domain.REAL))
            self.calibration[space] = Calibration(SCALE[space], 0.62 * SCALE[space])
        self.stamp["versions"] = {"numpy": np.__version__}
        self.n_backbone_calls = 0

    def warm_up(self) -> Any:
        self.n_backbone_calls += 1
        self.ready = True
        return SimpleNamespace(embed=lambda pictures: np.stack([self._seen(picture) for picture in pictures]))

    def _seen(self, picture: Image.Image) -> np.ndarray:
        rng = np.random.default_rng(int(np.asarray(picture.resize((8, 8)), dtype=np.int64).sum()))
        content = self._content[rng.integers(len(self._content))] + 0.8 * rng.normal(size=DIMENSION)
        return l2_normalise(np.hstack([content, rng.normal(size=DIMENSION)])[None])[0]

    def explain(self, query: int | Reference | Path, reference_id: int) -> Explanation:
        """Most regions a little for, some against."""
        self.warm_up()
        seed = query if isinstance(query, int) else len(str(query))
        rng, spaces = np.random.default_rng([seed, reference_id]), {}
        for space in SPACES:
            heats = (0.004 + 0.006 * rng.normal(size=(2, 7, 7))).astype(np.float32)
            similarity = self.similarities([seed % len(self.queries)], space)[0, reference_id]
            spaces[space] = SpaceExplanation(float(similarity), *heats)
        return spaces


def _reference(folder: Path, group: int, item: int) -> dict[str, str]:
    """Its entry; its picture is written."""
    return {
        "path": _written(folder, f"exemplar/{GROUPS[group]} {item}.webp", _drawn(group, item, False)),
        "title": f"{GROUPS[group].capitalize()}, number {item + 1}",
        "source": f"invented-pictures 1.{group % 3}",
        "licence": "GPL-2.0-or-later" if group % 2 else "CC0-1.0",
        "author": "A. Painter" if item % 2 else "",
        "url": "https://example.org/picture" if item % 3 == 0 else "javascript:alert(1)" if item == 1 else "",
        "concept": f"{GROUPS[group]}-{item // 2}",
        "group": GROUPS[group],
        "split": ("train", "validation", "test")[(item // 2) % 3],
    }


def _target(query_id: int, n: int) -> int:
    return (query_id * 11 + 3) % n


def _query(folder: Path, query_id: int, n: int) -> dict[str, Any]:
    """Likewise; beyond the examples they are of every kind, and some have two sources."""
    target, is_example = _target(query_id, n), query_id < N_EXAMPLES
    group, item = divmod(target, n // len(GROUPS))
    return {
        "path": _written(folder, f"synth/query {query_id}.webp", _drawn(group, item, True)),
        "type": TYPES[query_id % 5],
        "generator": "photometric" if query_id % 5 == 2 and not is_example else "multistyle26",
        "split": "test" if is_example else ("test", "validation", "train")[query_id % 3],
        "concept": GROUPS[group],
        "exemplar_ids": [target] if is_example or query_id % 5 != 3 else sorted((target, target ^ 1)),
    }


def _written(folder: Path, path: str, content: bytes) -> str:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return path


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
