"""One door: a file gives the same pixels or the same refusal by whichever way it comes.

| door | what stands for it here |
|---|---|
| library | `load_image` of a path |
| upload, endpoint, batch, report, page | `decoded` of the uploaded path |
| folder, tar, Parquet | `Member.picture` of `cut` |
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aad.images import ImageError, load_image
from interface.decoder import decoded
from precompute.common.sources import cut
from tests.hostile_files import BAD, ODD, made
from tests.mutations import mutate
from tests.small import tar_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def files() -> dict[str, bytes]:
    """The corpus but for what is large, and what a hand does to it: over 300."""
    known = {name: odd.data for name, odd in ODD.items()} | {name: made(data) for name, (data, _) in BAD.items()}
    known = {name: data for name, data in known.items() if len(data) < 200_000}
    seeds = list(known.values())
    for seed in range(200):
        draw = random.Random(seed)
        known[f"mutant_{seed}.png"] = mutate(draw.choice(seeds), draw, draw.choice(seeds))
    return {f"{i}.png": data for i, data in enumerate(known.values())}  # a name decides nothing


def seen(look: Callable[[], object]) -> str:
    try:
        image = look()
    except ImageError as error:
        return re.sub(r"\((the uploaded picture|\d+(\.png)?)([:)])", r"(\3", str(error))
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()  # type: ignore[attr-defined]


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
