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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from precompute.abc.files import float_tensor, load_entries
from precompute.abc.splits import BenchmarkError, require
from precompute.common.lock import hold
from precompute.common.rows import write_rows

WHAT = "LAION features"
FORMAT = 1
HEAD = 1 << 20  # bytes of a file that its fingerprint reads; the size and the time catch the rest
COPY_BYTES = 256 << 20  # copied at a time; pages mapped count as this process's memory until the file is let go of
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
        """n paths, in row order; read at the first use (some seconds and 150 MB for a million)."""
        try:
            with (self.folder / "paths.jsonl").open(encoding="utf-8") as lines:
                paths = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, f"paths.jsonl cannot be read ({error})") from None
        if len(paths) != len(self.features):
            raise _damaged(self.folder, f"paths.jsonl has {len(paths)} paths for {len(self.features)} rows")
        return paths

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, copied from the file, so that no mapped page stays counted as memory in use."""
        return np.array(_mapped(self.folder)[start:stop])


def open_laion(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Laion:
    """Open LAION features, converting a released file the first time.

    Args:
        path: the released `laion_subset.pth`, or a folder converted before.
        cache: the folder to convert into; by default `laion_subset.converted` beside the file.

    Raises:
        BenchmarkError: the file departs from the form, has values that are not finite, or there is no room for the copy.
    """
    source = Path(path)
    folder = source if source.is_dir() else Path(cache) if cache else source.with_suffix(".converted")
    converted = (folder / "laion.json").exists()
    if source.is_file():
        if folder.exists() and not converted and any(folder.iterdir()):
            raise BenchmarkError(
                f"the folder for converted {WHAT} must be new, empty or one of ours, got {folder}, which has other files; "
                "name another with --cache"
            )
        if not converted or _facts(folder).get("source") != fingerprint(source):
            _convert(source, folder)
    elif not converted:
        raise BenchmarkError(
            f"{WHAT} must be the released .pth file, or the folder that it was converted into, with laion.json, features.npy and "
            f"paths.jsonl, got {source}; check the path"
        )
    facts, features = _facts(folder), _mapped(folder)
    if (*features.shape, str(features.dtype)) != (facts.get("n"), facts.get("d"), facts.get("dtype")):
        raise _damaged(folder, f"features.npy is {features.dtype} {features.shape}, laion.json says otherwise")
    return Laion(folder, features)


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes, time of the last change in ns and sha256 of the first MiB: tells files apart without reading all of them."""
    status = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256_head": head}


def _mapped(folder: Path) -> np.memmap:
    try:
        features: np.memmap = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(folder, f"features.npy cannot be read ({error})") from None
    return features


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / "laion.json").read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"laion.json cannot be read ({error})") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise _damaged(folder, f"laion.json is not of format {FORMAT}")
    return facts


def _damaged(folder: Path, why: str) -> BenchmarkError:
    return BenchmarkError(f"converted {WHAT} at {folder} are damaged: {why}; delete the folder and give the .pth again")


def _convert(source: Path, folder: Path) -> None:
    """Copy the release into ``folder``, all or nothing; one run at a time, and what a killed one left is written over."""
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        hold(partial, new=True)
        try:
            _write(source, partial)
            if folder.exists():
                shutil.rmtree(folder)  # empty, or ours and made from an older file
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise BenchmarkError(
            f"{WHAT} must be converted into a folder with room for a copy that can be written, got {folder} "
            f"({error.strerror or error}); free some space, or name another with --cache"
        ) from error


def _write(source: Path, folder: Path) -> None:
    feats, paths = load_entries(source, WHAT, "feats", "paths")
    n, d = float_tensor(feats, "feats", ("n", "d"), source).shape
    dtype, remedy = str(feats.dtype).removeprefix("torch."), "check which file this is"
    require(dtype in DTYPES, "feats", ", ".join(DTYPES), dtype, source, "save it as float32")
    texts = isinstance(paths, list) and all(isinstance(path, str) for path in paths) and len(paths) == n
    got = f"a list of {len(paths)}" if isinstance(paths, list) else type(paths).__name__
    require(texts, "paths", f"a list of {n} texts, one per row of `feats`", got, source, remedy)
    step = max(1, COPY_BYTES // (d * feats.element_size()))
    del feats

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, n, step):
            block = load_entries(source, WHAT, "feats")[0][start : start + step].detach().numpy()
            finite = np.isfinite(block).all(1)
            row = start + int(finite.argmin())
            told = f"a row that is not, row {row} ({paths[row]})"
            require(bool(finite.all()), "feats", "finite", told, source, "extract or download the features again")
            yield block

    with tqdm(total=n, desc="convert", unit="row", disable=None) as bar:
        write_rows(folder / "features.npy", (n, d), blocks(), bar.update, dtype)
    with (folder / "paths.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(path) + "\n" for path in paths)
    facts = {"format": FORMAT, "n": n, "d": d, "dtype": dtype, "source": fingerprint(source)}
    (folder / "laion.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
