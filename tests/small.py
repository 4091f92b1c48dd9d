"""Small pictures, bundles and folders of shards for the steps, a backbone of no weights, and jobs that go wrong in any process."""

import importlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import BACKBONES, BackboneSpec
from aad.bundle import write_atomically
from aad.vectors import l2_normalise
from precompute.common.embedding import embed_sources
from precompute.common.sources import checked_sources
from precompute.common.steps import write_step
from precompute.common.store import Shards

ROOT = Path(__file__).resolve().parents[1]
LITE0 = BACKBONES["efficientnet_lite0"]  # not the default: training maps thousands of columns
SPEC = replace(LITE0, dim=12, image_size=8, sha256="feed")
SPLITS = ("train",) * 4 + ("validation",) * 3 + ("test",) * 3


# --- pictures --------------------------------------------------------------------------------------------------------


def picture(seed: int, size: tuple[int, int] = (40, 32), tint: bool = False) -> Image.Image:
    """A blotchy picture that differs from seed to seed; ``tint`` makes a synthetic-looking relative of it."""
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    image = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(image, Image.new("RGB", size, (255, 120, 0)), 0.3) if tint else image


def encoded(seed: int, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture(seed, **how).save(buffer, kind)
    return buffer.getvalue()


def folder_of(folder: Path, n: int, first: int = 0) -> Path:
    """A folder of n small pictures, half of them one folder deeper."""
    for i in range(first, first + n):
        path = folder / ("deep" if i % 2 else "") / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return folder


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def python(code: str, *arguments: object, cwd: Path = ROOT, **environment: str | None) -> str:
    """What a fresh interpreter prints that finds the project; a variable that is None is not set."""
    kept = {"PYTHONPATH": str(ROOT)} | os.environ | environment
    told = {name: value for name, value in kept.items() if value is not None}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=told, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(step: str, *options: object) -> None:
    importlib.import_module(f"precompute.{step}").main([str(option) for option in options])


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


# --- a bundle to draw from -------------------------------------------------------------------------------------------


ABOUT = {"title": "T", "source": "s", "licence": "CC0"}  # of a reference: what no bundle is without


def small_bundle(folder: Path, splits: tuple[str, ...] = SPLITS, **changed: object) -> Path:
    """References r0, r1, ... and one query made from each; without splits where ``splits`` are empty texts."""
    (folder / "pictures").mkdir(parents=True)
    references, queries = [], []
    for i, split in enumerate(splits):
        told = {"split": split} if split else {}
        picture(i, (60, 48)).save(folder / "pictures" / f"r{i}.png")
        picture(50 + i, (60, 48)).save(folder / "pictures" / f"q{i}.png")
        references.append({"path": f"r{i}.png", **ABOUT, "concept": f"c{i}", "kind": "photo", **told})
        queries.append({"path": f"q{i}.png", "type": "media", "exemplar_ids": [i], **told})
        if split:
            queries[-1]["generator"] = "photometric" if i % 2 else "multistyle26"
    files = {"references.json": references, "queries.json": queries}
    rows = np.zeros((len(splits), LITE0.dim), np.float16)
    files |= {"references_backbone.npy": rows, "queries_backbone.npy": rows}
    sections = {"name": "small", "images": "../pictures", "backbone": asdict(LITE0), "examples": []}
    write_step(folder / "bundle", "extract_features", files | changed, command="test", sections=sections)
    return folder / "bundle"


def draw_small(patch: Any) -> None:
    """Views and synthetic images of 64 pixels: what they are made of, when and in which order does not hang on their size."""
    patch.setattr("precompute.pictures.plain.VIEW_SIZE", 64)
    patch.setattr("precompute.pictures.families.MADE_SIZE", 64)


class ThumbnailNetwork:
    """Stands for the backbone's network: a tiny copy of the picture as features; stops like Ctrl-C after some pictures."""

    def __init__(self, stop_after: int = 10**9, shape: tuple[int, int] = (13, 32)) -> None:  # 3 x 13 x 32 = LITE0.dim
        self.seen, self.stop_after, self.shape = 0, stop_after, shape

    def __call__(self, batch):
        import torch  # here: workers of shards have no use for it

        self.seen += len(batch)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        small = torch.nn.functional.adaptive_avg_pool2d(batch, self.shape).flatten(1)
        return small + 1.5  # off zero, so that brightness counts


# --- shards ----------------------------------------------------------------------------------------------------------


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

    def embedded(self, column: int = 1) -> list[int]:
        """Pictures of each shard so far; or, of column 0, the process that embedded it."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(line.split()[column]) for line in lines]


def embed(out: Path, *sources: Path, encoder: FakeEncoder | None = None, workers: int = 1, size: int = 3, **options):
    """Embed with shards of three images; the pictures of each shard that went through the backbone."""
    encoder = encoder or FakeEncoder(out.with_suffix(".log"))
    before, spec = len(encoder.embedded()), options.pop("spec", SPEC)
    embed_sources(checked_sources(sources), encoder, spec, out, size=size, workers=workers, **options)
    return encoder.embedded()[before:]


def rows(out: Path) -> dict[str, np.ndarray]:
    """Rows by the image's name."""
    shards = Shards.open(out)
    names = [name for table in shards.tables() for name in table["names"]]
    return dict(zip(names, np.concatenate(list(shards.rows())), strict=True))


DRIVER = """
import sys
from pathlib import Path
from typing import Any
from precompute.common.cli import run_step
from precompute.common.embedding import embed_sources
from precompute.common.sources import checked_sources
from tests.small import SPEC, FakeEncoder
def main(argv):
    encoder = FakeEncoder(Path(argv[2]), seconds=0.2)
    embed_sources(checked_sources([Path(argv[0])]), encoder, SPEC, Path(argv[1]), size=3, workers=2)
if __name__ == "__main__": run_step(main)
"""


def killed_midway(tmp_path: Path, folder: Path, out: Path, how: int):
    """Start a run in another process and end it once two shards are finished; its exit code and what it said.

    Ctrl-C reaches the driver and its workers, as from a terminal. Workers end with their driver.
    """
    log = tmp_path / "killed.log"
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, *map(str, (tmp_path / "driver.py", folder, out, log))]
    own = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "start_new_session": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **own) as driver:
        while len(list(out.glob("0*.json"))) < 2 and driver.poll() is None:
            time.sleep(0.02)
        (os.killpg if how == signal.SIGINT else os.kill)(driver.pid, how)
        _, said = driver.communicate(timeout=60)
    deadline, workers = time.monotonic() + 10, FakeEncoder(log).embedded(0)
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    return driver.returncode, said


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- jobs that go wrong ----------------------------------------------------------------------------------------------


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
