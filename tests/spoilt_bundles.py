"""One table of all that can be wrong with a bundle, checksums and all: the file, how it is spoilt, and what must be said of it."""

import hashlib
import io
import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save

from aad import Attributor, BundleError
from aad.spaces import SPACES, Domain
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
HEADS, MANIFEST = "heads.safetensors", "manifest.json"
NEEDED = [*ARRAYS, *TABLES, HEADS]
MEASURED = ["metrics.json", "generalisation.json", "theory.json"]
NUMBER: list[Any] = [None, True, "20", [], {}, float("nan"), float("inf"), 10**400]
NO_TEXT: list[Any] = [None, 3, [], {}]


class Fault(NamedTuple):
    """One way to spoil a bundle; ``says`` is a pattern that the refusal must match after the name of the file."""

    file: str
    how: str
    spoil: Callable[[Path], Any]
    says: str

    def __str__(self) -> str:
        return f"{self.file}: {self.how}"


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


def entered(bundle: Path, keys: tuple[str, ...], value: Any) -> None:
    """As ``told``."""
    told(bundle, *keys, value=value)


def rewritten(bundle: Path, name: str, change: Callable[[Any], Any]) -> None:
    """A table as a function makes it of the old one, signed."""
    signed(bundle, name, json.dumps(change(json.loads((bundle / name).read_bytes()))).encode())


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


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


# What is wrong with a file whatever is in it: the manifest knows of none of these changes


