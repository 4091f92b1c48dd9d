"""The pictures that the benchmark is made of, by name: where each lies in the packages, and its pixels."""

import csv
import functools
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import fit, lay_on_ground
from .packages import read_rcc

OTHERS = Path(__file__).with_name("sources.csv")
_ACTIVITIES = "gcompris/src/activities"
_BOARD_SIZE = (702, 515)  # pixels; piece positions are fractions of it
_BOARD = f"{_ACTIVITIES}/paintings/resource/board/board{{}}_0.qml"
_PIECES = f"{_ACTIVITIES}/paintings/resource/image/"
_PIECE = re.compile(r'"pixmapfile"\s*:\s*"image/([^"]+\.webp)",\s*"x"\s*:\s*"([\d.]+)",\s*"y"\s*:\s*"([\d.]+)"')
_BOARD_GROUND = (246, 242, 232)  # shows only where two puzzle pieces do not quite meet


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of the packages.

    Attributes:
        source: `package:path`; `gcompris:board/N` is the painting on puzzle board N.
        kind: `cutout` (has alpha), `photo` or `painting`.
        tiles: Of a painting, such as `2x2:3`: the grid, and how many of its tiles, the busiest, are exemplars.
    """

    source: str
    kind: str
    tiles: str = ""


def read_catalogue(exemplars: Sequence[Mapping[str, str]]) -> dict[str, Entry]:
    """Every picture by its name: exemplars as their list has them; whole paintings, scenes and palettes by a table of their own."""
    with OTHERS.open(newline="", encoding="utf-8") as file:
        others = {row.pop("name"): Entry(**row) for row in csv.DictReader(file)}
    whole = {Path(row["path"]).stem: row for row in exemplars if row["kind"] != "painting"}
    return {name: Entry(row["file"], row["kind"]) for name, row in whole.items()} | others


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pixels of the entries, by name, read from the folders of stamps and of `.rcc` files on demand."""

    entries: Mapping[str, Entry]
    tuxpaint: Path
    gcompris: Path

    def drawn(self, name: str, size: int) -> Image.Image:
        """A picture in RGB, `size` pixels at the longest side, a cut-out on a plain ground; `NAME-2` is the second tile of NAME."""
        if name not in self.entries:
            painting, _, tile = name.rpartition("-")
            return fit(cut_tiles(self.image(painting), self.entries[painting].tiles)[int(tile) - 1], size)
        if self.entries[name].kind != "cutout":
            return fit(self.image(name), size)
        digest = hashlib.sha256(f"0/ground/{name}".encode()).digest()
        return lay_on_ground(self.image(name), np.random.default_rng(int.from_bytes(digest[:16], "big")), size)

    def image(self, name: str) -> Image.Image:
        """The whole picture: RGBA for a cut-out (trimmed to what is visible), RGB otherwise."""
        package, _, path = self.entries[name].source.partition(":")
        if package == "tuxpaint":
            picture: Image.Image = Image.open(self.tuxpaint / path)
        elif path.startswith("board/"):
            return assemble_board(_tree(self.gcompris / "paintings.rcc"), path.removeprefix("board/"))
        else:
            tree = _tree(self.gcompris / f"{path.split('/')[0]}.rcc")
            picture = Image.open(io.BytesIO(tree[f"{_ACTIVITIES}/{path}"]))
        if self.entries[name].kind != "cutout":
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
        if path.startswith("clickgame/"):  # two frames of an animation side by side
            picture = picture.crop((0, 0, picture.width // 2, picture.height))
        visible = picture.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()
        return picture.crop(visible) if visible else picture


@functools.lru_cache(maxsize=32)
def _tree(path: Path) -> dict[str, bytes]:
    return read_rcc(path.read_bytes())


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
    whole = Image.alpha_composite(Image.alpha_composite(ground, smear), canvas)
    return whole.convert("RGB").crop((left, top, right, bottom))


def cut_tiles(painting: Image.Image, tiles: str) -> list[Image.Image]:
    """Cut a painting into equal tiles and keep the busiest, in reading order; `2x2:3` is columns, rows, how many to keep."""
    grid, keep = tiles.split(":")
    n_columns, n_rows = map(int, grid.split("x"))
    xs = [painting.width * column // n_columns for column in range(n_columns + 1)]
    ys = [painting.height * row // n_rows for row in range(n_rows + 1)]
    boxes = [(left, top, right, bottom) for top, bottom in pairwise(ys) for left, right in pairwise(xs)]
    pieces = [painting.crop(box) for box in boxes]
    grey = [np.asarray(piece.convert("L"), dtype=np.float32).std() for piece in pieces]
    busiest = sorted(range(len(pieces)), key=lambda i: (-grey[i], i))[: int(keep)]
    return [pieces[i] for i in sorted(busiest)]
