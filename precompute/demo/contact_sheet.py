"""One picture of the benchmark: exemplars at the left, the queries made from them beside."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

# Which queries stand beside an exemplar, by its kind; every row has the same number.
SHOWN = {
    "cutout": ("media", "scene", "photo", "painted"),
    "photo": ("media", "media", "photo", "painted"),
    "painting": ("style", "style", "style", "style"),
}
N_ROWS = 24
MAX_BYTES = 700_000
_TILE, _TALL, _GAP, _TEXT, _EDGE = 150, 124, 12, 34, 32
_INK, _QUIET, _PAPER = (32, 33, 36), (110, 112, 118), (255, 255, 255)


def choose_rows(exemplars: Sequence[dict[str, Any]], queries: Sequence[dict[str, Any]]) -> list[str]:
    """Paths of exemplars, spread evenly over the groups; those with the most types of query first."""
    types: dict[str, set[str]] = {}
    for query in queries:
        for path in query["exemplars"]:
            types.setdefault(path, set()).add(query["type"])
    by_group: dict[str, list[dict[str, Any]]] = {}
    for exemplar in exemplars:
        if exemplar["path"] in types:
            by_group.setdefault(exemplar["group"], []).append(exemplar)
    chosen: list[str] = []
    concepts: set[str] = set()
    for members in by_group.values():
        members.sort(key=lambda e: (-len(types[e["path"]]), _shuffled(e["path"])))
    while len(chosen) < N_ROWS and any(by_group.values()):
        for group in sorted(by_group):
            while by_group[group]:
                exemplar = by_group[group].pop(0)
                if exemplar["concept"] not in concepts:
                    concepts.add(exemplar["concept"])
                    chosen.append(exemplar["path"])
                    break
    order = {e["path"]: (e["group"], e["path"]) for e in exemplars}
    return sorted(chosen[:N_ROWS], key=lambda path: order[path])


def write_contact_sheet(assets: Path) -> None:
    """Draw `contact_sheet.webp` from what is in `abc_mini/`; two cases stand side by side."""
    exemplars = json.loads((assets / "abc_mini" / "exemplars.json").read_text(encoding="utf-8"))
    queries = json.loads((assets / "abc_mini" / "queries.json").read_text(encoding="utf-8"))
    details = {exemplar["path"]: exemplar for exemplar in exemplars}
    rows = choose_rows(exemplars, queries)
    block = 5 * (_TILE + _GAP)
    n_lines = -(-len(rows) // 2)
    width = 2 * _EDGE + 2 * block + 2 * _GAP
    height = 2 * _EDGE + 48 + n_lines * (_TALL + _TEXT + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (_EDGE, _EDGE - 8), "AbC-mini: exemplars and the queries made from them", _INK, ImageFont.load_default(22)
    )
    for number, path in enumerate(rows):
        left = _EDGE + (number % 2) * (block + 2 * _GAP)
        top = _EDGE + 48 + (number // 2) * (_TALL + _TEXT + _GAP)
        mine = [query for query in queries if path in query["exemplars"]]
        cells = [(path, details[path]["title"], _INK, ImageFont.load_default(13))]
        for query_type in SHOWN[details[path]["kind"]]:
            found = next((query for query in mine if query["type"] == query_type), None)
            if found is not None:
                mine.remove(found)
                cells.append((found["path"], query_type, _QUIET, ImageFont.load_default(12)))
        for place, (file, label, ink, font) in enumerate(cells):
            x = left + place * (_TILE + _GAP)
            picture = Image.open(assets / file).convert("RGB")
            picture.thumbnail((_TILE, _TALL), Image.Resampling.LANCZOS)
            sheet.paste(picture, (x, top + _TALL - picture.height))
            draw.text((x, top + _TALL + 6), _shorten(draw, label, font), ink, font)
    target = assets / "contact_sheet.webp"
    for quality in (80, 70, 60, 50, 40):
        sheet.save(target, "WEBP", quality=quality, method=6)
        if target.stat().st_size <= MAX_BYTES:
            break


def _shorten(draw: ImageDraw.ImageDraw, text: str, font: Any) -> str:
    # Pillow's own font ends with Latin-1: a letter beyond it loses its accent.
    text = "".join(c if ord(c) < 256 else unicodedata.normalize("NFD", c)[0] for c in text)
    if draw.textlength(text, font) <= _TILE:
        return text
    while draw.textlength(text + "...", font) > _TILE:
        text = text[:-1]
    return text.rstrip(" ,") + "..."


def _shuffled(path: str) -> bytes:
    """A fixed order that is not the alphabet's."""
    return hashlib.sha256(path.encode()).digest()[:4]
