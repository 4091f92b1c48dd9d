"""Bundles to spoil on purpose, checksums and all, and what must be said of each."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad import Attributor, BundleError
from aad.spaces import SPACES
from tests.galleries import D, wide_bundle

N, M = 12, 3
DEEP = b"[" * 100_000
ARRAYS = {
    "references_backbone.npy": (N, D),
    "references_aligned.npy": (N, D),
    "references_disentangled.npy": (N, D),
    "queries_backbone.npy": (M, D),
    "coordinates.npy": (3, N, 2),
}
ROWS = [name for name in ARRAYS if name.startswith("references")]
TABLES = ["references.json", "queries.json"]
NUMBER: list[Any] = [None, True, "20", [], {}, float("nan"), float("inf"), 10**400]
NO_TEXT: list[Any] = [None, 3, [], {}]


def small_bundle(folder: Path) -> Path:
    """A sound bundle of N references and M queries."""
    return wide_bundle(folder / "bundle", N, M)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def signed(bundle: Path, name: str, content: bytes) -> None:
    """Another content, and its sha256 in the manifest: what whoever makes a bundle can write."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def told(bundle: Path, *keys: str, value: Any) -> None:
    """Another value in the manifest; the name of no value takes the entry out."""
    manifest = entry = json.loads((bundle / "manifest.json").read_bytes())
    for key in keys[:-1]:
        entry = entry[key]
    if value is told:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def lying(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    """The header of an array that is not there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


def header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def refused(folder: Path, name: str, load_it: Callable[[Path], Any] = Attributor.load) -> str:
    """What is said, after seeing that it is one line with the file and the remedy, and no other kind of error."""
    with pytest.raises(BundleError) as caught:
        load_it(folder)
    text = str(caught.value)
    assert type(caught.value) is BundleError and "\n" not in text and len(text) < 600 + 2 * len(str(folder)), text
    assert str(folder / name) in text and "rebuild it with: python -m precompute." in text, text
    assert caught.value.__cause__ is None, text  # all is in the text: no second traceback above it
    return text


def as_scanned(folder: Path) -> None:
    """The same bundle with its rows read from disk at each search."""
    told(folder, "retrieval", value={space: {"method": "scan"} for space in SPACES})