def _replaced(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _gone(path: Path, then: Callable[[Path], Any] = lambda _: None) -> None:
    path.unlink()
    then(path)


ANY_FILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "altered": (_replaced(lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]), "sha256 is not the manifest's"),
    "truncated": (_replaced(lambda data: data[: len(data) // 2]), "sha256 is not the manifest's|cannot be read"),
    "empty": (_replaced(lambda data: b""), "sha256 is not the manifest's"),
    "missing": (_gone, "cannot be read"),
    "a folder": (lambda path: _gone(path, Path.mkdir), "no plain file"),
    "a pipe, which would be waited for for ever": (lambda path: _gone(path, os.mkfifo), "no plain file"),
    "a device": (lambda path: _gone(path, lambda one: one.symlink_to("/dev/zero")), "no plain file"),
}
LOOKS = (npy(np.zeros((3, 4))), npy(np.zeros((N, D), np.float32, order="F")), npy(np.array([{}], object)), b"no array")


def _of_any_file() -> Iterator[Fault]:
    for name in NEEDED:
        for how, (spoil, says) in ANY_FILE.items():
            yield from _also_scanned(name, how, partial(_to_file, name=name, spoil=spoil), says)
        unknown = partial(entered, keys=("files", name), value=told)  # the file is there
        yield Fault(name, "not in the manifest yet", unknown, "has not been made yet")
    for name in TABLES:  # the order of entries and of rows is one
        yield Fault(name, "two swapped", partial(_to_file, name=name, spoil=_swap), "sha256 is not the manifest's")
    for look in LOOKS:
        spoil = partial(_to_file, name=ROWS[1], spoil=lambda path, look=look: path.write_bytes(look))
        yield from _also_scanned(ROWS[1], "damaged, whatever it looks like", spoil, "is damaged: its sha256")


def _to_file(bundle: Path, name: str, spoil: Callable[[Path], Any]) -> None:
    spoil(bundle / name)


def _swap(path: Path) -> None:
    first, second, *others = json.loads(path.read_bytes())
    path.write_text(json.dumps([second, first, *others], indent=1, ensure_ascii=False) + "\n")


def _also_scanned(name: str, how: str, spoil: Callable[[Path], Any], says: str) -> Iterator[Fault]:
    yield Fault(name, how, spoil, says)
    if name in ROWS:
        yield Fault(name, f"{how}, read from disk", lambda bundle: (spoil(bundle), as_scanned(bundle)), says)


# Contents, signed


def _arrays() -> Iterator[Fault]:
    for name, shape in ARRAYS.items():
        for how, content, says in _wrong_arrays(shape):
            yield from _also_scanned(name, how, partial(signed, name=name, content=content), says)


def _wrong_arrays(shape: tuple[int, ...]) -> Iterator[tuple[str, bytes, str]]:
    right = np.ones(shape, np.float32)
    for kind in (np.float64, np.int64, np.bool_, np.complex64, ">f4", "S4", "U4", "M8[s]"):
        yield f"of {np.dtype(kind)}", npy(right.astype(kind)), "float16 or float32"
    yield "of records", npy(np.zeros(shape, [("a", "f4")])), "float16 or float32"
    for value in (np.nan, np.inf):
        spoilt = right.astype(np.float16)
        spoilt[(-1,) * len(shape)] = value
        yield f"with {value}", npy(spoilt), "not finite"
    for other in ((shape[0] + 1, *shape[1:]), (shape[0] - 1, *shape[1:]), shape[:-1], (*shape, 1), (), (0,)):
        yield f"of shape {other}", npy(np.ones(other, np.float32)), re.escape(str(other))
    yield "of objects", npy(np.array([{"a": 1}], dtype=object)), "not a plain"
    yield "of no array", b"no array", "not a plain"
    yield "of nothing", b"", "not a plain"
    yield "cut short", npy(right)[:-9], "shorter than its header says"
    yield "with more behind it", npy(right) + npy(right), "longer than its header says"
    yield "of 4 TB", _lying((10**12,)), "header says"
    yield "of more than there are numbers", _lying((2**62, 2**62)), "header says"
    yield "of less than nothing", _lying((-1, -4)), "not a plain"
    file = io.BytesIO()
    np.savez(file, right)
    yield "zipped", file.getvalue(), "not a plain"
    for text in (b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': '<f4'}", b"__import__('os').abort()", b"\xff" * 20):
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        yield f"headed {text[:6]!r}", data, "not a plain"


def _lying(shape: tuple[int, ...]) -> bytes:
    """The header of an array that is not there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


def _wrong_heads(tensors: dict[str, np.ndarray]) -> Iterator[tuple[str, bytes]]:
    weight, one = tensors["aligned.weight"], {k: v for k, v in tensors.items() if k.endswith("weight")}
    for says, content in (
        ("lacks aligned.real.centre", {k: v for k, v in tensors.items() if k != "aligned.real.centre"}),
        ("lacks aligned.real.weight", {k: v for k, v in tensors.items() if k != "aligned.weight"}),
        ("lacks", {}),
        ("'other' among them", tensors | {"other": np.ones(3, np.float32)}),
        ("'aligned.real.weight' among them", tensors | {"aligned.real.weight": weight}),
        ("aligned.weight must be finite", tensors | {"aligned.weight": np.full_like(weight, np.inf)}),
        ("synthetic.centre must be finite", tensors | {"aligned.synthetic.centre": np.full(D, np.nan, np.float32)}),
        ("finite and of shape (64,)", tensors | {"aligned.real.centre": np.ones((1, D), np.float32)}),
        ("finite and of shape (0, 64), got ()", tensors | {"aligned.weight": np.array(1, np.float16)}),
        ("must be float16 or float32, got float64", tensors | {"aligned.weight": np.eye(D)}),
        ("must be float16 or float32, got int8", tensors | {"aligned.weight": np.eye(D, dtype=np.int8)}),
        ("gives 32 dimensions in aligned", tensors | {key: value[: len(value) // 2] for key, value in one.items()}),
        ("is for 63 features", {k: np.ascontiguousarray(v[..., :63]) for k, v in tensors.items()}),
    ):
        yield re.escape(says), save(content)
    right, size = save(tensors), (100).to_bytes(8, "little")
    for data in (b"", right[:100], right + b"more", DEEP, size + b"{" * 100, (2**60).to_bytes(8, "little") + b"{}"):
        yield "no safetensors file", data
    bfloat = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    yield "", len(bfloat).to_bytes(8, "little") + bfloat + bytes(2)


def _heads() -> Iterator[Fault]:
    some = {f"{s}.{p}": np.eye(D, dtype=np.float16) for s in SPACES[1:] for p in ("weight",)}
    some |= {f"{s}.{d}.centre": np.ones(D, np.float32) for s in SPACES[1:] for d in Domain}
    for i, (says, content) in enumerate(_wrong_heads(some)):
        yield Fault(HEADS, f"wrong {i}", partial(signed, name=HEADS, content=content), says)


def _pickles() -> Iterator[Fault]:
    for name in NEEDED:
        for how in ("a pickle", "an array of objects"):
            yield from _also_scanned(name, how, partial(bombed, name=name, how=how), "")


def bombed(bundle: Path, name: str, how: str) -> None:
    """A pickle that makes the folder ``exploded`` beside the bundle."""
    bomb = Bomb(bundle.parent / "exploded")
    signed(bundle, name, pickle.dumps(bomb) if how == "a pickle" else npy(np.array([bomb], dtype=object)))


# What JSON says


NO_MANIFEST = [
    b"", b"{", b"[]", b"null", b"7", b'"text"', DEEP, b'{"a":' * 100_000, b"\xff\xfe", b'{"format": 1' + b"0" * 5000 + b"}",
    b'{"format": 99, "files": {}}', b'{"format": 1}',
]  # fmt: skip
ENTRIES: list[tuple[tuple[str, ...], list[Any]]] = [
    (("format",), [told, 0, 2, 99, "1", True, 1.0, None, [1]]),
    (
        ("files",),
        [told, None, [], "x", {"../heads.safetensors": {"sha256": "0" * 64}}, {"/etc/passwd": {"sha256": "0" * 64}}],
    ),
    (("files", HEADS), [None, "0" * 64, {}, [], {"sha256": None}, {"sha256": "xyz"}, {"sha256": ["0" * 64]}]),
    (("steps",), [told, None, [], 3]),
    (("steps", "calibrate"), [None, [], "x", {"sections": "files"}, {"sections": ["files"]}, {"sections": [[]]}]),
    (("steps", "extract_features"), [{"versions": []}, {"versions": "1"}]),
    (("name",), NO_TEXT),
    (("images",), [told, *NO_TEXT, "", "/etc", "//x", "a\0b", "..\\..\\x", "\\\\host\\share"]),
    (("backbone",), [told, None, [], "efficientnet_lite0", {}]),
    (("backbone", "dim"), [told, *NUMBER, "64", 64.0, 0, -1]),
    (("backbone", "name"), [told, *NO_TEXT]),
    (("backbone", "sha256"), NO_TEXT),
    (("backbone", "engine"), NO_TEXT),
    (("examples",), [None, {}, "01", [[0]], ["0"], [True], [0.0], [-1], [M], [10**30]]),
    (("calibration",), [told, None, [], {}, "x"]),
    (("calibration", "aligned"), [told, None, [], {}, 20.0, {"inverse_temperature": 20.0}]),
    (("calibration", "aligned", "inverse_temperature"), [told, *NUMBER, 0, -3.0]),
    (("calibration", "disentangled", "null_logit"), [told, *NUMBER]),
    (("calibration", "backbone", "more"), [1.0]),
    (("neighbour_preservation",), [told, None, [], {}, 0.5]),
    (("neighbour_preservation", "aligned"), [told, *NUMBER, -0.1, 1.1]),
    (("retrieval",), [None, [], "scan", {}, {"aligned": {}}]),
    (("retrieval",), [dict.fromkeys(SPACES, wrong) for wrong in NO_TEXT[:3]]),
]


def _manifests() -> Iterator[Fault]:
    yield Fault(MANIFEST, "missing", lambda bundle: (bundle / MANIFEST).rename(bundle / f".{MANIFEST}.7.partial"), "")
    for content in NO_MANIFEST:
        spoil = partial(_to_file, name=MANIFEST, spoil=lambda path, content=content: path.write_bytes(content))
        yield Fault(MANIFEST, f"{content[:20]!r}", spoil, "")
    for keys, values in ENTRIES:
        for value in values:
            spoil = partial(entered, keys=keys, value=value)
            yield Fault(MANIFEST, ".".join(keys), spoil, f"[^;]*(?:{'|'.join(keys)})")


PATHS = [
    "../x.png", "a/../../x.png", "/etc/passwd", "//x", "", ".", "..", "a/..", "x\0.png", "..\\x.png", "a\\b.png",
    "\udcff.png", None, 3, ["x.png"], {"a": 1}, "x/../../../../../etc/passwd",
]  # fmt: skip
FIELDS: dict[str, dict[str, list[Any]]] = {
    "references.json": {
        **{key: [told, [], {}] for key in ("title", "source", "licence")},
        **{key: [[], {}] for key in ("concept", "split")},
        "path": [told, *PATHS],
    },
    "queries.json": {
        "type": [told, *NO_TEXT],
        "concept": NO_TEXT,
        "split": NO_TEXT,
        "recipe": [3, "x", []],
        "exemplar_ids": [
            *(told, None, {}, 3, "0", [-1], [N], [0, 0], [True], [0.0], ["0"], [None], [[0]], [10**30]),
        ],
        "path": [told, *PATHS],
    },
}


def _tables() -> Iterator[Fault]:
    for name in TABLES:
        for content in (b"", b"{", DEEP, b"{}", b"null", b"7", b'"text"', b"[1]", b"[null]", b"[[]]", b"[{}]", b"\xff"):
            says = "is no JSON" if content in (b"", b"{", DEEP, b"\xff") else "it must hold"
            yield Fault(name, f"{content[:9]!r}", partial(signed, name=name, content=content), says)
        for key, values in FIELDS[name].items():
            for value in values:
                spoil = partial(rewritten, name=name, change=partial(_entry, key=key, value=value))
                yield Fault(name, f"{key} of an entry", spoil, key)
        for target in ("/etc/passwd", "/not there", "../../secret.png"):
            for path in ("way_out.png", "below/way_out.png"):
                spoil = partial(linked, name=name, path=path, target=target)
                says = rf"the picture '{path}' is a link to .*; copy what it leads to there"
                yield Fault(name, f"{path} a link to {target}", spoil, says)
        spoil = partial(linked, name=name, path="way_out/x.png", target="/tmp")
        yield Fault(name, "in a folder that is a link", spoil, "is a link to")
    fewer = partial(rewritten, name="references.json", change=lambda old: old[:-1])
    yield Fault(ROWS[0], "more rows than entries", fewer, "has shape")
    more = partial(rewritten, name="queries.json", change=lambda old: old * 2)
    yield Fault("queries_backbone.npy", "fewer rows than entries", more, "has shape")
    for name in MEASURED:
        for content in (b"[]", b"3", b"null", b"{", DEEP, b'{"test": 3, "spaces": 3}'):
            spoil = partial(signed, name=name, content=content)
            yield Fault(name, f"{content[:9]!r}", spoil, "is no JSON|is damaged or of another version")


def _entry(table: list[dict[str, Any]], key: str, value: Any) -> list[dict[str, Any]]:
    entry = {k: v for k, v in table[1].items() if k != key} | ({} if value is told else {key: value})
    return [table[0], entry, *table[2:]]


def linked(bundle: Path, name: str, path: str, target: str) -> None:
    """A table whose second picture is at a path, of which the first part that is not ``below`` is a link."""
    pictures = bundle / json.loads((bundle / MANIFEST).read_bytes())["images"]
    (pictures / "below").mkdir(parents=True, exist_ok=True)
    link = pictures / (path if path.endswith("way_out.png") else path.partition("/")[0])
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    rewritten(bundle, name, lambda old: _entry(old, "path", path))


FAULTS = [*_of_any_file(), *_arrays(), *_heads(), *_pickles(), *_manifests(), *_tables()]
