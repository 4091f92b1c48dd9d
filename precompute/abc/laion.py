"""The large gallery: LAION features as AbC releases them, turned once into a folder that is read block by block.

The release is one `torch.save` file, ``{"feats": (n, d) float tensor, "paths": [text]}``. The converted folder holds

    features.npy    (n, d), dtype as released
    paths.jsonl     one JSON text per line
    laion.json      n, d, dtype, and size, time and sha256 of the head of the file it was made from

It is written under another name and renamed when whole. Once it is there the release is not needed any more.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from precompute.abc.splits import BenchmarkError
from precompute.abc.torch_file import entry, is_zip, load

WHAT = "LAION features"
FORMAT = 1
HEAD = 1 << 20  # bytes of a file that its fingerprint reads; the size and the time catch the rest
COPY_BYTES = 64 << 20  # copied at a time
REOPEN_BYTES = 512 << 20  # mapped pages count as this process's memory until the file is let go of
DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Laion:
    """An opened gallery.

    Attributes:
        folder: the converted folder.
        features: (n, d), memory-mapped, dtype as released.
    """

    folder: Path
    features: np.memmap

    @cached_property
    def paths(self) -> Sequence[str]:
        """n paths, in row order; read at the first use (about 1 s and 150 MB for a million)."""
        file = self.folder / "paths.jsonl"
        try:
            paths = json.loads(
                f"[{','.join(file.read_text(encoding='utf-8').splitlines())}]"
            )  # far quicker than line by line
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, f"paths.jsonl cannot be read ({error})") from None
        if len(paths) != len(self.features):
            raise _damaged(self.folder, f"paths.jsonl has {len(paths)} paths for {len(self.features)} rows")
        return paths

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` read from the file, so that no mapped page stays counted as memory in use."""
        n, d = self.features.shape
        count = (min(stop, n) - start) * d
        offset = self.features.offset + start * d * self.features.itemsize
        read = np.fromfile(self.folder / "features.npy", self.features.dtype, count, offset=offset)
        if len(read) != count:
            raise _damaged(self.folder, "features.npy is shorter than it was")
        return read.reshape(-1, d)


