"""Open any picture a person may bring, or refuse it with a reason: one door for uploads, paths and PIL images.

Everything downstream of `load_image` may rely on an upright, opaque, 8-bit sRGB picture of sensible size. What decides
is the content, never the file's name. Sizes are checked on the header, before any pixel is decoded.
"""

import io
import os
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from aad.colour import to_srgb
from aad.decoding import ORIENTATION, GreedyFileError, open_format, orientation

Image.init()  # registers the decoders and what is known of them


#: Pillow's names of the kinds of picture that are read. All that reads, lists, serves or asks for pictures takes them from here.
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
DRAWN = {"PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"}  # of these, what browsers draw
SUFFIXES = tuple(sorted(suffix for suffix, kind in Image.EXTENSION.items() if kind in KINDS))  # lower case
# Of a file picker; systems know the one or the other.
ACCEPT = ",".join([*(Image.MIME[kind] for kind in KINDS), *SUFFIXES])
_SUPPORTED = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
_TURNS = {  # EXIF orientation -> what brings the picture upright; 1 is upright, anything else is not defined
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A picture was refused. The text is meant for the person who brought it: required, got, what to do."""


MAX_BYTES = 50_000_000  # a 16-megapixel photograph as PNG, the largest usual form, takes about 40 MB
MAX_PIXELS = 60_000_000  # full-frame cameras end at about 60 megapixels; decoded they stay under 1 GB
MIN_SIDE = 16  # a backbone enlarges to 224 pixels or more; of less than this only a few blurs remain
MAX_SECONDS = 10.0  # the slowest sound file within the other limits takes a third of it on one core
MAX_ASPECT = 25  # Chinese handscrolls reach 21:1; backbones resize by the short side, so strips explode


def load_image(source: str | os.PathLike[str] | bytes | Image.Image) -> Image.Image:
    """Return the picture as an upright, opaque, 8-bit sRGB image.

    Surprises: transparency is laid on *white* (what lies under a transparent pixel is arbitrary, often black, and
    white is what a page shows behind it); of an animation the first frame is taken; 16-bit, 32-bit and float pictures
    are scaled to 8 bits rather than clipped; an embedded colour profile is applied, unless it is damaged or does not
    fit the pixels, when it is ignored. Safe to call from several threads; Pillow's global limits are left alone.

    Args:
        source: Path of a file, the bytes of one, or a PIL image of any mode, which is not changed.

    Returns:
        A new image of mode RGB without metadata.

    Raises:
        ImageError: The source cannot be read, is no supported image, is damaged, or is outside the limits.

    Example:
        >>> load_image(Image.new("LA", (32, 20), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if isinstance(source, Image.Image):
        name, form = "the given picture", source.format
    else:
        name, data = _content(source)
        form = _recognised(data, name)
        if data[12:16] == b"VP8X" and len(data) >= 30:  # the decoder of WebP takes all memory as it opens
            _check_size((1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")), name)
    try:
        # Pillow's decoders let nearly any exception escape on damaged data (struct.error, KeyError, SyntaxError ...).
        # `Image.open` is not used: its size limit is global, and it hides the size it refuses.
        image = source if isinstance(source, Image.Image) else open_format(str(form), data, MAX_SECONDS)
        _check_size(image.size, name)
        image.load()
        result = _to_rgb(_upright(image, given=image is source))
    except ImageError:
        raise
    except GreedyFileError as error:
        raise ImageError(
            f"an image must be a plain file that decodes within {MAX_SECONDS:g} seconds, got {error} ({name}); "
            "save it anew as PNG or JPEG"
        ) from error
    except Exception as error:
        raise ImageError(
            f"an image must be complete and undamaged, got a {form or 'picture'} that does not decode ({name}: "
            f"{str(error) or type(error).__name__}); get the file again or save it anew"
        ) from error
    result = result.copy() if result is source else result._new(result.im)  # pixels decoded here are not copied
    result.info = {}  # a profile or orientation left here would be applied a second time by whoever saves the result
    return result


def is_drawn(path: Path) -> bool:
    """Whether browsers draw the file, by its content; what is no picture of a kind that is read counts as drawn."""
    with suppress(ImageError, OSError), path.open("rb") as file:
        return _recognised(file.read(64), path.name) in DRAWN
    return True


def drawn_bytes(path: Path) -> bytes:
    """The picture as a PNG of the same pixels."""
    file = io.BytesIO()
    load_image(path).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _content(source: object) -> tuple[str, bytes]:
    """What messages call a path or an upload, and its bytes."""
    if isinstance(source, bytes):
        name, data, n_bytes = "the uploaded picture", source, len(source)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name, whole, data = printable(path.name), printable(str(path)), b""
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device would be read for ever
                raise OSError(None, "it is a folder, a device or a pipe")
            if status.st_size <= MAX_BYTES:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)  # what grows, or never ends, is no longer read than needed
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"an image must be a readable file, got {whole} ({reason}); check the path") from error
        n_bytes = max(status.st_size, len(data))
    else:
        raise ImageError(
            f"an image must be a path, bytes or a PIL image, got {type(source).__name__}; pass one of these"
        )
    if n_bytes > MAX_BYTES:
        raise ImageError(
            f"an image file must be at most {MAX_BYTES / 1e6:g} MB, got {n_bytes / 1e6:.1f} MB ({name}); "
            "scale it down or save it as JPEG"
        )
    return name, data


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    got = f"got {width:,} x {height:,} ({name})"
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"an image must have at most {MAX_PIXELS / 1e6:g} million pixels, {got}, "
            f"which is {width * height / 1e6:,.1f} million; scale it down first"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"an image must be at least {MIN_SIDE} pixels wide and high, {got}; use a larger picture")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"an image may be at most {MAX_ASPECT} times as long as wide, {got}; crop it first")


def _recognised(data: bytes, name: str) -> str:
    """Pillow's name of the format, by the content."""
    if not data:
        raise ImageError(f"an image file must have content, got 0 bytes ({name}); get the file again")
    is_other = data[4:8] == b"ftyp" and b"avi" not in data[:64]  # HEIC or a film, which Pillow would take for AVIF
    for kind in () if is_other else KINDS:
        _, accept = Image.OPEN[kind]
        recognised = accept is not None and accept(data[:16])
        if recognised and not isinstance(recognised, str):  # a string says that the decoder is not installed
            return kind
    got = "HEIC" if is_other and data[8:12] in (b"heic", b"heix", b"mif1") else "none of these"
    raise ImageError(f"an image must be {_SUPPORTED}, got {got} ({name}); convert it to PNG or JPEG")


def printable(text: str) -> str:
    """A file's name as it may stand in a message: any bytes may be in one, line ends and terminal codes included."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= 120 else text[:60] + "…" + text[-59:]


def _upright(image: Image.Image, *, given: bool) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION, 1) if given else orientation(image))
    except Exception:  # damaged metadata, of whatever exception type, is no reason to refuse sound pixels
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Bring any mode to opaque sRGB: depth, then alpha set aside, then colour, then white behind."""
    info, key, alpha = image.info, image.info.get("transparency"), None
    if image.mode.startswith(("I", "F")):
        if isinstance(key, int):  # one grey of 16 bits is invisible
            alpha = Image.fromarray((np.asarray(image) != key).astype(np.uint8) * 255)
        image = _to_eight_bits(image)
    elif image.has_transparency_data:
        plain = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"  # a profile of greys is for greys
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB").convert(plain)  # drops alpha, keeps the colour under it
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    rgb = to_srgb(image, info)
    if alpha is None:
        return rgb
    ground = Image.new("RGB", rgb.size, "white")
    ground.paste(rgb, mask=alpha)
    return ground


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys to 8 bits by the white point of their depth.

    16-bit modes have one. 32-bit integers and floats do not: white is then the smallest usual one (1 for floats, 255,
    65535) that holds the brightest pixel; with negative or brighter pixels, darkest to brightest is stretched.
    """
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError(
            "pixel values must be finite, got infinity or not-a-number; save the picture with 8 or 16 bits"
        )
    low, high = float(values.min()), float(values.max())
    usual: tuple[float, ...] = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        usual = (65535.0,)  # Pillow scales every deep PGM to 16 bits
    white = next((white for white in usual if low >= 0 and high <= white), None)
    black, white = (low, high) if white is None else (0.0, white)
    scale = 255.0 / (white - black) if white > black else 0.0  # a flat picture has no range: all black
    return Image.fromarray(np.rint((values.astype(np.float32) - black) * scale).clip(0, 255).astype(np.uint8))
