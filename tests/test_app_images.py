"""A server with the bundle that ships, given a sample of the odd files that visitors bring: a right answer, or words why not."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import app
from aad import Attributor, ImageError, load_image
from aad.spaces import SPACES
from interface import handlers
from tests.bad_files import BAD
from tests.fakes import free_port
from tests.hostile_files import NAMES
from tests.image_bytes import encode, picture, png
from tests.odd_files import ODD

# The server runs in this process, and the libraries it uses warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

K = 5
PHOTO = "Otter"  # neither white nor symmetric, so that a wrong colour, depth or turn would show
ANSWERED = (
    "really_a_png.jpg", "shell.php.png", "no_extension", "deep.png", "palette_key.png", "moving.gif", "cmyk.jpg", "turned_6.jpg",
    "tiled.tif", "odd_white.ppm",
)  # fmt: skip
REFUSED = (
    "empty.png", "letter.png", "drawing.svg", "paper.pdf", "phone.heic", "cut_50.png", "cut_50.jpeg", "one_pixel.png", "bomb.png",
    "not_a_number.tif",
)  # fmt: skip


@pytest.fixture(scope="module")
def attributor() -> Attributor:
    return Attributor.load()


@pytest.fixture(scope="module")
def client(attributor: Attributor) -> Iterator[Any]:
    from gradio_client import Client

    attributor.warm_up()  # so that no test's time or memory holds the network's loading
    url, stop = app.serve(app.build_app(attributor), server_port=free_port(), quiet=True)
    yield Client(url, verbose=False)
    stop()


@pytest.fixture
def ask(client: Any, tmp_path: Path) -> Callable[[bytes, str], dict[str, Any] | str]:
    """Sends bytes under a file name to `/attribute`: the answer, or the words of the refusal."""
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    def ask(data: bytes, name: str) -> dict[str, Any] | str:
        (tmp_path / name).write_bytes(data)
        try:
            return client.predict(handle_file(str(tmp_path / name)), K, api_name="/attribute")
        except AppError as error:
            return str(error)

    return ask


def assert_answer(reply: Any, attributor: Attributor, image: Image.Image) -> None:
    """What the attributor says of the picture: K matches in order in each space, and shares that add up to one."""
    assert reply["k"] == K, reply
    expected = attributor.attribute(image, K)
    for space in SPACES:
        matches = reply[space]["matches"]
        assert [match["rank"] for match in matches] == list(range(1, K + 1))
        known = expected[space].matches
        assert [match["reference_id"] for match in matches] == [match.reference_id for match in known]
        similarities = [match["similarity"] for match in matches]
        assert similarities == pytest.approx([match.similarity for match in known], abs=1e-5)
        shares = [reply[space]["elsewhere"], reply[space]["remainder"], *(match["weight"] for match in matches)]
        assert min(shares) >= 0 and sum(shares) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ANSWERED)
def test_an_odd_picture_is_answered_as_the_picture_that_it_shows(
    ask: Callable[..., Any], attributor: Attributor, name: str
) -> None:
    data = ODD[name].make()
    assert_answer(ask(data, name), attributor, load_image(data))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_in_the_words_of_the_door(ask: Callable[..., Any], tmp_path: Path, name: str) -> None:
    data = BAD[name][1]()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError) as refusal:
        load_image(tmp_path / name)
    words = ask(data, name)
    assert words == str(refusal.value) and "/" not in words.replace("not-a-number", ""), "no path of the server"


@pytest.mark.parametrize("kind", ["a script", "a path, encoded", "format codes"])
def test_a_files_name_decides_nothing(ask: Callable[..., Any], attributor: Attributor, kind: str) -> None:
    assert_answer(ask(encode(picture()), NAMES[kind].decode()), attributor, picture())


@pytest.mark.parametrize("k", [None, 0, 101, -5, 2.5, float("nan"), float("inf"), 10**400, "5", [1]])
def test_a_k_that_is_none_is_refused_in_words(attributor: Attributor, tmp_path: Path, k: Any) -> None:
    import gradio as gr

    picture().save(tmp_path / "upload.png")
    with pytest.raises(gr.Error, match=r"k must be a whole number from 1 to 100, got") as refusal:
        handlers.attribute_file(attributor, str(tmp_path / "upload.png"), k)
    assert str(refusal.value.message).isprintable() and len(str(refusal.value.message)) < 900


def test_a_deep_copy_on_its_side_finds_its_exemplar_first(ask: Callable[..., Any], attributor: Attributor) -> None:
    (reference,) = (reference for reference in attributor.references if reference.title == PHOTO)
    photo = load_image(reference.path)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise to see me upright"
    values = np.asarray(photo).astype(">u2") * np.uint16(257)
    deep = png(*photo.size, 16, 2, (row.astype(">u2").tobytes() for row in values))
    side = encode(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)
    for data, name, least in ((deep, "deep.png", 0.999), (side, "phone.txt", 0.95)):
        first = ask(data, name)["backbone"]["matches"][0]
        assert first["reference_id"] == reference.reference_id and first["similarity"] > least


def test_uploaded_example_finds_what_the_stored_one_finds(ask: Callable[..., Any], attributor: Attributor) -> None:
    for query_id in attributor.examples:
        path = attributor.queries[query_id].path
        reply, stored = ask(path.read_bytes(), path.name), attributor.attribute_query(query_id, K)
        for space in SPACES:
            found, known = reply[space]["matches"][0], stored[space].matches[0]
            assert found["reference_id"] == known.reference_id
            assert found["similarity"] == pytest.approx(known.similarity, abs=2e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux only")
def test_a_huge_picture_is_refused_before_it_takes_memory(ask: Callable[..., Any]) -> None:
    bomb = BAD["bomb.png"][1]()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "30,000 x 30,000" in str(ask(bomb, "huge.png"))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200, "megabytes"
