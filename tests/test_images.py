"""The door: every file of the corpus is answered with the right pixels or refused in words that help, and soon.

Then what no file shows: modes, limits, sources. `tests.test_endpoints` brings a sample to a server; long: `tests.endurance`.
"""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from aad import images
from aad.images import ACCEPT, KINDS, SUFFIXES, ImageError, load_image
from interface.pictures import is_picture
from precompute.common.gallery import images_below
from tests import hostile_files as hostile
from tests.image_bytes import BLUE, RED, WHITE, encode, picture, png, png_chunk

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


def refusal(source: object, words: str | None = None) -> str:
    with pytest.raises(ImageError, match=words) as caught:
        load_image(source)
    return str(caught.value)


def assert_close(pixel: object, expected: tuple[int, int, int], tolerance: int = 2) -> None:
    assert np.abs(np.subtract(pixel, expected)).max() <= tolerance, f"{pixel} is not {expected}"


@pytest.mark.parametrize("name", hostile.ODD)
def test_odd_picture_has_the_right_pixels(name: str, tmp_path: Path) -> None:
    odd, path = hostile.ODD[name], tmp_path / name
    path.write_bytes(odd.data)
    for source in (path, odd.data):
        result = load_image(source)
        assert (result.mode, result.size, result.info) == ("RGB", odd.size, {})
        for place, colour in odd.pixels.items():
            assert_close(result.getpixel(place), colour, odd.tolerance)
    assert load_image(result).tobytes() == result.tobytes()  # nothing is applied a second time


@pytest.mark.parametrize("name", hostile.BAD)
def test_bad_file_is_refused_in_words_that_help(name: str, tmp_path: Path) -> None:
    data, words = hostile.BAD[name]
    (tmp_path / name).write_bytes(hostile.made(data))
    start = time.process_time()
    text = refusal(tmp_path / name, words)
    assert time.process_time() - start < SOON
    check_words(text)
    assert name in text or text.startswith("pixel values")


@pytest.mark.parametrize("name", hostile.GREEDY)
def test_greedy_file_is_done_with_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_SECONDS", MAX_SECONDS)
    make, n = hostile.GREEDY[name]
    data = make(n)
    start = time.process_time()
    try:
        assert load_image(data).mode == "RGB"
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
def test_bombs_and_metadata_that_is_shared_take_no_memory(tmp_path: Path) -> None:
    files = {
        name: make(n) for name, (make, n) in hostile.GREEDY.items() if name.startswith("shared") or name == "tile.tif"
    }
    files["bomb.png"] = hostile.made(hostile.BAD["bomb.png"][0])
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    peaks = dict(line.split() for line in done.stdout.splitlines())  # the peak never falls: the last tells all
    assert int(peaks["bomb.png"]) < CEILING, f"megabytes after each file: {peaks}"


def test_corpus_names_every_file_once_has_every_kind_and_is_the_same_each_time() -> None:
    files = hostile.corpus()
    tables = (hostile.ODD, hostile.BAD, hostile.GREEDY, hostile.LARGEST)
    assert len({name.lower() for name in files}) == sum(map(len, tables))
    assert {hostile.FORMAT_OF.get(Path(name).suffix) for name in hostile.ODD} >= set(KINDS)
    assert hostile.made(files["scans.jpg"][0]) == hostile.made(files["scans.jpg"][0])


@pytest.mark.parametrize("kind", hostile.NAMES)
def test_name_decides_nothing_and_harms_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / hostile.NAMES[kind].decode(errors="surrogateescape")
    path.write_bytes(encode())
    result = load_image(path)
    assert {place: result.getpixel(place) for place in hostile.PICTURE} == hostile.PICTURE
    for content in (b"", b"no picture", encode()[:60], encode(Image.new("L", (1, 1)))):
        path.write_bytes(content)
        check_words(refusal(path))
    path.unlink()
    assert refusal(path, "check the path").isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="has no such places")
@pytest.mark.parametrize("place", hostile.PLACES)
def test_what_is_no_file_is_refused_and_not_waited_for(place: str, tmp_path: Path) -> None:
    make, words = hostile.PLACES[place]
    make(tmp_path / place)
    start = time.perf_counter()
    refusal(tmp_path / place, words)
    assert time.perf_counter() - start < 5  # a pipe would be waited for without any work


