"""Ways to spoil a bundle, checksums and all, and what every refusal of one has to say."""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aad import Attributor, BundleError
from aad.schema import CONTENTS
from aad.spaces import SPACES
from tests.galleries import wide_bundle

N, M = 12, 3
MANIFEST = "manifest.json"
NUMBER: list[Any] = [None, True, "20", [], {}, float("nan"), float("inf"), 10**400]  # what is none
NO_TEXT: list[Any] = [None, 3, [], {}]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def small_bundle(folder: Path) -> Path:
    """A sound bundle of N references and M queries."""
    return wide_bundle(folder / "bundle", N, M)


def signed(bundle: Path, name: str, content: bytes) -> None:
    """Another content, and its sha256 in the manifest: what whoever makes a bundle can write."""
    (bundle / name).write_bytes(content)
    told(bundle, "files", name, value={"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})


def told(bundle: Path, *keys: str, value: Any) -> None:
    """Another value in the manifest; the name of no value takes the entry out."""
    manifest = entry = json.loads((bundle / MANIFEST).read_bytes())
    for key in keys[:-1]:
        entry = entry[key]
    if value is told:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def rewritten(bundle: Path, name: str, change: Callable[[Any], Any]) -> None:
    """A table as a function makes it of the old one, signed."""
    signed(bundle, name, json.dumps(change(json.loads((bundle / name).read_bytes()))).encode())


def with_entry(bundle: Path, name: str, key: str, value: Any) -> None:
    """A table with another value in its second entry; the name of no value takes it out."""
    table = json.loads((bundle / name).read_bytes())
    table[1] = {k: v for k, v in (table[1] | {key: value}).items() if v is not told}
    signed(bundle, name, json.dumps(table).encode())


def linked(bundle: Path, name: str, path: str, target: str) -> None:
    """A table whose second picture is at a path, of which the first part that is not ``below`` is a link."""
    pictures = bundle / "pictures"
    (pictures / "below").mkdir(parents=True, exist_ok=True)
    link = pictures / (path if path.endswith("way_out.png") else path.partition("/")[0])
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    with_entry(bundle, name, "path", path)


def as_scanned(folder: Path) -> None:
    """The same bundle with its rows read from disk at each search."""
    told(folder, "retrieval", value={space: {"method": "scan"} for space in SPACES})


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def refused(folder: Path, name: str, says: str = "", load_it: Callable[[Path], Any] = Attributor.load) -> str:
    """What is said: one line with the file, after its name the pattern ``says``, and the remedy; and no other error."""
    with pytest.raises(BundleError) as caught:
        load_it(folder)
    text = str(caught.value)
    assert type(caught.value) is BundleError and "\n" not in text and len(text) < 600 + 2 * len(str(folder)), text
    assert caught.value.__cause__ is None, text  # all is in the text: no second traceback above it
    step = "" if name in ("", MANIFEST) else CONTENTS[name].step.replace("extract_features", "run --help")
    assert str(folder / name) in text and f"rebuild it with: python -m precompute.{step}" in text, text
    assert re.search(says, text[text.index(name) + len(name) :]), (says, text)
    return text
