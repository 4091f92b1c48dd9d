"""The bundle that ships and its own network, given what a visitor may bring: a right answer, or words why not.

Every odd kind of file is looked at in test_hostile_images.py, a sample of them over HTTP in test_endpoints.py.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aad import Attributor
from aad.images import ImageError
from aad.spaces import SPACES
from interface import endpoints
from tests.bad_files import BAD
from tests.image_bytes import encode, png

K = 5
PHOTO = "Otter"  # neither white nor symmetric, so that a wrong colour, depth or turn would show
ON_WHITE = "Long-nose pliers"  # half of it is white paper, which a test may make transparent


@pytest.fixture(scope="module")
def attributor() -> Attributor:
    loaded = Attributor.load()
    loaded.warm_up()  # so that no test's time or memory holds the network's loading
    return loaded


@pytest.fixture
def ask(attributor: Attributor, tmp_path: Path) -> Callable[[bytes, str], dict[str, Any]]:
    """Bytes under a file name, as `/attribute` answers them."""

    attribute = endpoints.functions(attributor)[0]

    def ask(data: bytes, name: str) -> dict[str, Any]:
        (tmp_path / name).write_bytes(data)
        return attribute(str(tmp_path / name), K)

    return ask


def exemplar(attributor: Attributor, title: str) -> tuple[int, Image.Image]:
    (reference,) = (reference for reference in attributor.references if reference.title == title)
    with Image.open(reference.path) as picture:
        return reference.reference_id, picture.convert("RGB")


def sixteen_bit(picture: Image.Image) -> bytes:
    values = np.asarray(picture).astype(">u2") * np.uint16(257)
    return png(*picture.size, 16, 2, (row.astype(">u2").tobytes() for row in values))


def turned(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise to see me upright"
    return encode(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)


def white_cut_out(picture: Image.Image) -> Image.Image:
    """RGBA with the white paper transparent, and garish green under it: who forgets the alpha sees green."""
    values = np.asarray(picture)
    paper = (values >= 250).all(axis=2)
    colour = np.where(paper[..., None], np.uint8([0, 255, 0]), values)
    return Image.fromarray(np.dstack([colour, np.where(paper, 0, 255).astype(np.uint8)]))


#: what comes -> which exemplar it is a copy of, how it is written, the name it comes under, least cosine to the exemplar
TWINS: dict[str, tuple[str, Callable[[Image.Image], bytes], str, float]] = {
    "plain PNG": (PHOTO, lambda picture: encode(picture, "PNG"), "liar.jpg", 0.999),
    "16-bit PNG": (PHOTO, sixteen_bit, "deep.png", 0.999),
    "CMYK JPEG": (PHOTO, lambda picture: encode(picture.convert("CMYK"), "JPEG", quality=95), "print.jpg", 0.95),
    "transparent RGBA PNG": (ON_WHITE, lambda picture: encode(white_cut_out(picture), "PNG"), "cut-out.png", 0.99),
    "EXIF-rotated JPEG": (PHOTO, turned, "phone.jpg", 0.95),
}


def assert_whole(reply: dict[str, Any]) -> None:
    """Three spaces, each with K matches in order, and shares that add up to one."""
    assert reply["k"] == K
    for space in SPACES:
        matches = reply[space]["matches"]
        assert [match["rank"] for match in matches] == list(range(1, K + 1))
        similarities = [match["similarity"] for match in matches]
        assert similarities == sorted(similarities, reverse=True)
        shares = [reply[space]["elsewhere"], reply[space]["remainder"], *(match["weight"] for match in matches)]
        assert min(shares) >= 0
        assert sum(shares) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", TWINS)
def test_a_copy_of_an_exemplar_in_any_form_finds_it_first(
    ask: Callable[..., Any], attributor: Attributor, kind: str
) -> None:
    title, write, name, least = TWINS[kind]
    reference_id, picture = exemplar(attributor, title)
    reply = ask(write(picture), name)
    assert_whole(reply)
    first = reply["backbone"]["matches"][0]
    assert first["reference_id"] == reference_id
    assert first["similarity"] > least


def test_uploaded_example_finds_what_the_stored_one_finds(ask: Callable[..., Any], attributor: Attributor) -> None:
    for query_id in attributor.examples:
        path = attributor.queries[query_id].path
        reply, stored = ask(path.read_bytes(), path.name), attributor.attribute_query(query_id, K)
        assert_whole(reply)
        for space in SPACES:
            found, known = reply[space]["matches"][0], stored[space].matches[0]
            assert found["reference_id"] == known.reference_id
            assert found["similarity"] == pytest.approx(known.similarity, abs=2e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux only")
def test_a_huge_picture_is_refused_before_it_takes_memory(ask: Callable[..., Any]) -> None:
    bomb = BAD["bomb.png"][1]()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"at most 60 million pixels, got 30,000 x 30,000 .* scale it down"):
        ask(bomb, "huge.png")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200, "megabytes"