def test_a_path_of_nothing_and_what_is_no_source_are_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.png") in refusal(tmp_path / "none.png")
    for source, words in (("nul\0.png", "check the path"), (None, "NoneType; pass one of these")):
        assert " must be a" in refusal(source, words)


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("subprocess.Popen", "os.system"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.chdir(tmp_path)
    for name in ("figure.eps", "figure.png"):
        refusal(hostile.BAD[name][0], "none of these")
    assert not list(tmp_path.iterdir())


def test_files_of_every_kind_are_listed_served_and_offered(tmp_path: Path) -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"} <= {*SUFFIXES}
    assert {*SUFFIXES, "image/png", "image/avif"} <= {*ACCEPT.split(",")}
    for suffix in SUFFIXES:
        (tmp_path / f"picture{suffix.upper()}").write_bytes(b"")
    files = sorted(tmp_path.iterdir())
    assert len(files) == len(SUFFIXES) and list(images_below(tmp_path)) == files and all(map(is_picture, files))


def test_path_link_bytes_and_pil_image_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encode())
    (tmp_path / "link").symlink_to("cat.png")
    for source in (path, str(path), tmp_path / "link", path.read_bytes(), picture(), Image.open(path)):
        assert load_image(source).tobytes() == picture().tobytes()


def test_given_image_is_not_changed_and_not_shared() -> None:
    source = picture()
    source.info["dpi"] = (72, 72)
    load_image(source).paste(WHITE, (0, 0, 40, 30))
    assert source.tobytes() == picture().tobytes()
    assert source.info == {"dpi": (72, 72)}


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_pil_images_of_either_byte_order(mode: str) -> None:
    order = "<u2" if mode == "I;16" else ">u2"
    image = Image.frombytes(mode, (16, 16), np.full((16, 16), 32768, order).tobytes())
    assert load_image(image).getpixel((3, 3)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 100, 255], np.int32), (0, 100, 255)),  # 8 bits kept in 32
        (np.array([0, 32896, 65535], np.int32), (0, 128, 255)),  # 16 bits kept in 32
        (np.array([-1000, 0, 1000], np.int32), (0, 128, 255)),  # no usual white: darkest to brightest
        (np.array([0, 1 << 30, (1 << 31) - 1], np.int32), (0, 128, 255)),
        (np.array([0.0, 0.25, 1.0], np.float32), (0, 64, 255)),
        (np.array([0.0, 100.0, 255.0], np.float32), (0, 100, 255)),
        (np.array([7.5, 7.5, 7.5], np.float32) * -1, (0, 0, 0)),  # flat: no range to stretch
    ],
)
def test_deep_integers_and_floats_are_scaled(values: np.ndarray, expected: tuple[int, ...]) -> None:
    result = load_image(encode(Image.fromarray(np.repeat(values, 16)[None].repeat(16, 0)), "TIFF"))
    assert tuple(result.getpixel((x, 5))[0] for x in (0, 16, 32)) == expected


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_dark_sixteen_bit_grey_stays_dark(format_name: str) -> None:
    image = Image.fromarray(np.full((16, 16), 250, np.uint16))
    assert load_image(encode(image, format_name)).getpixel((3, 3)) == (1, 1, 1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "RGBX", "LA", "La", "RGBa", "PA"])
def test_every_mode_becomes_rgb_and_what_is_invisible_white(mode: str) -> None:
    image = Image.new("LA", (16, 16), (0, 0)) if "a" in mode.lower() else Image.new("RGB", (16, 16), "white")
    for step in {"RGBa": ("RGBA", "RGBa"), "PA": ("RGBA", "PA")}.get(mode, (mode,)):
        image = image.convert(step)
    result = load_image(image)
    assert (image.mode, result.mode) == (mode, "RGB")
    assert_close(result.getpixel((3, 3)), WHITE)


