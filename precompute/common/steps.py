"""Steps write into a bundle: each its own files and its part of the manifest, in an order in which later ones rest on earlier."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import FORMAT, Bundle, BundleError, remedy
from aad.files import beside, file_sha256, naming
from aad.schema import CONTENTS, SIDE_STEPS, STEPS


def write_step(
    folder: Path,
    step: str,
    files: Mapping[str, Any],
    *,
    command: str,
    sections: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the files of one step and enter them in the manifest, dropping what later steps made of the old ones.

    All files are written beside their places, and then renamed, the manifest last. Where writing fails the bundle stays as it was;
    a process killed between two renames leaves a bundle that refuses to load and says which command to run again.

    Args:
        folder: the bundle; created when missing.
        step: one of ``aad.schema.STEPS``.
        files: name to content: an array for ``.npy``, a dictionary of arrays for ``.safetensors``, rows by column for ``.csv``,
            anything JSON for ``.json``; or the ``Path`` of a finished file on the same disk, which is moved into place.
        command: the command line that makes this step again.
        sections: entries for the manifest itself.
        settings: seeds, versions and choices worth keeping with the step.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    manifest: dict[str, Any] = {"format": FORMAT, "files": {}, "steps": {}}
    if step != STEPS[0]:
        manifest = Bundle.open(folder).manifest
    dropped = {step} if step in SIDE_STEPS else set(STEPS[STEPS.index(step) :])
    if unknown := sorted(set(manifest["files"]) - set(CONTENTS)):
        raise BundleError(
            f"{folder / 'manifest.json'} names {unknown[0]!r:.80}, which this version does not know; write with the version that "
            f"made the bundle, or {remedy(folder)}"
        )
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if CONTENTS[name].step not in dropped}
    for later in dropped & set(manifest["steps"]):
        for section in manifest["steps"].pop(later).get("sections", []):
            manifest.pop(section, None)
    finished: dict[Path, Path] = {}  # a file's place -> where its content is until all of them are written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            finished[folder / name], manifest["files"][name] = _written(folder / name, content)
        manifest |= sections or {}
        manifest["steps"][step] = {"command": command, "sections": sorted(sections or {}), **(settings or {})}
        finished[folder / "manifest.json"], _ = _written(folder / "manifest.json", manifest)
        for place, where in finished.items():
            where.replace(place)
    finally:
        for name in (*files, "manifest.json"):
            with suppress(OSError):
                beside(folder / name).unlink()


def _written(place: Path, content: Any) -> tuple[Path, dict[str, Any]]:
    """Where the content lies until it is moved to its place, and its entry in the manifest."""
    if isinstance(content, Path):
        return content, {"sha256": file_sha256(content), "bytes": content.stat().st_size}
    data = encode(place.name, content)
    with naming(place):
        beside(place).write_bytes(data)
    return beside(place), {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def encode(name: str, content: Any) -> bytes:
    """The bytes of a file: an array as ``.npy``, a dictionary of arrays as ``.safetensors``, rows as ``.csv``, all else as JSON."""
    if name.endswith(".npy"):
        buffer = io.BytesIO()
        np.save(buffer, content, allow_pickle=False)
        return buffer.getvalue()
    if name.endswith(".safetensors"):
        from safetensors.numpy import save

        return save(dict(content))
    if name.endswith(".csv"):
        text = io.StringIO()
        table = csv.DictWriter(text, list(content[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(content)
        return text.getvalue().encode()
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=name == "manifest.json") + "\n").encode()
