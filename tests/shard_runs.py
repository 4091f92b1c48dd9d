"""Runs of the embedding in shards of three images, whole or killed midway, and what they leave."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

from precompute.common.embedding import embed_sources
from precompute.common.shards import Shards
from precompute.common.sources import checked_sources
from precompute.common.store import EMBEDDED
from tests.shard_work import SPEC, FakeEncoder, picture

ROOT = Path(__file__).resolve().parents[1]


def embed(out: Path, *sources: Path, encoder: FakeEncoder | None = None, workers: int = 1, size: int = 3, **options):
    """Embed with shards of three images; the pictures of each shard that went through the backbone."""
    encoder = encoder or FakeEncoder(out.with_suffix(".log"))
    before = len(encoder.embedded())
    embed_sources(
        checked_sources(sources), encoder, options.pop("spec", SPEC), out, size=size, workers=workers, **options
    )
    return encoder.embedded()[before:]


def rows(out: Path) -> dict[str, np.ndarray]:
    """Rows by the image's name."""
    shards = Shards.open(out, EMBEDDED)
    names = [name for table in shards.tables() for name in table["names"]]
    return dict(zip(names, np.concatenate(list(shards.rows())), strict=True))


def told(out: Path) -> dict[str, dict]:
    tables = Shards.open(out, EMBEDDED).tables()
    return {name: said for table in tables for name, said in zip(table["names"], table["told"], strict=True)}


def encoded(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind)
    return buffer.getvalue()


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


DRIVER = """
import sys
from pathlib import Path
from precompute.common.cli import run_step
from precompute.common.embedding import embed_sources
from precompute.common.sources import checked_sources
from tests.shard_work import SPEC, FakeEncoder
def main(argv):
    encoder = FakeEncoder(Path(argv[2]), seconds=0.2)
    options = {"runner": argv[3], "address": argv[4]} if argv[3:] else {}
    embed_sources(checked_sources([Path(argv[0])]), encoder, SPEC, Path(argv[1]), size=3, workers=2, **options)
if __name__ == "__main__": run_step(main)
"""


def killed_midway(tmp_path: Path, folder: Path, out: Path, *, how: int = signal.SIGKILL, runner: tuple[str, ...] = ()):
    """Start a run in another process and end it once two shards are finished; its exit code and what it said."""
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, tmp_path / "driver.py", folder, out, tmp_path / "killed.log", *runner]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True) as driver:
        while len(list(out.glob("0*.json"))) < 2 and driver.poll() is None:
            time.sleep(0.02)
        driver.send_signal(how)
        _, said = driver.communicate(timeout=60)
    time.sleep(0.5)  # a worker that was at it may finish its shard
    return driver.returncode, said