@pytest.mark.parametrize("colour", [RED, (40, 120, 200)])
def test_lab_keeps_its_colour(colour: tuple[int, int, int]) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.new("RGB", (16, 16), colour), srgb, lab, outputMode="LAB")
    assert image.mode == "LAB"
    for source in (image, encode(image, "TIFF")):
        assert_close(load_image(source).getpixel((3, 3)), colour, tolerance=6)  # Lab has 8 bits a channel


def test_half_of_a_colour_is_laid_on_white() -> None:
    assert load_image(encode(Image.new("RGBA", (16, 16), (255, 0, 0, 128)))).getpixel((8, 8)) == (255, 127, 127)


def test_a_profile_is_applied_in_every_mode() -> None:
    for mode in ("RGB", "RGBA", "P"):
        result = load_image(encode(Image.new("RGB", (32, 32), RED).convert(mode), icc_profile=hostile.PROFILE))
        assert_close(result.getpixel((9, 9)), BLUE)
    profile = hostile.cmyk_profile((135, 128, 128))  # every ink prints neutral mid-grey
    red_ink, paper = (Image.new("CMYK", (32, 32), ink) for ink in ((0, 255, 255, 0), (0, 0, 0, 0)))
    red, green, blue = load_image(encode(red_ink, "TIFF", icc_profile=profile)).getpixel((9, 9))
    assert max(red, green, blue) - min(red, green, blue) <= 3 and 90 < red < 160
    assert_close(load_image(encode(paper, "TIFF", icc_profile=profile)).getpixel((9, 9)), WHITE)


def test_limits_are_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode()
    for name, value in (("MIN_SIDE", 20), ("MAX_ASPECT", 20), ("MAX_BYTES", len(data))):
        monkeypatch.setattr(images, name, value)
    assert load_image(Image.new("RGB", (400, 20))).size == (400, 20) and load_image(data).size == (40, 30)
    refusal(Image.new("RGB", (401, 20)), "20 times as long")
    refusal(Image.new("RGB", (400, 19)), "at least 20 pixels")
    refusal(data + b"x", "must be at most")
    monkeypatch.setattr(images, "MAX_PIXELS", 20 * 400)
    assert load_image(Image.new("RGB", (400, 20))).size == (400, 20)
    refusal(Image.new("RGB", (400, 21)), "million")


def test_png_is_answered_exactly_where_the_standard_and_the_limits_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 300_000)  # so that none takes long
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for seed in range(30):
        draw = random.Random(seed)
        width, height, depth, colour = (draw.randrange(n) for n in (700, 700, 18, 8))
        if seed % 2 and colour in depths:
            depth = draw.choice(depths[colour])
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        row = bytes((width * samples * depth + 7) // 8)
        palette = png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
        data = png(width, height, depth, colour, [row] * height, before=palette)
        sound = depth in depths.get(colour, ()) and min(width, height) >= 16
        if sound and max(width, height) <= 25 * min(width, height) and width * height <= images.MAX_PIXELS:
            assert load_image(data).size == (width, height)
        else:
            check_words(refusal(data))


def test_heavy_file_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "heavy.png"
    with path.open("wb") as file:
        file.truncate(80_000_000)  # sparse: takes no room on disk
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was read"))
    refusal(path, r"at most 50 MB, got 80.0 MB \(heavy.png\)")


@pytest.mark.parametrize("as_image", [False, True])
def test_decompression_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch, as_image: bool) -> None:
    data = hostile.made(hostile.BAD["bomb.png"][0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # our limit must hold by itself, not through Pillow's
    for owner in (ImageFile.ImageFile, PngImagePlugin.PngImageFile):
        monkeypatch.setattr(owner, "load", lambda self: pytest.fail("pixels were decoded"))
    refusal(Image.open(io.BytesIO(data)) if as_image else data, "30,000 x 30,000 .*900.0 million")


def test_own_limit_holds_above_the_one_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert load_image(encode()).size == (40, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_many_threads_read_at_once() -> None:
    files = [encode(None, name) for name in ("PNG", "TIFF", "BMP", "PPM")] * 20
    with ThreadPoolExecutor(4) as pool:
        assert {image.tobytes() for image in pool.map(load_image, files)} == {picture().tobytes()}
