"""The on-disk contract of a bundle: a manifest, JSON tables, .npy arrays and safetensors. Never pickle.

    manifest.json            versions, commands, seeds, calibration, and a sha256 for every other file
    references.json          one entry per reference, in index order
    queries.json             bundled queries, in index order (may be empty)
    references_{space}.npy   (n, d) float16 unit rows, for each of the three spaces; half the size, cosine within 1e-4
    queries_backbone.npy     (m, d_feature) float16 features of the bundled queries
    heads.safetensors        the aligned and the disentangled head
    index_{space}.safetensors  what finds the nearest of very many references, where build_index made it
    coordinates.npy          (3, n, 2) float32, the maps
    metrics.json             the evaluation, when it has been run

Every file belongs to the step that writes it (``write_step`` of precompute). Writing a step drops what later steps had derived from
the old files, so a bundle is never half new and half old; loading names the first file that is missing or damaged and the command
that rebuilds it.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aad.files import file_sha256, plain_bytes, read_header, refuse_special, write_atomically
from aad.method.head import Head
from aad.schema import check_manifest, check_section, parse_json
from aad.spaces import Domain, Space
from aad.vectors import FLOATS

if TYPE_CHECKING:
    from aad.scale.stored import StoredRows

__all__ = ["Bundle", "BundleError", "read_heads", "safe_paths", "write_atomically"]

FORMAT = 1
CHECKED = "aad"  # folder in the hub's cache that holds what was downloaded and checked
_NO_FILE = re.compile("[\0\\\\\ud800-\udfff]")  # NUL, what divides folders elsewhere, and what cannot be encoded
NOT_FINITE = "holds values that are not finite"
DEFAULT_BUNDLE = Path(__file__).resolve().parent.parent / "assets" / "bundle"
WRITTEN_BY = {
    "references.json": "extract_features",
    "queries.json": "extract_features",
    "references_backbone.npy": "extract_features",
    "queries_backbone.npy": "extract_features",
    "heads.safetensors": "train_heads",
    "references_aligned.npy": "train_heads",
    "references_disentangled.npy": "train_heads",
    "index_backbone.safetensors": "build_index",
    "index_aligned.safetensors": "build_index",
    "index_disentangled.safetensors": "build_index",
    "coordinates.npy": "project",
    "metrics.json": "evaluate",
    "generalisation.json": "leave_out",
    "theory.json": "measure_theory",
}


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
        try:
            check_manifest(manifest)
        except ValueError as error:
            raise bundle.refusal("manifest.json", f"is damaged or of another version ({error})") from None
        return bundle

    def has(self, name: str) -> bool:
        """Whether the manifest knows the file."""
        return name in self.manifest["files"]

    def read_bytes(self, name: str) -> bytes:
        """The bytes of one file, compared with the manifest's sha256.

        Raises:
            BundleError: missing or damaged; names the file and the command that rebuilds it.
        """
        path = self._known(name)
        try:
            data = plain_bytes(path)
        except OSError as error:
            raise self.refusal(name, f"cannot be read ({error.strerror or error})") from None
        self._compare(name, hashlib.sha256(data).hexdigest())
        return data

    def read_json(self, name: str) -> Any:
        """One JSON table; errors as ``read_bytes``."""
        data = self.read_bytes(name)
        try:
            return parse_json(data)
        except ValueError as error:
            raise self.refusal(name, f"is no JSON ({error})") from None

    def read_array(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """One array of float16 or float32 as float32; ``None`` in ``shape`` allows any size there.

        Raises:
            BundleError: as ``read_bytes``, or another type or shape, or a value that is not finite.
        """
        data = self.read_bytes(name)
        try:
            header = read_header(
                io.BytesIO(data), len(data)
            )  # of what numpy would make before it saw that it cannot be
        except (ValueError, OSError) as error:
            raise self.refusal(name, f"is not a plain array ({error})") from None
        self._measure(name, header.shape, shape)
        self._type(name, header.dtype)
        values = np.frombuffer(data, header.dtype, offset=header.offset)
        array = values.reshape(header.shape, order="F" if header.by_columns else "C").astype(np.float32, order="C")
        if not np.isfinite(array).all():
            raise self.refusal(name, NOT_FINITE)
        return array

    def map_rows(self, name: str, shape: tuple[int | None, int | None]) -> "StoredRows":
        """As ``read_array`` for rows that stay on disk: the file is read through once, to be checked, and kept nowhere.

        Raises:
            BundleError: as ``read_array``.
        """
        from aad.scale.stored import StoredRows

        path = self._known(name)
        try:
            refuse_special(path)
            with path.open("rb") as file:
                header = read_header(file, path.stat().st_size)
        except OSError as error:
            raise self.refusal(name, f"cannot be read ({error.strerror or error})") from None
        except ValueError as error:
            self._compare(name, file_sha256(path))  # a damaged file is called damaged, whatever it looks like
            raise self.refusal(name, f"is not a plain array ({error})") from None
        if len(header.shape) != 2 or header.by_columns or header.dtype not in FLOATS:
            self._compare(name, file_sha256(path))
            self._measure(name, header.shape, shape)
            self._type(name, header.dtype)
            raise self.refusal(name, "is stored by columns, expected by rows")
        try:
            rows = StoredRows(path)
            sha256, finite = rows.read_through()  # of the file that is held open, whatever has its name by now
        except (OSError, ValueError) as error:
            raise self.refusal(name, f"cannot be read ({error})") from None
        self._compare(name, sha256)
        self._measure(name, rows.shape, shape)
        if not finite:
            raise self.refusal(name, NOT_FINITE)
        return rows

    def read_tensors(self, name: str) -> dict[str, np.ndarray]:
        """The tensors of a safetensors file; errors as ``read_bytes``."""
        from safetensors.numpy import load

        data = self.read_bytes(name)
        try:
            return load(data)
        except Exception as error:  # safetensors lets nearly any exception escape on types that numpy has not
            raise self.refusal(name, f"is no safetensors file ({type(error).__name__}: {error})") from None

    def section(self, name: str, step: str) -> Any:
        """One section of the manifest, such as ``calibration``, that ``step`` writes; checked.

        Raises:
            BundleError: it is missing, or not what that step writes.
        """
        if name not in self.manifest:
            raise BundleError(f"{self.folder}/manifest.json has no {name!r} yet; {remedy(self.folder, step)}")
        try:
            check_section(name, self.manifest[name])
        except ValueError as error:
            raise self.refusal("manifest.json", f"is damaged or of another version ({error})", step) from None
        return self.manifest[name]

    def refusal(self, name: str, why: str, step: str | None = None) -> BundleError:
        """The error for a file that is as written but cannot be right; ``step`` is what writes it, where that is not its name's."""
        why = " ".join(why.split())  # one line, whatever is quoted
        return BundleError(f"{self.folder / name} {why:.400}; {remedy(self.folder, step or WRITTEN_BY.get(name))}")

    def _known(self, name: str) -> Path:
        if not self.has(name):
            raise self.refusal(name, "has not been made yet")
        return self.folder / name

    def _compare(self, name: str, sha256: str) -> None:
        if sha256 != self.manifest["files"][name]["sha256"]:
            raise self.refusal(name, "is damaged: its sha256 is not the manifest's")

    def _type(self, name: str, found: np.dtype) -> None:
        if found not in FLOATS:
            raise self.refusal(name, f"holds {found}, expected float16 or float32")

    def _measure(self, name: str, found: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        if len(found) != len(wanted) or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
            raise self.refusal(name, f"has shape {found}, expected {wanted}")


def read_heads(bundle: Bundle) -> dict[Space, Head]:
    """The heads of all three spaces; the backbone's changes nothing.

    Raises:
        BundleError: the file is missing, damaged, or not for this backbone.
    """
    dim, tensors = bundle.section("backbone", "extract_features")["dim"], bundle.read_tensors("heads.safetensors")
    heads = {Space.BACKBONE: Head.identity(dim)}
    read: set[str] = set()
    for space in (Space.ALIGNED, Space.DISENTANGLED):
        try:
            heads[space] = Head.from_tensors(tensors, space)
        except ValueError as error:
            raise bundle.refusal("heads.safetensors", f"does not hold the heads ({error})") from None
        if heads[space].dim != dim:
            raise bundle.refusal("heads.safetensors", f"is for {heads[space].dim} features, the backbone gives {dim}")
        if (k := len(heads[space].weight[Domain.REAL])) != dim:
            raise bundle.refusal("heads.safetensors", f"gives {k} dimensions in {space}, the references have {dim}")
        read |= _keys(tensors, space)
    if unknown := sorted(set(tensors) - read):
        raise bundle.refusal("heads.safetensors", f"holds tensors that are of no head, {unknown[0]!r:.80} among them")
    return heads


def _keys(tensors: dict[str, np.ndarray], name: str) -> set[str]:
    """The tensors that ``Head.from_tensors`` reads."""
    weights = {f"{name}.weight"} if f"{name}.weight" in tensors else {f"{name}.{domain}.weight" for domain in Domain}
    return {f"{name}.{domain}.centre" for domain in Domain} | weights


def remedy(folder: Path, step: str | None = None) -> str:
    """What to do about a bundle, or about what one step wrote into it."""
    if folder.parent.name == CHECKED and folder.parent.parent.name.startswith("models--"):
        return f"it came from the hub: delete {folder.parent.parent} and load it again"
    if folder == DEFAULT_BUNDLE:
        restore = "restore it with: git checkout -- assets/bundle  or "
    else:
        restore = ""
    if step is None or step == "extract_features":
        return f"{restore}rebuild it with: python -m precompute.run --help"
    return f"{restore}rebuild it with: python -m precompute.{step} --bundle {folder}"


def safe_paths(root: Path, paths: Iterable[str]) -> list[Path]:
    """Join relative paths to a root, refusing any that would leave it.

    Raises:
        BundleError: an absolute path, one with ``..``, or one that no file can have, or not on every system.
    """
    joined = []
    for path in paths:
        if not isinstance(path, str):
            raise BundleError(f"an image path must be a text, got {type(path).__name__}")
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise BundleError(f"image path {path!r} must be relative and stay inside {root}")
        if _NO_FILE.search(path):
            raise BundleError(f"image path {path!r} must be text that names a file, without backslashes")
        joined.append(root / pure)
    return joined
