"""Read what AbC (Attribution by Customization, Wang et al., ICCV 2023) releases as `torch.save` files, and what stands in for it.

    gallery      {"feats": (n, d) float tensor, "paths": [text]}: LAION, which is large and read block by block
    test case    `exemplar_paths`, `exemplar_chunks`, `exemplar_tensors` and, each a dictionary from prompt type to its values,
                 `synth_paths`, `synth_ids`, `synth_tensors`
    mapper       {"real_mapper": {"weight" (k, d), "bias" (k)}, "synth_mapper": {...}}; the embedding is
                 ``normalise(weight x + bias)``

Only tensors, numbers, text, lists and dictionaries are read, never objects that running code would restore.
"""

import os
import pickle
import reprlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from aad.bundle import read_heads
from aad.hub import open_bundle
from aad.method import Head
from aad.spaces import Domain, Space
from precompute.abc.splits import BenchmarkError, require

if TYPE_CHECKING:
    import torch

MAPPERS = {Domain.REAL: "real_mapper", Domain.SYNTHETIC: "synth_mapper"}


@dataclass(frozen=True, slots=True)
class TypeQueries:
    """The m queries of one prompt type.

    Attributes:
        paths: m image paths.
        ids: (m,) int64, the model that made each query, an index into ``TestCase.chunks``.
        features: (m, d) float32.
    """

    paths: list[str]
    ids: np.ndarray
    features: np.ndarray


@dataclass(frozen=True, slots=True)
class TestCase:
    """One of AbC's test cases: the models' exemplars, and their queries of each prompt type.

    Attributes:
        exemplar_paths: n image paths.
        exemplars: (n, d) float32.
        chunks: per model, the half-open range (start, end) of its exemplars.
        queries: by prompt type (`gpt`, and `object` or `media`), in the file's order.
    """

    __test__: ClassVar[bool] = False  # pytest takes a class of this name for tests

    exemplar_paths: list[str]
    exemplars: np.ndarray
    chunks: list[tuple[int, int]]
    queries: dict[str, TypeQueries]


@dataclass(frozen=True, slots=True)
class Affine:
    """``weight x + bias``.

    Attributes:
        weight: (k, d) float32.
        bias: (k,) float64.
        of_unit_rows: the map is for features of unit length, so x is scaled to it first. Our heads are fitted on such; the
            authors' mappers on features as their files have them.
    """

    weight: np.ndarray
    bias: np.ndarray
    of_unit_rows: bool = False


Maps = dict[Domain, Affine]  # empty where the features themselves are compared


class Laion:
    """The opened gallery.

    Args:
        path: the released `laion_subset.pth`; its rows stay on disk until they are read, see ``load_entries``.

    Attributes:
        shape: (n, d).
        paths: n paths, in row order.

    Raises:
        BenchmarkError: the file departs from the form.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        feats, self.paths = load_entries(path, "LAION features", "feats", "paths")
        self.path, self._rows = Path(path), _tensor(feats, "feats", ("n", "d"), path)
        self.shape: tuple[int, ...] = tuple(self._rows.shape)
        fits = isinstance(self.paths, list) and len(self.paths) == self.shape[0]
        _require(fits, "paths", f"a list of {self.shape[0]} texts, one per row of `feats`", self.paths, path)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` as float64, which holds them exactly."""
        return self._rows[start:stop].double().numpy()


def read_test_case(path: str | os.PathLike[str]) -> TestCase:
    """Read one test case, checking every key, type, shape and range.

    Raises:
        BenchmarkError: the file is missing or departs from the form; the first departure is named.
    """
    keys = ("exemplar_tensors", "exemplar_paths", "exemplar_chunks", "synth_tensors", "synth_paths", "synth_ids")
    tensors, paths, chunks, *synth = load_entries(path, "test-case features", *keys)
    exemplars = _array(tensors, "exemplar_tensors", ("n", "d"), path)
    n, d = exemplars.shape
    bounds, wanted = np.asarray(chunks), f"one (start, end) per model, with 0 <= start < end <= {n}"
    fits = bounds.shape[1:] == (2,) and bounds.dtype.kind == "i" and bounds.min() >= 0 and bounds.max() <= n
    _require(fits and bool((bounds[:, 0] < bounds[:, 1]).all()), "exemplar_chunks", wanted, chunks, path)
    for key, value in zip(keys[3:], synth, strict=True):
        by_type = isinstance(value, dict) and value != {} and all(isinstance(kind, str) for kind in value)
        _require(by_type, key, "a dictionary from prompt type to its values", value, path)
        _require(value.keys() == synth[0].keys(), key, f"about the prompt types {', '.join(synth[0])}", value, path)
    queries = {}
    for kind in synth[0]:
        values, names, makers = (f"{key}[{kind!r}]" for key in keys[3:])
        features = _array(synth[0][kind], values, ("m", d), path)
        texts = _texts(synth[1][kind], len(features), names, path)
        ids, wanted = np.asarray(synth[2][kind]), f"{len(features)} numbers of models, 0 to {len(chunks) - 1}"
        fits = ids.shape == (len(features),) and ids.dtype.kind == "i" and ids.min() >= 0 and ids.max() < len(chunks)
        _require(fits, makers, wanted, synth[2][kind], path)
        queries[kind] = TypeQueries(texts, ids.astype(np.int64), features)
    return TestCase(_texts(paths, n, "exemplar_paths", path), exemplars, [(a, b) for a, b in chunks], queries)


