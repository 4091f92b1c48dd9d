"""One shard of ``extract_shards``: draw the views of some hundred images and embed them, or find that it was done."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import Backbone
from aad.files import file_sha256
from aad.images import ImageError, load_image
from precompute.common.shard_files import write_array, write_table
from precompute.pictures import RESTYLE
from precompute.pictures.pictures import DRAWING_SIZE
from precompute.pictures.plain import VIEW_SIZE, make_view, view_rng

KINDS = ("plain", *RESTYLE)
GROUP = 16  # images drawn ahead while the backbone works: twice this many are in memory, 1 GB of large photographs


@dataclass(frozen=True, slots=True)
class Shard:
    """Some hundred images, in order, that share a file.

    Attributes:
        out: folder of all shards.
        number: of the shard.
        members: (name, path) of each image.
        settings: what decides how they are drawn and embedded; as JSON gives it back.
    """

    out: Path
    number: int
    members: list[tuple[str, Path]]
    settings: dict[str, Any]

    @property
    def array(self) -> Path:
        """The file of features."""
        return self.out / f"{self.number:05}.npy"

    @property
    def table(self) -> Path:
        """The file that says what the features are of."""
        return self.out / f"{self.number:05}.json"

    def stored(self, pool: ThreadPoolExecutor) -> dict[str, Any] | None:
        """The table of the shard on disk; None if it is missing, damaged, or of other images or settings."""
        try:
            table = json.loads(self.table.read_bytes())
            sound = table["settings"] == self.settings and file_sha256(self.array) == table["sha256"]
            return table if sound and table["images"] == self._fingerprint(pool) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def made(self, backbone: Backbone, pool: ThreadPoolExecutor, progress: Callable[[int], object]) -> dict[str, Any]:
        """Compute the shard and write it, the table last; ``progress`` gets the images done since it was last called."""
        self.table.unlink(missing_ok=True)
        fingerprint = self._fingerprint(pool)
        rows: list[np.ndarray] = []
        names: list[str] = []
        refused: dict[str, str] = {}
        groups = [range(start, min(start + GROUP, len(self.members))) for start in range(0, len(self.members), GROUP)]
        ahead = [pool.submit(self._drawn, i) for i in groups[0]]
        for group, following in zip_longest(groups, groups[1:], fillvalue=range(0)):
            drawn = [future.result() for future in ahead]
            ahead = [pool.submit(self._drawn, i) for i in following]  # while the backbone works
            kept: list[list[Image.Image]] = []
            for (name, _), pictures in zip((self.members[i] for i in group), drawn, strict=True):
                if isinstance(pictures, str):
                    refused[name] = pictures
                else:
                    names.append(name)
                    kept.append(pictures)
            rows.append(backbone.embed([picture for pictures in kept for picture in pictures]))
            progress(len(group))
        shape = (len(names), 1 + self.settings["n_views"], backbone.spec.dim)
        features = np.concatenate(rows).astype(np.float16).reshape(shape)
        table: dict[str, Any] = {"sha256": write_array(self.array, features), "images": fingerprint}
        table |= {"settings": self.settings, "names": names, "refused": refused}
        write_table(self.table, table)
        return table

    def _drawn(self, i: int) -> list[Image.Image] | str:
        """The image and its views, or why it cannot be read."""
        name, path = self.members[i]
        try:
            name.encode()
            image = load_image(path)
        except UnicodeEncodeError:
            return "its name is not UTF-8; rename it"
        except ImageError as error:
            return str(error)
        small = image.copy()
        small.thumbnail((DRAWING_SIZE, DRAWING_SIZE), Image.Resampling.LANCZOS)
        kinds, seed = self.settings["kinds"], self.settings["seed"]
        return [
            image,
            *(draw_view(small, kinds[j % len(kinds)], seed, name, j) for j in range(self.settings["n_views"])),
        ]

    def _fingerprint(self, pool: ThreadPoolExecutor) -> str:
        """Of the names and contents of the images."""
        contents = pool.map(_content, (path for _, path in self.members))
        pairs = [(name, content) for (name, _), content in zip(self.members, contents, strict=True)]
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def _content(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return "cannot be read"


def draw_view(image: Image.Image, kind: str, seed: int, name: str, number: int) -> Image.Image:
    """One view of an image that depends on nothing but what is given here.

    Args:
        image: RGB.
        kind: one of ``KINDS``.
        seed: of everything drawn.
        name: of the image.
        number: of the view among the image's.
    """
    rng = view_rng(seed, f"{kind}|{name}", number)
    view = make_view(image, _ground(rng), rng)
    return view if kind == "plain" else RESTYLE[kind](view, _ground(rng), rng)


def _ground(rng: np.random.Generator) -> Image.Image:
    """Blotches of random colours, coarse or fine, where ``extract_views`` takes another picture of the bundle."""
    side = int(rng.integers(2, 12))
    blotches = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.BICUBIC)
