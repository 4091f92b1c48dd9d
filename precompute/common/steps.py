"""Steps write into a bundle: each its own files and its part of the manifest, in an order in which later ones rest on earlier."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import FORMAT, WRITTEN_BY, Bundle, BundleError, remedy
from aad.files import beside, file_sha256, naming
from aad.hub import SCHEME, hub_address

STEPS = (
    "extract_features",
    "train_heads",
    "build_index",
    "calibrate",
    "project",
    "evaluate",
    "leave_out",
    "measure_theory",
)
SIDE_STEPS = {"build_index"}  # nothing is derived from what they write


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
        step: one of ``STEPS``.
        files: name to content: an array for ``.npy``, a dictionary of arrays for ``.safetensors``, anything JSON for ``.json``;
            or the ``Path`` of a finished file on the same disk, which is moved into place.
        command: the command line that makes this step again.
        sections: entries for the manifest itself.
        settings: seeds, versions and choices worth keeping with the step.

    Raises:
        BundleError: the disk is full, the folder cannot be written, or it is on the hub.
    """
    if address := hub_address(folder):
        raise BundleError(
            f"a step writes into a folder of this machine, got {address}; copy that bundle first with: "
            f"hf download {address.removeprefix(SCHEME).partition('@')[0]} --local-dir FOLDER"
        )
    manifest: dict[str, Any] = {"format": FORMAT, "files": {}, "steps": {}}
    if step != STEPS[0]:
        manifest = Bundle.open(folder).manifest
    dropped = {step} if step in SIDE_STEPS else set(STEPS[STEPS.index(step) :])
    if unknown := sorted(set(manifest["files"]) - set(WRITTEN_BY)):
        raise BundleError(
            f"{folder / 'manifest.json'} names {unknown[0]!r:.80}, which this version does not know; write with the version that "
            f"made the bundle, or {remedy(folder)}"
        )
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if WRITTEN_BY[name] not in dropped}
    for later in dropped & set(manifest["steps"]):
        for section in manifest["steps"].pop(later).get("sections", []):
            manifest.pop(section, None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Together(folder) as together:
            for name, content in files.items():
                manifest["files"][name] = together.write(name, content)
            manifest |= sections or {}
            manifest["steps"][step] = {"command": command, "sections": sorted(sections or {}), **(settings or {})}
            together.write("manifest.json", manifest)
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle at {folder}: {error}; free some space or choose another folder"
        ) from error


class Together:
    """Files of one folder that take their places together, the last one last, once all of them are written.

    Used as a context: when it is left by an error, such as a full disk, the old files are as they were and nothing is beside them.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._finished: dict[Path, Path] = {}  # place -> where the content is until then
        self._partial: list[Path] = []

    def __enter__(self) -> "Together":
        return self

    def write(self, name: str, content: Any) -> dict[str, Any]:
        """One more file.

        Args:
            name: its ending says how ``content`` is written.
            content: see ``encode``; or the ``Path`` of a finished file on the same disk, which is moved.

        Returns:
            Its entry in the manifest: ``sha256`` and ``bytes``.
        """
        place = self.folder / name
        if isinstance(content, Path):
            self._finished[place] = content
            return {"sha256": file_sha256(content), "bytes": content.stat().st_size}
        data, partial = encode(name, content), beside(place)
        self._partial.append(partial)
        with naming(place):
            partial.write_bytes(data)
        self._finished[place] = partial
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def __exit__(self, trouble: type[BaseException] | None, *_: object) -> None:
        try:
            if trouble is None:
                for place, finished in self._finished.items():
                    finished.replace(place)
        finally:
            for partial in self._partial:
                partial.unlink(missing_ok=True)


def encode(name: str, content: Any) -> bytes:
    """The bytes of a file: an array as ``.npy``, a dictionary of arrays as ``.safetensors``, anything else as JSON."""
    if name.endswith(".npy"):
        import io

        buffer = io.BytesIO()
        np.save(buffer, content, allow_pickle=False)
        return buffer.getvalue()
    if name.endswith(".safetensors"):
        from safetensors.numpy import save

        return save(dict(content))
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=name == "manifest.json") + "\n").encode()
