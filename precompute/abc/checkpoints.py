"""The learnt parts of AbC's release, and what stands in for them: a map per domain, and the calibrator.

An official mapper is ``{"real_mapper": {"weight" (k, d), "bias" (k)}, "synth_mapper": {...}}`` in a `torch.save` file; ours has
the same four tensors in a safetensors file, as `real_mapper.weight` and so on. The embedding is ``normalise(weight x + bias)``.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import read_heads
from aad.hub import open_bundle
from aad.spaces import Domain, Space
from precompute.abc.splits import BenchmarkError
from precompute.abc.torch_file import entry, load

BIAS_GAIN = 0.001  # the authors' calibrator stores its bias divided by this


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


Maps = dict[Domain, Affine]


@dataclass(frozen=True, slots=True)
class Calibrator:
    """AbC's attribution weight: ``relu(exp(inverse_temperature (s - s_max)) + bias)``, normalised over the gallery.

    Attributes:
        inverse_temperature: per unit of cosine, above 0.
        bias: as it is added, above -1; where it is negative, references far below the best get no weight.
    """

    inverse_temperature: float
    bias: float


def read_mapper(path: str | os.PathLike[str]) -> Maps:
    """The two maps of a mapper checkpoint, by domain.

    Args:
        path: an official `.pth`, or a `.safetensors` as `python -m precompute.abc_train` writes it.

    Raises:
        BenchmarkError: missing, damaged, another kind of mapper, or shapes that do not fit together.
    """
    path, what = Path(path), "the mapper"
    content = _tensors(path, what)
    maps = {}
    for domain, name in ((Domain.REAL, "real_mapper"), (Domain.SYNTHETIC, "synth_mapper")):
        if path.suffix == ".safetensors":
            part = {key.removeprefix(f"{name}."): value for key, value in content.items() if key.startswith(f"{name}.")}
        else:
            part = entry(content, name, path, what)
        if not isinstance(part, dict) or part.keys() != {"weight", "bias"}:
            got = ", ".join(map(str, part)) or "none" if isinstance(part, dict) else type(part).__name__
            raise BenchmarkError(
                f"`{name}` must be a linear layer with the keys weight and bias, got {got} in {path}; "
                "give a linear mapper (mlp and channel mappers are not supported)"
            )
        weight, bias = (_array(part[key], f"{name}.{key}", path) for key in ("weight", "bias"))
        if weight.ndim != 2 or 0 in weight.shape or bias.shape != weight.shape[:1]:
            raise BenchmarkError(
                f"`{name}` must have a weight of shape (k, d) and a bias of shape (k,), got {weight.shape} and {bias.shape} "
                f"in {path}; check which file this is"
            )
        maps[domain] = Affine(weight, bias.astype(np.float64))
    real, synthetic = (maps[domain].weight.shape for domain in (Domain.REAL, Domain.SYNTHETIC))
    if real != synthetic:
        raise BenchmarkError(f"both maps must have one shape, got {real} and {synthetic} in {path}; check the file")
    return maps


def bundle_maps(folder: str | os.PathLike[str], space: Space | str) -> Maps:
    """The head of one space of a bundle, as maps: ``weight (x - centre)`` is ``weight x + bias`` with ``bias = -weight centre``.

    Raises:
        BundleError: no such bundle, or its heads are missing or damaged.
    """
    head = read_heads(open_bundle(Path(folder)))[Space(space)]
    return {d: Affine(head.weight[d], -(head.weight[d].astype(np.float64) @ head.centre[d]), True) for d in Domain}


def read_calibrator(path: str | os.PathLike[str]) -> Calibrator:
    """AbC's calibrator checkpoint: the scalars `inv_tau` and `bias`.

    Raises:
        BenchmarkError: missing, damaged, not two scalars, or values under which no reference would have a weight.
    """
    path, what = Path(path), "the calibrator"
    content = _tensors(path, what)
    values = {key: _array(entry(content, key, path, what), key, path) for key in ("inv_tau", "bias")}
    for key, value in values.items():
        if value.size != 1:
            raise BenchmarkError(f"`{key}` must be one number, got shape {value.shape} in {path}; check the file")
    calibrator = Calibrator(values["inv_tau"].item(), BIAS_GAIN * values["bias"].item())
    if calibrator.inverse_temperature <= 0 or calibrator.bias <= -1:
        raise BenchmarkError(
            f"the calibrator must have inv_tau above 0 and bias above {-1 / BIAS_GAIN:g}, got "
            f"{calibrator.inverse_temperature:g} and {values['bias'].item():g} in {path}; check the file"
        )
    return calibrator


def _tensors(path: Path, what: str) -> Any:
    if path.suffix != ".safetensors":
        return load(path, what)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BenchmarkError(
            f"{what} must be a readable safetensors file, got {path} ({error}); write it again"
        ) from None


def _array(value: Any, key: str, path: Path) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        got = str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__
        raise BenchmarkError(f"`{key}` must be a float tensor, got {got} in {path}; check which file this is")
    array = np.array(value.detach().to(torch.float32).numpy())
    if not np.isfinite(array).all():
        raise BenchmarkError(f"`{key}` must be finite, got a value that is not in {path}; download the file again")
    return array
