"""What an interrupted evaluation has counted so far, kept in a scratch folder beside its results."""

import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import write_atomically
from precompute.abc.protocol import Tally, Work


class Scratch:
    """The folder of one evaluation; its name changes with anything that changes the counts.

    Args:
        out: the results file that it stands beside.
        identity: everything that the counts depend on, as JSON.
    """

    def __init__(self, out: Path, identity: Any) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = out.with_name(f".{out.name}.{digest}.work")

    def load(self, work: Work) -> Tally:
        """The last tally that was kept whole, or an empty one."""
        fresh = Tally.start(work)
        try:
            with np.load(self.folder / "tally.npz", allow_pickle=False) as kept:
                values = {field.name: kept[field.name] for field in fields(Tally)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return fresh
        forms = {field.name: np.asarray(getattr(fresh, field.name)) for field in fields(Tally)}
        if any((v.shape, v.dtype) != (forms[name].shape, forms[name].dtype) for name, v in values.items()):
            return fresh
        return Tally(**{name: value if value.ndim else value.item() for name, value in values.items()})

    def keep(self, tally: Tally) -> None:
        """Write the tally beside the last one and take its place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        values: dict[str, Any] = {field.name: np.asarray(getattr(tally, field.name)) for field in fields(Tally)}
        np.savez(buffer, **values)
        write_atomically(self.folder / "tally.npz", buffer.getvalue())

    def remove(self) -> None:
        """Delete the folder, once the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
