"""A bundle folder opened for reading: a manifest, JSON tables, .npy arrays and safetensors. Never pickle.

``aad.schema.CONTENTS`` lists all that it holds, each file with the step that writes it. manifest.json has a sha256 for every other
file, and the versions, commands and seeds of each step. Writing a step drops what later steps had derived from the old files, so a
bundle is never half new and half old; loading names the first file that is missing or damaged and the command that rebuilds it.
"""

import hashlib
import io
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.files import plain_bytes, read_header, write_atomically
from aad.method.head import Head
from aad.schema import CONTENTS, check_entry, check_manifest, parse_json
from aad.spaces import Space
from aad.vectors import FLOATS

__all__ = ["Bundle", "BundleError", "read_heads", "safe_path", "write_atomically"]

FORMAT = 1
CHECKED = "aad"  # folder in the hub's cache that holds what was downloaded and checked
_NO_FILE = re.compile("[\0\\\\\ud800-\udfff]")  # NUL, what divides folders elsewhere, and what cannot be encoded
DAMAGED = "is damaged or of another version ({})"
NOT_FINITE = "holds values that are not finite"
DEFAULT_BUNDLE = Path(__file__).resolve().parent.parent / "assets" / "bundle"


class BundleError(RuntimeError):
    """A bundle, or one file of it, is missing, damaged or from another version. The text says what rebuilds it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of a bundle folder as written; read one at a time, each checked on the way."""

    folder: Path
    manifest: dict[str, Any]
    sha256: str = ""  # of the manifest's file as it was read, which stands for all that it names

    @classmethod
    def open(cls, folder: str | Path | None = None) -> "Bundle":
        """Read the manifest of a bundle folder; ``None`` is the bundle that ships with the project. See ``aad.hub.open_bundle``.

        Raises:
            BundleError: no such bundle, an unreadable manifest, or one of another format.
        """
        folder = Path(folder) if folder is not None else DEFAULT_BUNDLE
        path = folder / "manifest.json"
        try:
            data = plain_bytes(path)
            manifest = parse_json(data)
        except FileNotFoundError:
            raise BundleError(f"no bundle at {folder}: manifest.json is missing; {remedy(folder)}") from None
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read ({error}); {remedy(folder)}") from None
        told = manifest.get("format") if isinstance(manifest, dict) else None
        if type(told) is not int or told != FORMAT:  # true and 1.0 equal 1
            raise BundleError(f"{path} has format {told!r:.80}, this version reads {FORMAT}; {remedy(folder)}")
        bundle = cls(folder, manifest, hashlib.sha256(data).hexdigest())
        with bundle.telling("manifest.json"):
            check_manifest(manifest)
        return bundle

    def has(self, name: str) -> bool:
        """Whether the manifest knows the file."""
        return name in self.manifest["files"]

    def read_bytes(self, name: str) -> bytes:
        """The bytes of one file, compared with the manifest's sha256.

        Raises:
            BundleError: missing or damaged; names the file and the command that rebuilds it.
        """
        path = self.path_of(name)
        try:
            data = plain_bytes(path)
        except OSError as error:
            raise self.refusal(name, f"cannot be read ({error.strerror or error})") from None
        self.compare(name, hashlib.sha256(data).hexdigest())
        return data

    def read_json(self, name: str) -> Any:
        """One JSON table, checked: it holds what the step that writes it writes, see ``aad.schema``; errors as ``read_bytes``."""
        data = self.read_bytes(name)
        with self.telling(name, "is no JSON ({})"):
            told = parse_json(data)
        with self.telling(name):
            check_entry(name, told)
        return told

    def read_array(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """One array of float16 or float32 as float32; ``None`` in ``shape`` allows any size there.

        Raises:
            BundleError: as ``read_bytes``, or another type or shape, or a value that is not finite.
        """
        data = self.read_bytes(name)
        with self.telling(name, "is not a plain array ({})", of=(ValueError, OSError)):
            found, by_columns, dtype, offset = read_header(io.BytesIO(data), len(data))  # no memory is taken yet
        self.measure(name, found, shape)
        if dtype not in FLOATS:
            raise self.refusal(name, f"holds {dtype}, expected float16 or float32")
        values = np.frombuffer(data, dtype, offset=offset)
        array = values.reshape(found, order="F" if by_columns else "C").astype(np.float32, order="C")
        if not np.isfinite(array).all():
            raise self.refusal(name, NOT_FINITE)
        return array

    def read_tensors(self, name: str) -> dict[str, np.ndarray]:
        """The tensors of a safetensors file; errors as ``read_bytes``."""
        from safetensors.numpy import load

        data = self.read_bytes(name)
        try:
            return load(data)
        except Exception as error:  # safetensors lets nearly any exception escape on types that numpy has not
            raise self.refusal(name, f"is no safetensors file ({type(error).__name__}: {error})") from None

    def section(self, name: str) -> Any:
        """One section of the manifest, such as ``calibration``; checked.

        Raises:
            BundleError: it is missing, or not what the step that writes it writes.
        """
        if name not in self.manifest:
            raise self.refusal(name, f"has no {name!r} yet")
        with self.telling(name):
            check_entry(name, self.manifest[name])
        return self.manifest[name]

    def refusal(self, name: str, why: str) -> BundleError:
        """The error for a file, or a section of the manifest, that is as written but cannot be right."""
        path = self.folder / (name if "." in name else "manifest.json")
        why = " ".join(why.split())  # one line, whatever is quoted
        step = CONTENTS[name].step if name in CONTENTS else None
        return BundleError(f"{path} {why:.400}; {remedy(self.folder, step)}")

    @contextmanager
    def telling(self, name: str, why: str = DAMAGED, of: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
        """Errors of these types are told of that file or section: see ``refusal``."""
        try:
            yield
        except of as error:
            raise self.refusal(name, why.format(error)) from None

    def path_of(self, name: str) -> Path:
        """Where a file is that the manifest knows."""
        if not self.has(name):
            raise self.refusal(name, "has not been made yet")
        return self.folder / name

    def compare(self, name: str, sha256: str) -> None:
        """That a file has the sha256 that the manifest says."""
        if sha256 != self.manifest["files"][name]["sha256"]:
            raise self.refusal(name, "is damaged: its sha256 is not the manifest's")

    def measure(self, name: str, found: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        """That an array has the wanted shape."""
        if len(found) != len(wanted) or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
            raise self.refusal(name, f"has shape {found}, expected {wanted}")


def read_heads(bundle: Bundle) -> dict[Space, Head]:
    """The heads of all three spaces; the backbone's changes nothing.

    Raises:
        BundleError: the file is missing, damaged, or not for this backbone.
    """
    name, dim = "heads.safetensors", bundle.section("backbone")["dim"]
    tensors = bundle.read_tensors(name)
    heads = {Space.BACKBONE: Head.identity(dim)}
    for space in (Space.ALIGNED, Space.DISENTANGLED):
        with bundle.telling(name, "does not hold the heads ({})"):
            head = heads[space] = Head.from_tensors(tensors, space)
        if (head.dim, head.n_out) != (dim, dim):
            raise bundle.refusal(name, f"maps {head.dim} to {head.n_out} dimensions in {space}, the bundle has {dim}")
    return heads


def remedy(folder: Path, step: str | None = None) -> str:
    """What to do about a bundle, or about what one step wrote into it."""
    if folder.parent.name == CHECKED and folder.parent.parent.name.startswith("models--"):
        return f"it came from the hub: delete {folder.parent.parent} and load it again"
    restore = "restore it with: git checkout -- assets/bundle  or " if folder == DEFAULT_BUNDLE else ""
    if step is None or step == "extract_features":
        return f"{restore}rebuild it with: python -m precompute.run --help"
    return f"{restore}rebuild it with: python -m precompute.{step} --bundle {folder}"


def safe_path(path: str) -> str:
    """A relative path as it writes itself, refused where it would leave its folder.

    Raises:
        BundleError: an absolute path, one with ``..``, or one that no file can have, or not on every system.

    >>> safe_path("./b//two.png")
    'b/two.png'
    """
    if not isinstance(path, str):
        raise BundleError(f"an image path must be a text, got {type(path).__name__}")
    plain = posixpath.normpath(path)
    if plain == "." or path.startswith("/") or ".." in path.split("/"):
        raise BundleError(f"image path {path!r} must be relative and stay inside its folder")
    if _NO_FILE.search(path):
        raise BundleError(f"image path {path!r} must be text that names a file, without backslashes")
    return plain
