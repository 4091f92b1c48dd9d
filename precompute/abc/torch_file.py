"""Open files written by `torch.save`, safely: plain tensors, numbers, text, lists and dictionaries only, never other objects."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

from precompute.abc.splits import BenchmarkError


def load(path: Path, what: str) -> Any:
    """The content of a `torch.save` file, on the CPU; tensors stay on disk until they are read, where the format allows it.

    Args:
        path: written by torch 1.6 or newer (a zip file, memory-mapped), or by an older one (read whole).
        what: names the file in errors, such as "LAION features".

    Raises:
        BenchmarkError: missing, damaged, or it holds objects that only running code could restore.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except OSError as error:
        reason = error.strerror or error
        raise BenchmarkError(f"{what} must be a readable file, got {path} ({reason}); check the path") from None
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BenchmarkError(
            f"{what} must be a torch.save file of tensors, numbers, text, lists and dictionaries, got {path} ({reason}); "
            "download the file again, or save it again as such"
        ) from None


def is_zip(path: Path) -> bool:
    """Whether the file is in the format that can be memory-mapped; the older one needs its whole size in memory, once."""
    return zipfile.is_zipfile(path)


def entry(content: Any, key: str, path: Path, what: str) -> Any:
    """One entry of a dictionary that must have it.

    Raises:
        BenchmarkError: no dictionary, or the key is missing; names those that are there.
    """
    if not isinstance(content, dict):
        raise BenchmarkError(f"{what} must be a dictionary, got {type(content).__name__} in {path}; check the file")
    if key not in content:
        found = ", ".join(map(str, content)) or "none"
        raise BenchmarkError(f"{what} must have the key `{key}`, got keys {found} in {path}; check which file this is")
    return content[key]
