"""Every kind of picture is either read with the right pixels or refused with a text that helps."""

import contextlib
import io
import random
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin

from aad.images import ACCEPT, KINDS, SUFFIXES, ImageError, ImageLimits, load_image
from interface.pictures import is_picture
from precompute.common.sources import images_below

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Left half red, right half blue, with a green top left corner: every turn of it can be told from the others."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    image.paste(GREEN, (0, 0, width // 4, height // 4))
    return image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def black_png(width: int, height: int) -> bytes:
    """A complete 1-bit PNG of any size, made row by row: 112 MB of zeros become 110 kB."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join([packer.compress(row) for _ in range(height)] + [packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def assert_close(pixel: object, expected: tuple[int, int, int], tolerance: int = 2) -> None:
    assert np.abs(np.subtract(pixel, expected)).max() <= tolerance, f"{pixel} is not {expected}"


# --- what is read -----------------------------------------------------------------------------------------------------


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


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode(picture()))
    assert load_image(path).tobytes() == picture().tobytes()


def test_given_image_is_not_changed_and_not_shared() -> None:
    source = picture()
    source.info["dpi"] = (72, 72)
    load_image(source).paste(WHITE, (0, 0, 40, 30))
    assert source.tobytes() == picture().tobytes()
    assert source.info == {"dpi": (72, 72)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(orientation: int, format_name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), format_name, exif=exif)
    result = load_image(data)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert result.size == ((40, 30) if orientation < 5 else (30, 40))
    assert result.tobytes() == expected.tobytes()
    assert load_image(result).tobytes() == result.tobytes()


def test_picture_taken_on_its_side_lands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is left in the file belongs at the top
    result = load_image(encode(picture(), exif=exif))
    assert result.size == (30, 40)
    assert result.getpixel((28, 2)) == GREEN
    assert result.getpixel((2, 2)) == RED
    assert result.getpixel((15, 37)) == BLUE


def test_damaged_exif_leaves_the_picture_as_it_is() -> None:
    result = load_image(encode(picture(), exif=b"Exif\0\0MM\0*\0\0\0\xff\x01"))
    assert result.tobytes() == picture().tobytes()


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(format_name: str) -> None:
    values = np.repeat(np.array([0, 257, 32896, 65535], np.uint16), 16 * 4).reshape(16, 16)
    result = load_image(encode(Image.fromarray(values), format_name))
    assert [result.getpixel((0, row)) for row in (0, 4, 8, 12)] == [(v,) * 3 for v in (0, 1, 128, 255)]


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


def test_sixteen_bit_colour_png_keeps_its_middle() -> None:
    rows = (b"\0" + struct.pack(">HHH", 32896, 65535, 0) * 16) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert_close(load_image(b"\x89PNG\r\n\x1a\n" + body).getpixel((8, 8)), (128, 255, 0), tolerance=1)


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


# --- transparency -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_transparent_palette_entry_becomes_white(transparency: int | bytes) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 255, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    result = load_image(encode(image, transparency=transparency))
    assert (result.getpixel((2, 8)), result.getpixel((12, 8))) == (WHITE, RED)


def test_transparent_colour_key_becomes_white() -> None:
    image = picture()
    result = load_image(encode(image, transparency=BLUE))
    assert (result.getpixel((2, 28)), result.getpixel((38, 28))) == (RED, WHITE)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP"])
def test_first_frame_of_an_animation_is_taken(format_name: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if format_name == "WEBP" else {}
    data = encode(frames[0], format_name, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert load_image(data).getpixel((9, 9)) == RED


# --- colour -----------------------------------------------------------------------------------------------------------


def profile_with_red_and_blue_exchanged() -> bytes:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)


def cmyk_profile(lab: tuple[int, int, int]) -> bytes:
    """The smallest CMYK profile: a 2 x 2 x 2 x 2 table in which bare paper is white and every ink gives one Lab."""
    straight = bytes(range(256))
    table = b"\xff\x80\x80" + bytes(lab) * 15
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + straight * 4 + table + straight * 3
    white_point = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    offset = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += b"A2B0" + struct.pack(">II", offset, len(lut))
    tags += b"wtpt" + struct.pack(">II", offset + len(lut), len(white_point))
    body = tags + lut + white_point
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_red_is_red(format_name: str) -> None:
    options = {"quality": 100} if format_name == "JPEG" else {}
    data = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), format_name, **options)
    assert_close(load_image(data).getpixel((9, 9)), RED, tolerance=3)


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
    result = load_image(encode(image, icc_profile=profile_with_red_and_blue_exchanged()))
    assert_close(result.getpixel((9, 9)), BLUE)


@pytest.mark.parametrize("profile", [b"no profile at all", cmyk_profile((135, 128, 128))])
def test_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    assert load_image(encode(picture(), icc_profile=profile)).tobytes() == picture().tobytes()


# --- what is refused --------------------------------------------------------------------------------------------------


def refusal(source: object, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    text = str(caught.value)
    for part in ("must" if "may" not in text else "may", "got", ";"):  # required, what came, what to do
        assert part in text
    return text


def heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypmif1\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"hello, I am a text\n" * 9, "none of these"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "got SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn by hand -->\n<svg/>", "got SVG"),
        (b"%PDF-1.7\n...", "got PDF"),
        (heic(), "got HEIC"),
        (random.Random(0).randbytes(5000), "none of these"),
        (b"\x89PNG\r\n\x1a\n", "PNG that does not decode"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "upload.png"
    path.write_bytes(data)
    text = refusal(path)
    assert words in text
    assert "upload.png" in text
    assert words in refusal(data)
    if words.startswith("got"):
        assert "convert it to PNG or JPEG" in text


@pytest.mark.parametrize("format_name", [kind.format for kind in KINDS])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_truncated_file_is_refused(format_name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), format_name)
    assert "does not decode" in refusal(data[: int(len(data) * share)])


@pytest.mark.parametrize("format_name", [kind.format for kind in KINDS])
def test_damaged_bytes_never_raise_anything_else(format_name: str) -> None:
    draw = random.Random(1)
    data = encode(picture(), format_name)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with contextlib.suppress(ImageError):
            assert load_image(bytes(damaged)).mode == "RGB"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_that_is_no_number_is_refused(value: float) -> None:
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[3, 4] = value
    assert refusal(encode(Image.fromarray(values), "TIFF")).startswith("pixel values must be finite")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.png") in refusal(tmp_path / "none.png")
    assert "folder" in refusal(tmp_path)
    refusal("nul\0.png")
    assert "NoneType" in refusal(None)


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (100_000, 1), (15, 400)])
def test_tiny_and_thread_thin_pictures_are_refused(size: tuple[int, int]) -> None:
    text = refusal(encode(Image.new("L", size)))
    assert "at least 16 pixels" in text
    assert f"{size[0]:,} x {size[1]:,}" in text


def test_limits_are_inclusive() -> None:
    limits = ImageLimits(max_pixels=20 * 400, min_side=20, max_aspect=20)
    assert load_image(Image.new("RGB", (400, 20)), limits=limits).size == (400, 20)
    assert "20 times as long" in refusal(Image.new("RGB", (401, 20)), limits=ImageLimits(max_aspect=20))
    assert "million" in refusal(Image.new("RGB", (401, 20)), limits=limits)
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
    data = black_png(30_000, 30_000)
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
