"""Work for runners that other processes can import: a backbone of no weights, and jobs that die where a test wants it."""

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from aad.backbones import BACKBONES, BackboneSpec
from aad.bundle import write_atomically
from aad.vectors import l2_normalise

SPEC = replace(BACKBONES["efficientnet_lite0"], dim=12, image_size=8, sha256="feed")


@dataclass(frozen=True)
class FakeEncoder:
    """Features are the picture itself, scaled down to 2 x 2; every shard leaves a line in a log.

    Attributes:
        log: one line for each shard that was embedded: the process and the number of pictures.
        deadly: a file; once a third shard is embedded, the process that finds the file missing makes it and is killed.
        seconds: that a shard takes.
    """

    log: Path
    deadly: Path | None = None
    seconds: float = 0.0
    spec: BackboneSpec = SPEC

    def __call__(self):
        return self

    device = "cpu"

    def embed(self, images):
        return self.embed_pixels(map(self.spec.preprocess, images))

    def embed_pixels(self, pixels, progress=None):
        pixels = list(pixels)
        with self.log.open("a") as log:
            log.write(f"{os.getpid()} {len(pixels)}\n")
        time.sleep(self.seconds)
        if self.deadly is not None and len(self.embedded()) > 2:
            die_once(self.deadly)
        return l2_normalise(np.reshape(pixels, (len(pixels), 3, 2, 4, 2, 4)).mean((3, 5)).reshape(len(pixels), 12))

    def embedded(self) -> list[int]:
        """Pictures of each shard so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(line.split()[1]) for line in lines]

    def processes(self) -> set[int]:
        return {int(line.split()[0]) for line in self.log.read_text().splitlines()}


def die_once(flag: Path) -> None:
    """Be killed as by the kernel, by the one process that comes first."""
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Job:
    """Write the square of a number; ``kind`` says how it goes wrong."""

    folder: Path
    number: int
    kind: str = ""

    def __str__(self):
        return f"job {self.number}"


def square(job: Job) -> int:
    if job.kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif job.kind == "dies once":
        die_once(job.folder / f"died {job.number}")
    elif job.kind == "fails":
        raise OSError(28, "No space left on device")
    elif job.kind == "slow":
        time.sleep(0.3)
    with (job.folder / "log").open("a") as log:
        log.write(f"{job.number} {os.getpid()}\n")
    write_atomically(job.folder / f"{job.number}.txt", str(job.number**2).encode())
    return job.number


class Awkward(Exception):
    """Cannot be sent: it needs two arguments and keeps one."""

    def __init__(self, one, two):
        super().__init__(one)


def fail_awkwardly(job: Job) -> int:
    raise Awkward("one", "two")


def folder_of(folder: Path, n: int, first: int = 0) -> Path:
    """A folder of n small pictures, half of them one folder deeper."""
    for i in range(first, first + n):
        path = folder / ("deep" if i % 2 else "") / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return folder


def picture(seed: int) -> Image.Image:
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(blotches).resize((40, 32), Image.Resampling.BICUBIC)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}
