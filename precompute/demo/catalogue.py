"""The curated list of pictures, their pixels, and the split by concept."""

import csv
import functools
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from .packages import GCOMPRIS, TUXPAINT, read_rcc

SPLITS = ("train", "validation", "test")
_ACTIVITIES = "gcompris/src/activities"
_BOARD_SIZE = (702, 515)  # pixels; piece positions are fractions of it
_BOARD = f"{_ACTIVITIES}/paintings/resource/board/board{{}}_0.qml"
_PIECES = f"{_ACTIVITIES}/paintings/resource/image/"
_PIECE = re.compile(r'"pixmapfile"\s*:\s*"image/([^"]+\.webp)",\s*"x"\s*:\s*"([\d.]+)",\s*"y"\s*:\s*"([\d.]+)"')
_BOARD_GROUND = (246, 242, 232)  # shows only where two puzzle pieces do not quite meet


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the list.

    Attributes:
        source: `package:path`; `gcompris:board/N` is the painting on puzzle board N.
        title: Plain English, for a museum visitor.
        concept: What it shows, or the painter; pictures of one concept never part between splits.
        group: About a dozen of them, to colour a map by.
        kind: `cutout` (has alpha), `photo` or `painting`.
        role: `exemplar`, `backdrop` (scenes and contents) or `palette` (styles); the last two are never exemplars.
        split: Of an exemplar: 45 % train, 20 % validation and 35 % test of each group's concepts, drawn once; painters, who are too
            few to draw, by hand.
        tiles: For paintings, such as `2x2:3`: the grid, and how many of its tiles, the busiest, are kept.
        licence: Of an exemplar, as the README beside the picture has it: Debian's own copyright file is older than some
            pictures. An SPDX identifier where there is one; none forbids changes or commercial use.
        author: Of an exemplar.
        url: Address of the original, where it is known.
    """

    source: str
    title: str
    concept: str
    group: str
    kind: str
    role: str
    split: str
    tiles: str
    licence: str = ""
    author: str = ""
    url: str = ""

    @property
    def package(self) -> str:
        """Name and version of the package that the picture comes from."""
        return (TUXPAINT if self.source.startswith("tuxpaint:") else GCOMPRIS).source

    @property
    def slug(self) -> str:
        """A short name for files, unique in the list."""
        package, _, inner = self.source.partition(":")
        path = PurePosixPath(inner)
        parts = [p for p in path.parts if p not in ("resource", "images", "image", "animals", "music")]
        text = "-".join([package, *parts[-2:]]).removesuffix(path.suffix).removesuffix("_background")
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", text).lower()).strip("-")


def read_catalogue(path: Path) -> list[Entry]:
    """Read the curated list, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Entry(**row) for row in csv.DictReader(file)]


def seeded_rng(seed: int, key: str) -> np.random.Generator:
    """A generator that depends on nothing but `seed` and `key`, so that order and number of workers do not matter."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


class Pictures:
    """Pixels of the list's entries, read from the folders of stamps and of `.rcc` files on demand."""

    def __init__(self, tuxpaint: Path, gcompris: Path) -> None:
        self.tuxpaint, self.gcompris = tuxpaint, gcompris
        self._tree = functools.lru_cache(maxsize=32)(self._read_tree)

    def _read_tree(self, activity: str) -> dict[str, bytes]:
        return read_rcc((self.gcompris / f"{activity}.rcc").read_bytes())

    def image(self, entry: Entry) -> Image.Image:
        """The picture: RGBA for a cut-out (trimmed to what is visible), RGB otherwise."""
        package, _, path = entry.source.partition(":")
        if package == "tuxpaint":
            picture: Image.Image = Image.open(self.tuxpaint / path)
        elif path.startswith("board/"):
            return assemble_board(self._tree("paintings"), path.removeprefix("board/"))
        else:
            picture = Image.open(io.BytesIO(self._tree(path.split("/")[0])[f"{_ACTIVITIES}/{path}"]))
        if entry.kind != "cutout":
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
        if path.startswith("clickgame/"):  # two frames of an animation side by side
            picture = picture.crop((0, 0, picture.width // 2, picture.height))
        visible = picture.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()
        return picture.crop(visible) if visible else picture


def assemble_board(tree: Mapping[str, bytes], board: str) -> Image.Image:
    """Put a painting together from its puzzle pieces and trim the border that the pieces leave ragged; ``board`` is its number."""
    width, height = _BOARD_SIZE
    canvas = Image.new("RGBA", _BOARD_SIZE, (*_BOARD_GROUND, 0))
    for name, x, y in _PIECE.findall(tree[_BOARD.format(board)].decode("utf-8")):
        piece = Image.open(io.BytesIO(tree[_PIECES + name])).convert("RGBA")
        corner = (round(float(x) * width - piece.width / 2), round(float(y) * height - piece.height / 2))
        layer = Image.new("RGBA", _BOARD_SIZE, (*_BOARD_GROUND, 0))
        layer.paste(piece, corner)
        canvas = Image.alpha_composite(canvas, layer)
    solid = np.asarray(canvas.getchannel("A")) > 200
    rows, columns = np.flatnonzero(solid.mean(1) > 0.4), np.flatnonzero(solid.mean(0) > 0.4)
    inset = 4
    left, top = int(columns[0]) + inset, int(rows[0]) + inset
    right, bottom = int(columns[-1]) + 1 - inset, int(rows[-1]) + 1 - inset
    ground = Image.new("RGBA", _BOARD_SIZE, (*_BOARD_GROUND, 255))
    # A gap between two pieces is at most a few pixels wide: fill it from the smeared neighbourhood, not with paper.
    smear = canvas.resize((width // 6, height // 6), Image.Resampling.BOX).resize(_BOARD_SIZE, Image.Resampling.BICUBIC)
    return (
        Image.alpha_composite(Image.alpha_composite(ground, smear), canvas)
        .convert("RGB")
        .crop((left, top, right, bottom))
    )


def cut_tiles(painting: Image.Image, tiles: str) -> list[Image.Image]:
    """Cut a painting into equal tiles and keep the busiest, in reading order; `2x2:3` is columns, rows, how many to keep."""
    grid, keep = tiles.split(":")
    n_columns, n_rows = map(int, grid.split("x"))
    xs = [painting.width * column // n_columns for column in range(n_columns + 1)]
    ys = [painting.height * row // n_rows for row in range(n_rows + 1)]
    boxes = [(left, top, right, bottom) for top, bottom in pairwise(ys) for left, right in pairwise(xs)]
    pieces = [painting.crop(box) for box in boxes]
    busiest = sorted(range(len(pieces)), key=lambda i: (-detail(pieces[i]), i))[: int(keep)]
    return [pieces[i] for i in sorted(busiest)]


def detail(image: Image.Image) -> float:
    """How much there is to see: the standard deviation of the grey levels (0..127)."""
    return float(np.asarray(image.convert("L"), dtype=np.float32).std())
