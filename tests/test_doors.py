"""One door: a file gives the same pixels or the same refusal by whichever way it comes.

| door | what stands for it here |
|---|---|
| library | `load_image` of a path |
| upload | `decoded` of a path |
| page, endpoint, batch, report | an upload over HTTP, and what the attributor is asked then |
| folder, tar, Parquet | `Member.picture` of `cut` |
"""

from __future__ import annotations

import hashlib
import html
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aad.images import MAX_ASPECT, MAX_PIXELS, MIN_SIDE, ImageError, load_image
from interface import handlers
from interface.decoder import decoded
from precompute.common.sources import cut
from tests.hostile_files import BAD, ODD, made
from tests.mutations import mutate
from tests.pages import MARKS, Page
from tests.small import tar_of
from tests.test_images import check_words

pytestmark = MARKS


def files() -> dict[str, bytes]:
    """The corpus but for what is large, and what a hand does to it: over 300."""
    known = {name: odd.data for name, odd in ODD.items()} | {name: made(data) for name, (data, _) in BAD.items()}
    known = {name: data for name, data in known.items() if len(data) < 200_000}
    seeds = list(known.values())
    for seed in range(240):
        draw = random.Random(seed)
        one, other, place = draw.choice(seeds), draw.choice(seeds), draw.random()
        known[f"mutant_{seed}.png"] = mutate(one, draw, other) if seed % 3 else one[: int(place * len(one))] + other
    return {f"{i}.png": data for i, data in enumerate(known.values())}  # a name decides nothing


def digest(image: Image.Image) -> str:
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def plain(refusal: str) -> str:
    """Without the name, which not every door knows, and the capital that a page begins with."""
    return refusal[:1].lower() + re.sub(r"\((the uploaded picture|\d+(\.png)?)([:)])", r"(\3", refusal)[1:]


def seen(look: Callable[[], Image.Image]) -> str:
    """Whatever is done to a file: an upright RGB picture within the limits, or a refusal in words."""
    try:
        image = look()
    except ImageError as error:
        check_words(str(error))
        return plain(str(error))
    assert (image.mode, image.info) == ("RGB", {}) and min(image.size) >= MIN_SIDE
    assert image.width * image.height <= MAX_PIXELS and max(image.size) <= MAX_ASPECT * min(image.size)
    return digest(image)


def test_every_file_is_answered_alike_at_every_door(tmp_path: Path) -> None:
    corpus = files()
    assert len(corpus) >= 300
    (folder := tmp_path / "folder").mkdir()
    for name, data in corpus.items():
        (folder / name).write_bytes(data)
    tar_of(tmp_path / "a.tar", corpus)
    pq.write_table(pa.table({"image": list(corpus.values())}), tmp_path / "a.parquet")
    doors = {
        "library": {name: seen(lambda name=name: load_image(folder / name)) for name in corpus},
        "upload": {name: seen(lambda name=name: decoded(folder / name)) for name in corpus},
    }
    for source in (folder, tmp_path / "a.tar", tmp_path / "a.parquet"):
        members = [member for piece in cut([source], 1000) for member in piece.members()]
        answers = {member.name.rpartition("/")[2]: seen(member.picture) for member in members}
        doors[source.name] = {name if "." in name else f"{name}.png": answer for name, answer in answers.items()}
    for door, answers in doors.items():
        assert answers.keys() == corpus.keys(), door
        assert {name: answer for name, answer in answers.items() if answer != doors["library"][name]} == {}, door
    assert len({answer for answer in doors["library"].values() if " " not in answer}) > 30, (
        "pictures, not refusals alone"
    )


@pytest.mark.slow
def test_every_file_is_answered_alike_over_http(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, met, attribute = files(), list[str](), page.attributor.attribute

    def noting(image: Image.Image, *arguments: Any, **more: Any) -> Any:
        met.append(digest(image))
        return attribute(image, *arguments, **more)

    monkeypatch.setattr(page.attributor, "attribute", noting)
    library = [seen(lambda data=data: load_image(data)) for data in corpus.values()]
    sent = [page.upload(name, data) for name, data in corpus.items()]
    parts = [sent[start : start + 100] for start in range(0, len(sent), 100)]

    def told(reply: str) -> Any:
        return json.loads(reply.rpartition("data: ")[2])

    def one(asked: Callable[[], str | None]) -> str:
        met.clear()
        refusal = asked()
        return plain(refusal) if refusal else met[0]

    def shown(path: str) -> str | None:
        return handlers.answer(page.attributor, "upload", path, 2).get("text")

    def endpoint(file: dict[str, Any]) -> str | None:
        reply = told(page.ask("attribute", file, 2))
        return reply["error"] if isinstance(reply, dict) else None

    assert [one(lambda file=file: shown(file["path"])) for file in sent] == library
    assert [one(lambda file=file: endpoint(file)) for file in sent] == library
    met.clear()
    results = [result for part in parts for result in told(page.ask("attribute_batch", part, 2))[0]["results"]]
    digests = iter([*met])
    assert [plain(result["error"]) if "error" in result else next(digests) for result in results] == library
    met.clear()
    reports = [html.unescape(Path(told(page.ask("report", part, 2))[0]["path"]).read_text("utf-8")) for part in parts]
    assert met == [answer for answer in library if " " not in answer]
    assert all(plain(result["error"]) in plain("".join(reports)) for result in results if "error" in result)
