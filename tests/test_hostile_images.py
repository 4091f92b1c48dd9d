"""Every file of the corpus is answered with the right pixels or refused in words that help, and soon.

Asked of the door, `load_image`; `tests.test_endpoints` brings a sample of them to a server. Long and heavy: `tests.endurance`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aad.images import ImageError, ImageLimits, load_image
from tests.bad_files import BAD
from tests.greedy_files import GREEDY
from tests.hostile_files import NAMES, PLACES, corpus, named
from tests.image_bytes import encode, picture
from tests.odd_files import ODD
from tests.odd_rasters import PICTURE

# Pillow warns of damaged metadata; what it warns of is what is brought on purpose here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

MAX_SECONDS = 0.1
SOON = 1.0  # seconds of work, which a busy machine does not lengthen: the limit, and the step during which it passes
CEILING = 150  # megabytes above what a process holds that has imported the module


def check_words(text: str) -> None:
    """A refusal says what was required, what came and what to do; on one line, for any terminal, page or log."""
    assert re.match(r"(an image|pixel values) .*(must|may) .*got .*; \S+", text), text
    assert text.isprintable() and text.encode()  # no lone surrogate, no line end, no terminal code
    assert len(text) <= 400, text
    assert not re.search(r"Traceback|object at 0x|BytesIO|/tmp|/home|site-packages", text), text


@pytest.mark.parametrize("name", ODD)
def test_odd_picture_has_the_right_pixels(name: str, tmp_path: Path) -> None:
    odd, path = ODD[name], tmp_path / name
    path.write_bytes(odd.make())
    for source in (path, path.read_bytes()):
        result = load_image(source)
        assert (result.mode, result.size, result.info) == ("RGB", odd.size, {})
        for place, colour in (odd.pixels or {}).items():
            found = result.getpixel(place)
            assert np.abs(np.subtract(found, colour)).max() <= odd.tolerance, f"{place}: {found} is not {colour}"
    assert load_image(result).tobytes() == result.tobytes()  # nothing is applied a second time


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_words_that_help(name: str, tmp_path: Path) -> None:
    _, make, words = BAD[name]
    path = tmp_path / name
    path.write_bytes(make())
    start = time.process_time()
    with pytest.raises(ImageError, match=words) as refusal:
        load_image(path)
    check_words(str(refusal.value))
    assert name in str(refusal.value) or str(refusal.value).startswith("pixel values")
    assert time.process_time() - start < SOON


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_file_is_done_with_soon(name: str) -> None:
    make, n = GREEDY[name]
    data, limits = make(n), ImageLimits(max_seconds=MAX_SECONDS)
    start = time.process_time()
    try:
        assert load_image(data, limits=limits).mode == "RGB"
    except ImageError as error:
        check_words(str(error))
    assert time.process_time() - start < SOON


MEASURE = """
import re, sys, warnings
from pathlib import Path
from aad.images import ImageError, load_image
warnings.simplefilter("ignore")
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
for name in sys.argv[1:]:
    try: load_image(name)
    except ImageError: pass
    print(Path(name).name, round(peak() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_metadata_that_is_shared_takes_no_memory(tmp_path: Path) -> None:
    names = [name for name in GREEDY if name.startswith("shared") or name == "tile.tif"]
    for name in names:
        make, n = GREEDY[name]
        (tmp_path / name).write_bytes(make(n))
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    peaks = dict(line.split() for line in done.stdout.splitlines())  # the peak never falls: the last tells all
    assert int(peaks[names[-1]]) < CEILING, f"megabytes after each file: {peaks}"


@pytest.mark.parametrize("kind", NAMES)
def test_name_decides_nothing_and_harms_nothing(kind: str, tmp_path: Path) -> None:
    path = named(tmp_path, NAMES[kind])
    result = load_image(path)
    assert {place: result.getpixel(place) for place in PICTURE} == PICTURE
    for content in (b"", b"no picture", encode(picture())[:60], encode(Image.new("L", (1, 1)))):
        path.write_bytes(content)
        with pytest.raises(ImageError) as refusal:
            load_image(path)
        check_words(str(refusal.value))
    path.unlink()
    with pytest.raises(ImageError, match="check the path") as refusal:
        load_image(path)
    assert str(refusal.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="has no such places")
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_refused_and_not_waited_for(place: str, tmp_path: Path) -> None:
    make, words = PLACES[place]
    make(tmp_path / place)
    start = time.perf_counter()
    with pytest.raises(ImageError, match=words):
        load_image(tmp_path / place)
    assert time.perf_counter() - start < 5  # a pipe would be waited for without any work


def test_link_to_a_picture_is_followed(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(encode(picture()))
    (tmp_path / "link").symlink_to("picture.png")
    assert load_image(tmp_path / "link").tobytes() == picture().tobytes()


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("a program was started"))
    monkeypatch.chdir(tmp_path)
    for name, (what, make, _) in BAD.items():
        if what.startswith("EPS"):
            with pytest.raises(ImageError, match=f"none of these|{name}"):
                load_image(make())
    assert not list(tmp_path.iterdir())


def test_reading_warns_at_most_and_leaves_pillow_as_it_was() -> None:
    known = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for odd in list(ODD.values())[::5]:
            load_image(odd.make())
    assert known == Image.MAX_IMAGE_PIXELS


def test_corpus_is_the_same_each_time_and_names_every_file_once() -> None:
    files = corpus()
    assert len({name.lower() for name in files}) == len(files) >= 190
    for name in ("plain.png", "random.jpg", "largest.webp", "scans.jpg"):
        make, what, expected = files[name]
        assert make() == make() and what and expected
