"""Read the feature files of AbC (Attribution by Customization, Wang et al., ICCV 2023) as its authors distribute them.

A test case is one `torch.save` file with `exemplar_paths`, `exemplar_chunks`, `exemplar_tensors` and, each a dictionary from
prompt type to its values, `synth_paths`, `synth_ids`, `synth_tensors`. The LAION gallery is in `precompute/abc/laion.py`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from precompute.abc.laion import Laion, open_laion
from precompute.abc.splits import BenchmarkError
from precompute.abc.torch_file import entry, load

__all__ = ["Laion", "TestCase", "TypeQueries", "open_laion", "read_test_case"]

WHAT = "test-case features"
REMEDY = "extract the features again"


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


def read_test_case(path: str | os.PathLike[str]) -> TestCase:
    """Read one test case, checking every key, type, shape and range.

    Raises:
        BenchmarkError: the file is missing or departs from the form; the first departure is named.
    """
    path = Path(path)
    content = load(path, WHAT)
    keys = ("exemplar_tensors", "exemplar_paths", "exemplar_chunks", "synth_tensors", "synth_paths", "synth_ids")
    tensors, exemplar_paths, chunks, *synth = (entry(content, key, path, WHAT) for key in keys)
    exemplars = _features(tensors, "exemplar_tensors", path)
    ranges = _ranges(chunks, len(exemplars), path)
    synth_tensors, synth_paths, synth_ids = synth
    _require_types(synth_tensors, synth_paths, synth_ids, path)
    queries = {}
    for kind in synth_tensors:
        features = _features(synth_tensors[kind], f"synth_tensors[{kind!r}]", path, exemplars.shape[1])
        queries[kind] = TypeQueries(
            _texts(synth_paths[kind], len(features), f"synth_paths[{kind!r}]", path),
            _ids(synth_ids[kind], len(features), len(ranges), f"synth_ids[{kind!r}]", path),
            features,
        )
    return TestCase(_texts(exemplar_paths, len(exemplars), "exemplar_paths", path), exemplars, ranges, queries)


def _features(value: Any, key: str, path: Path, d: int | None = None) -> np.ndarray:
    import torch

    wanted = f"a float tensor of shape (m, {d or 'd'}) with at least one row"
    if not isinstance(value, torch.Tensor):
        raise _departure(key, wanted, type(value).__name__, path)
    if value.ndim != 2 or 0 in value.shape or not value.is_floating_point() or d not in (None, value.shape[1]):
        raise _departure(key, wanted, f"{value.dtype} {tuple(value.shape)}", path)
    features = np.array(value.detach().to(torch.float32).numpy())  # a copy, so that the file is let go of
    finite = np.isfinite(features).all(1)
    if not finite.all():
        raise _departure(key, "finite", f"a value that is not, in row {int(finite.argmin())}", path)
    return features


def _texts(value: Any, n: int, key: str, path: Path) -> list[str]:
    if not isinstance(value, list) or len(value) != n or not all(isinstance(text, str) for text in value):
        got = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise _departure(key, f"a list of {n} texts, one per row of its tensor", got, path)
    return list(value)


def _ranges(value: Any, n: int, path: Path) -> list[tuple[int, int]]:
    key = "exemplar_chunks"
    if not isinstance(value, list) or not value:
        got = "an empty list" if value == [] else type(value).__name__
        raise _departure(key, "a list of one (start, end) per model", got, path)
    for model, chunk in enumerate(value):
        pair = isinstance(chunk, tuple | list) and len(chunk) == 2 and all(type(bound) is int for bound in chunk)
        if not pair or not 0 <= chunk[0] < chunk[1] <= n:
            raise _departure(f"{key}[{model}]", f"(start, end) with 0 <= start < end <= {n}", repr(chunk), path)
    return [(start, end) for start, end in value]


def _require_types(tensors: Any, paths: Any, ids: Any, path: Path) -> None:
    for key, value in (("synth_tensors", tensors), ("synth_paths", paths), ("synth_ids", ids)):
        if not isinstance(value, dict) or not value or not all(isinstance(kind, str) for kind in value):
            got = "an empty one" if value == {} else type(value).__name__
            raise _departure(key, "a dictionary from prompt type to its values", got, path)
        if value.keys() != tensors.keys():
            raise _departure(key, f"about the prompt types {', '.join(tensors)}", ", ".join(value), path)


def _ids(value: Any, m: int, n_models: int, key: str, path: Path) -> np.ndarray:
    import torch

    wanted = f"{m} whole numbers from 0 to {n_models - 1}, the model of each query"
    values = value.tolist() if isinstance(value, torch.Tensor) else value
    if not isinstance(values, list | tuple) or len(values) != m:
        got = f"{len(values)} entries" if isinstance(values, list | tuple) else type(value).__name__
        raise _departure(key, wanted, got, path)
    for index, model in enumerate(values):
        if type(model) is not int or not 0 <= model < n_models:
            raise _departure(f"{key}[{index}]", f"a whole number from 0 to {n_models - 1}", repr(model), path)
    return np.array(values, dtype=np.int64)


def _departure(key: str, wanted: str, got: str, path: Path) -> BenchmarkError:
    return BenchmarkError(f"`{key}` must be {wanted}, got {got} in {path}; {REMEDY}")