def read_mapper(path: str | os.PathLike[str]) -> Maps:
    """The two maps of an official mapper checkpoint (`.pth`), by domain.

    Raises:
        BenchmarkError: missing, damaged, another kind of mapper, or shapes that do not fit together.
    """
    maps: Maps = {}
    shape: tuple[str | int, ...] = ("k", "d")
    for (domain, name), part in zip(MAPPERS.items(), load_entries(path, "the mapper", *MAPPERS.values()), strict=True):
        wanted = "a linear layer with the keys weight and bias (mlp and channel mappers are not supported)"
        _require(isinstance(part, dict) and part.keys() == {"weight", "bias"}, name, wanted, part, path)
        weight = _array(part["weight"], f"{name}.weight", shape, path)
        bias = _array(part["bias"], f"{name}.bias", weight.shape[:1], path)
        maps[domain], shape = Affine(weight, bias.astype(np.float64)), weight.shape
    return maps


def bundle_maps(folder: str | os.PathLike[str], space: Space | str) -> Maps:
    """The head of one space of a bundle as maps: ``weight (x - centre)`` is ``weight x + bias`` with ``bias = -weight centre``.

    Raises:
        BundleError: no such bundle, or its heads are missing or damaged.
    """
    head = read_heads(open_bundle(Path(folder)))[Space(space)]
    dense = {domain: _dense(head, domain) for domain in Domain}
    return {d: Affine(weight, -(weight.astype(np.float64) @ head.centre[d]), True) for d, weight in dense.items()}


def _dense(head: Head, domain: Domain) -> np.ndarray:
    """The map of a domain as one matrix, (k, d): with a basis ``1 + basis' (weight - 1) basis``."""
    weight, basis = head.weight[domain], head.basis
    if basis is None:
        return weight
    return np.eye(head.dim, dtype=np.float32) + basis.T @ (weight - np.eye(len(basis), dtype=np.float32)) @ basis


def load_entries(path: str | os.PathLike[str], what: str, *keys: str) -> list[Any]:
    """Entries of a `torch.save` file that holds a dictionary; tensors stay on disk until they are read, where the format allows it.

    Args:
        path: written by torch 1.6 or newer (a zip file, memory-mapped), or by an older one (read whole).
        what: names the file in errors, such as "LAION features".
        keys: of the entries.

    Raises:
        BenchmarkError: missing, damaged, it holds objects that only running code could restore, or lacks a key.
    """
    import torch

    path = Path(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BenchmarkError(
            f"{what} must be a readable file of tensors, numbers, text, lists and dictionaries, got {path} ({reason}); check the "
            "path, download the file again, or save it again as such"
        ) from None
    if not isinstance(content, dict):
        raise BenchmarkError(f"{what} must be a dictionary, got {type(content).__name__} in {path}; check the file")
    if missing := [key for key in keys if key not in content]:
        raise BenchmarkError(f"{what} must have the key `{missing[0]}`, got {_told(content)} in {path}; check the file")
    return [content[key] for key in keys]


def _tensor(value: Any, key: str, shape: tuple[str | int, ...], path: str | os.PathLike[str]) -> "torch.Tensor":
    """The value, seen to be a float tensor of a shape whose axes are lengths or, where any will do, names."""
    import torch

    fits = isinstance(value, torch.Tensor) and value.is_floating_point() and 0 not in value.shape
    fits = fits and value.ndim == len(shape)
    fits = fits and all(isinstance(a, str) or a == b for a, b in zip(shape, value.shape, strict=True))
    _require(fits, key, f"a float tensor of shape {shape} with at least one row".replace("'", ""), value, path)
    return value.detach()


def _array(value: Any, key: str, shape: tuple[str | int, ...], path: str | os.PathLike[str]) -> np.ndarray:
    """As float32: a copy, so that the file is let go of."""
    return np.array(_tensor(value, key, shape, path).float().numpy())


def _texts(value: Any, n: int, key: str, path: str | os.PathLike[str]) -> list[str]:
    fits = isinstance(value, list) and len(value) == n and all(isinstance(text, str) for text in value)
    _require(fits, key, f"a list of {n} texts, one per row of its tensor", value, path)
    return list(value)


def _require(is_so: bool, key: str, wanted: str, value: object, path: str | os.PathLike[str]) -> None:
    require(is_so, key, wanted, value if isinstance(value, str) else _told(value), path, "check which file this is")


def _told(value: Any) -> str:
    if hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"keys {', '.join(map(str, value)) or 'none'}" if isinstance(value, dict) else reprlib.repr(value)