def open_laion(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Laion:
    """Open LAION features, converting a released file the first time.

    Args:
        path: the released `laion_subset.pth`, or a folder converted before.
        cache: the folder to convert into; by default `laion_subset.converted` beside the file.

    Raises:
        BenchmarkError: the file departs from the form, has values that are not finite, or there is no room for the copy.
    """
    source = Path(path)
    if source.is_dir():
        return _open_folder(source)
    folder = Path(cache) if cache else source.with_suffix(".converted")
    if folder.exists() and not (folder / "laion.json").exists() and any(folder.iterdir()):
        raise BenchmarkError(
            f"the folder for converted {WHAT} must be new, empty or one of ours, got {folder}, which has other files; "
            "name another with --cache"
        )
    if not source.exists() and (folder / "laion.json").exists():
        return _open_folder(folder)  # the release was deleted after it was converted
    if not source.is_file():
        raise BenchmarkError(f"{WHAT} must be a readable file or a converted folder, got {source}; check the path")
    if not _is_of(folder, source):
        _convert(source, folder)
    return _open_folder(folder)


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes, time of the last change in ns and sha256 of the first MiB: tells files apart without reading all of them."""
    status = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256_head": head}


def _open_folder(folder: Path) -> Laion:
    facts = _read_facts(folder)
    try:
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(folder, f"features.npy cannot be read ({error})") from None
    if (*features.shape, str(features.dtype)) != (facts.get("n"), facts.get("d"), facts.get("dtype")):
        raise _damaged(folder, f"features.npy is {features.dtype} {features.shape}, laion.json says otherwise")
    return Laion(folder, features)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / "laion.json").read_bytes())
    except FileNotFoundError:
        raise BenchmarkError(
            f"converted {WHAT} must be a folder with laion.json, features.npy and paths.jsonl, got {folder}; "
            "give the released .pth file instead"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"laion.json cannot be read ({error})") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise _damaged(folder, f"laion.json is not of format {FORMAT}")
    return facts


def _is_of(folder: Path, source: Path) -> bool:
    return (folder / "laion.json").exists() and _read_facts(folder).get("source") == fingerprint(source)


def _damaged(folder: Path, why: str) -> BenchmarkError:
    return BenchmarkError(f"converted {WHAT} at {folder} are damaged: {why}; delete the folder and give the .pth again")


def _convert(source: Path, folder: Path) -> None:
    """Copy the release into ``folder``, all or nothing."""
    size = source.stat().st_size
    _clear_partials(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    if not is_zip(source):
        tqdm.write(
            f"{source} is in torch's old format, which cannot be mapped: converting needs {size / 1e9:.1f} GB once"
        )
    try:
        partial.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(partial).free
        if free < 1.05 * size:
            raise BenchmarkError(
                f"converting {source} needs {1.05 * size / 1e9:.1f} GB of disk beside {folder}, got {free / 1e9:.1f} GB; "
                "free some, or name a roomier folder with --cache"
            )
        _write(source, partial)
        if _is_of(folder, source):
            return  # another run converted the same file meanwhile, and may be reading it
        if folder.exists():
            shutil.rmtree(folder)  # empty, or ours and made from an older file
        partial.rename(folder)
    except OSError as error:
        raise BenchmarkError(
            f"{WHAT} must be converted into a folder that can be written, got {folder} ({error.strerror or error}); "
            "name another with --cache"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(source: Path, folder: Path) -> None:
    content = load(source, WHAT)
    feats, paths = _checked(content, source)
    n, d = feats.shape
    dtype = np.dtype(str(feats.dtype).removeprefix("torch."))
    step = max(1, COPY_BYTES // (d * dtype.itemsize))
    reopen_every = max(1, REOPEN_BYTES // COPY_BYTES)
    with (folder / "features.npy").open("wb") as file, tqdm(total=n, desc="convert", unit="row", disable=None) as bar:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n, d)}
        np.lib.format.write_array_header_1_0(file, header)
        for i, start in enumerate(range(0, n, step)):
            if i and i % reopen_every == 0 and is_zip(source):
                del content, feats
                content = load(source, WHAT)
                feats = content["feats"]
            block = feats[start : start + step].detach().contiguous().numpy()
            finite = np.isfinite(block).all(1)
            if not finite.all():
                row = start + int(finite.argmin())
                raise BenchmarkError(
                    f"{WHAT} must be finite, got a row that is not in {source}, row {row} ({paths[row]}); extract or "
                    "download the features again"
                )
            file.write(np.ascontiguousarray(block, dtype=dtype.newbyteorder("<")).data)
            bar.update(len(block))
    with (folder / "paths.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(path) + "\n" for path in paths)
    facts = {"format": FORMAT, "n": n, "d": d, "dtype": str(dtype), "source": fingerprint(source)}
    (folder / "laion.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _checked(content: Any, source: Path) -> tuple[Any, list[str]]:
    import torch

    feats, paths = (entry(content, key, source, WHAT) for key in ("feats", "paths"))
    if not isinstance(feats, torch.Tensor) or feats.ndim != 2 or 0 in feats.shape:
        got = tuple(feats.shape) if isinstance(feats, torch.Tensor) else type(feats).__name__
        raise BenchmarkError(f"`feats` must be an (n, d) tensor, got {got} in {source}; check which file this is")
    if str(feats.dtype).removeprefix("torch.") not in DTYPES:
        raise BenchmarkError(f"`feats` must be {', '.join(DTYPES)}, got {feats.dtype} in {source}; save it as float32")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths) or len(paths) != len(feats):
        got = f"{len(paths)} entries" if isinstance(paths, list) else type(paths).__name__
        raise BenchmarkError(
            f"`paths` must be a list of {len(feats)} texts, one per row of `feats`, got {got} in {source}; check the file"
        )
    return feats, paths


def _clear_partials(folder: Path) -> None:
    """Delete what conversions of this file left when they were killed; those of a living process are let be."""
    prefix, suffix = f".{folder.name}.", ".partial"
    for leftover in folder.parent.glob(f".*{suffix}") if folder.parent.is_dir() else ():
        pid = leftover.name.removeprefix(prefix).removesuffix(suffix)
        if leftover.name.startswith(prefix) and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # asking would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()
