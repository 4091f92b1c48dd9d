"""What the corpus of odd files does not show of `load_image`: modes without a file, colour, limits, sources, threads."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from aad.images import ACCEPT, KINDS, SUFFIXES, ImageError, ImageLimits, load_image
from interface.pictures import is_picture
from precompute.common.gallery import images_below
from tests.bad_files import BAD
from tests.image_bytes import BLUE, GREEN, RED, WHITE, encode, picture
from tests.odd_files import cmyk_profile, exchanged_profile


def assert_close(pixel: object, expected: tuple[int, int, int], tolerance: int = 2) -> None:
    assert np.abs(np.subtract(pixel, expected)).max() <= tolerance, f"{pixel} is not {expected}"


@pytest.mark.parametrize("format_name", [kind.format for kind in KINDS])
def test_every_supported_format_is_read(format_name: str) -> None:
    options = {"quality": 100, "subsampling": "4:4:4"} if format_name in ("JPEG", "AVIF") else {}
    options = {"lossless": True} if format_name == "WEBP" else options
    result = load_image(encode(picture(), format_name, **options))
    assert (result.mode, result.size, result.info) == ("RGB", (40, 30), {})
    for corner, colour in {(2, 2): GREEN, (2, 27): RED, (37, 2): BLUE, (37, 27): BLUE}.items():
        assert_close(result.getpixel(corner), colour, tolerance=6)


def test_files_of_every_kind_are_listed_served_and_offered(tmp_path: Path) -> None:
    for kind in KINDS:
        assert Image.MIME.get(kind.format, kind.media_type) == kind.media_type
        assert kind.media_type in ACCEPT.split(",")
        for suffix in kind.suffixes:
            assert Image.EXTENSION[suffix] == kind.format and suffix in ACCEPT.split(",")
            (tmp_path / f"picture{suffix.upper()}").write_bytes(b"")
    files = sorted(tmp_path.iterdir())
    assert len(files) == len(SUFFIXES) and list(images_below(tmp_path)) == files and all(map(is_picture, files))


def test_path_bytes_and_pil_image_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encode(picture()))
    expected = picture().tobytes()
    for source in (path, str(path), path.read_bytes(), picture(), Image.open(path)):
        assert load_image(source).tobytes() == expected


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


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "RGBX"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.new("RGB", (16, 16), "white").convert(mode)
    assert image.mode == mode
    result = load_image(image)
    assert result.mode == "RGB"
    assert_close(result.getpixel((3, 3)), WHITE)


@pytest.mark.parametrize("colour", [RED, (40, 120, 200)])
def test_lab_keeps_its_colour(colour: tuple[int, int, int]) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.new("RGB", (16, 16), colour), srgb, lab, outputMode="LAB")
    assert image.mode == "LAB"
    for source in (image, encode(image, "TIFF")):
        assert_close(load_image(source).getpixel((3, 3)), colour, tolerance=6)  # Lab has 8 bits a channel


def test_alpha_is_laid_on_white() -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))  # invisible black
    image.paste((255, 0, 0, 255), (0, 0, 4, 16))
    image.paste((255, 0, 0, 128), (4, 0, 8, 16))
    result = load_image(encode(image))
    assert result.getpixel((2, 8)) == RED
    assert result.getpixel((6, 8)) == (255, 127, 127)
    assert result.getpixel((12, 8)) == WHITE


@pytest.mark.parametrize("mode", ["LA", "La", "RGBa", "PA"])
def test_other_alpha_modes_are_laid_on_white(mode: str) -> None:
    image = Image.new("LA", (16, 16), (0, 0))
    steps = {"La": ("La",), "RGBa": ("RGBA", "RGBa"), "PA": ("RGBA", "PA")}.get(mode, ())
    for step in steps:
        image = image.convert(step)
    assert image.mode == mode
    assert load_image(image).getpixel((8, 8)) == WHITE


def test_cmyk_profile_is_applied() -> None:
    profile = cmyk_profile((135, 128, 128))  # every ink prints neutral mid-grey
    data = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF", icc_profile=profile)
    red, green, blue = load_image(data).getpixel((9, 9))
    assert max(red, green, blue) - min(red, green, blue) <= 3
    assert 90 < red < 160
    paper = encode(Image.new("CMYK", (32, 32), (0, 0, 0, 0)), "TIFF", icc_profile=profile)
    assert_close(load_image(paper).getpixel((9, 9)), WHITE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_profile_is_applied(mode: str) -> None:
    image = Image.new("RGB", (32, 32), RED).convert(mode)
    result = load_image(encode(image, icc_profile=exchanged_profile()))
    assert_close(result.getpixel((9, 9)), BLUE)


@pytest.mark.parametrize("profile", [b"no profile at all", cmyk_profile((135, 128, 128))])
def test_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    assert load_image(encode(picture(), icc_profile=profile)).tobytes() == picture().tobytes()


def refusal(source: object, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    text = str(caught.value)
    for part in ("must" if "may" not in text else "may", "got", ";"):  # required, what came, what to do
        assert part in text
    return text


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.png") in refusal(tmp_path / "none.png")
    assert "folder" in refusal(tmp_path)
    refusal("nul\0.png")
    assert "NoneType" in refusal(None)


def test_limits_are_inclusive() -> None:
    limits = ImageLimits(max_pixels=20 * 400, min_side=20, max_aspect=20)
    assert load_image(Image.new("RGB", (400, 20)), limits=limits).size == (400, 20)
    assert "20 times as long" in refusal(Image.new("RGB", (401, 20)), limits=ImageLimits(max_aspect=20))
    assert "million" in refusal(Image.new("RGB", (401, 20)), limits=limits)
    assert "at least 20 pixels" in refusal(Image.new("RGB", (400, 19)), limits=limits)
    data = encode(picture())
    assert load_image(data, limits=ImageLimits(max_bytes=len(data))).size == (40, 30)
    refusal(data, limits=ImageLimits(max_bytes=len(data) - 1))


def test_heavy_file_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "heavy.png"
    with path.open("wb") as file:
        file.truncate(80_000_000)  # sparse: takes no room on disk
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the file was read"))
    assert "at most 50 MB, got 80.0 MB (heavy.png)" in refusal(path)


@pytest.mark.parametrize("as_image", [False, True])
def test_decompression_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch, as_image: bool) -> None:
    data = BAD["bomb.png"][1]()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # our limit must hold by itself, not through Pillow's
    for owner in (ImageFile.ImageFile, PngImagePlugin.PngImageFile):
        monkeypatch.setattr(owner, "load", lambda self: pytest.fail("pixels were decoded"))
    text = refusal(Image.open(io.BytesIO(data)) if as_image else data)
    assert "30,000 x 30,000" in text
    assert "900.0 million" in text


def test_own_limit_holds_above_the_one_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert load_image(encode(picture())).size == (40, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_many_threads_read_at_once() -> None:
    sources: list[Callable[[], bytes]] = [lambda f=f: encode(picture(), f) for f in ("PNG", "TIFF", "BMP", "PPM")]
    results: list[bytes] = []

    def work(make: Callable[[], bytes]) -> None:
        results.extend(load_image(make()).tobytes() for _ in range(20))

    threads = [threading.Thread(target=work, args=(make,)) for make in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert set(results) == {picture().tobytes()}
