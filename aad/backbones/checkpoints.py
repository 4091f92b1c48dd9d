"""Read a file of weights, whatever of the usual forms it has, without running any code in it."""

import argparse
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HOLDERS = (
    "teacher",
    "state_dict",
    "model_state_dict",
    "model",
)  # entries of training checkpoints: they hold the tensors


class CheckpointError(ValueError):
    """A file holds no weights, or others. The text goes into a BackboneError that names the file and what was expected."""


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_checkpoint(path: Path, torchscript: bool = False) -> dict[str, "torch.Tensor"]:
    """Tensors by name.

    Args:
        path: safetensors, ``torch.save``, Flax's .npz, or a TorchScript archive.
        torchscript: whether an archive may be read; only where the release is one.

    Raises:
        CheckpointError: none of these, damaged, holding Python objects, or not tensors by name.
        OSError: the file cannot be opened.
    """
    safetensors = is_safetensors(path)  # opens it, so what fails from here on is the content
    try:
        content = _read(path, safetensors, torchscript)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # torch and safetensors let nearly any exception escape on damaged data, OSError as well
        raise CheckpointError(_reason(error)) from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in HOLDERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return _tensors(content)
        content = inner
    raise CheckpointError(f"it holds a {type(content).__name__}, not tensors by name")


def _read(path: Path, safetensors: bool, torchscript: bool) -> Any:
    import torch

    if safetensors:
        from safetensors.torch import load_file

        return load_file(path)
    members = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in members):
        if not torchscript:
            raise CheckpointError("it is a TorchScript archive")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export; releases are old
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    if any(name.endswith(".npy") for name in members):
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's full checkpoints keep their settings in one
        return torch.load(path, map_location="cpu", weights_only=True, mmap=bool(members))


def _tensors(content: Mapping[Any, Any]) -> dict[str, "torch.Tensor"]:
    import torch

    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"its entry {name!r} is a {type(value).__name__}, not a tensor")
    if not content:
        raise CheckpointError("it holds no tensors")
    return dict(content)


def _reason(error: Exception) -> str:
    """One line of why, without torch's advice to switch its safety off."""
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds Python objects ({match[1]}), which may run code; only tensors are read"
    lines = str(error).strip().splitlines()
    return f"it is damaged or no checkpoint ({type(error).__name__}{f': {lines[0][:100]}' if lines else ''})"
