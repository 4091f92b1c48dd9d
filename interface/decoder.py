"""Pictures that anybody may bring, decoded in processes of their own with limits of memory and of time.

What a file does to a library in C it does to such a process: the visitor is told, another takes its place, and the server goes on.
Pixels come back through a pipe as they are, and never a pickle.

    python -m interface.decoder      what such a process runs: paths on its input, pictures on its output
"""

import contextlib
import json
import math
import os
import struct
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from queue import LifoQueue

from PIL import Image

from aad.images import MAX_SECONDS, ImageError, load_image, printable

N_PROCESSES = 2  # a large picture keeps one busy, and nobody else waits for it
MAX_MEMORY = 4 << 30  # bytes: the largest picture that is taken, as floats, needs about 1 GB beside the libraries
KEPT, KEPT_PIXELS = 4, 16_000_000  # pictures that are kept, and of what size at most: 256 MB in all
STRIPE = 32  # rows that are sent at a time
PATIENCE = 20.0  # seconds on top of `MAX_SECONDS`, which the process looks at itself: large pictures on a busy machine
ROOT = Path(__file__).resolve().parent.parent


class Decoder:
    """`load_image`, elsewhere. Safe to call from several threads.

    Processes start when they are first needed, and end with this one. A picture is shown, answered, and answered again with
    another filter: those asked for last are kept, and who asks for one that is being decoded waits for it.
    """

    def __init__(self, n: int = N_PROCESSES) -> None:
        # The last that worked is the first to work again.
        self._free: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(n):
            self._free.put(None)
        self._kept: dict[tuple[Path, tuple[int, int] | None], Future[Image.Image]] = {}
        self._keeping = threading.Lock()

    def __call__(self, source: str | os.PathLike[str] | Image.Image) -> Image.Image:
        """The picture, as `load_image` gives it, but not to be changed: others may have the same. What is decoded stays here.

        Raises:
            ImageError: Whatever `load_image` refuses, or that its process was ended by it.
        """
        if isinstance(source, Image.Image):
            return load_image(source)
        path = Path(source).absolute()
        status = path.stat() if os.path.exists(path) else None  # noqa: PTH110 (whatever the path, it raises nothing)
        key = path, status and (status.st_mtime_ns, status.st_size)
        with self._keeping:
            is_new = key not in self._kept
            kept = self._kept[key] = self._kept.pop(key, Future())  # the last asked for comes last
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        if is_new:
            try:
                kept.set_result(self._decode(path))
            except BaseException as error:
                kept.set_exception(error)
            if kept.exception() or math.prod(kept.result().size) > KEPT_PIXELS:
                with self._keeping:
                    self._kept.pop(key, None)
        return kept.result()

    def _decode(self, path: Path) -> Image.Image:
        process = self._taken()
        timer = threading.Timer(MAX_SECONDS + PATIENCE, process.kill)
        timer.start()
        try:
            assert process.stdin and process.stdout
            place = os.fsencode(path)
            process.stdin.write(struct.pack("<I", len(place)) + place)
            process.stdin.flush()
            # What Python's own start has printed goes before; at the end of the output there is nothing to read.
            told = json.loads(next((line for line in process.stdout if line.startswith(b"{")), b""))
            if "error" in told:
                raise ImageError(told["error"])
            width, height = told["size"]
            picture = Image.new("RGB", (width, height))
            for top in range(0, height, STRIPE):  # while others are on their way
                rows = min(STRIPE, height - top)
                picture.paste(Image.frombytes("RGB", (width, rows), process.stdout.read(3 * width * rows)), (0, top))
            return picture
        except ImageError:
            raise
        except (OSError, ValueError) as error:  # it has ended: what came of its answer is no JSON, or too few pixels
            end = f"ended with {_ended(process)}"
            raise ImageError(
                "an image must be a plain file that decodes within the limits of time and memory, got one whose decoder "
                f"{end} ({printable(path.name)}); save it anew as PNG or JPEG"
            ) from error
        except BaseException:  # in the middle of its answer
            process.kill()
            raise
        finally:
            timer.cancel()
            self._free.put(process)

    def start(self) -> None:
        """One process, so that the first picture does not wait for its libraries."""
        self._free.put(self._taken())

    def stop(self) -> None:
        """End what has nothing to do; a later picture starts another."""
        for _ in range(self._free.qsize()):
            if (process := self._free.get()) is not None:
                _ended(process)
            self._free.put(None)

    def _taken(self) -> subprocess.Popen[bytes]:
        process = self._free.get()
        if process is not None and process.poll() is None:
            return process
        if process is not None:
            _ended(process)
        command = [sys.executable, "-m", __name__]
        pipe = subprocess.PIPE
        try:
            # A session of its own: Ctrl-C is for the server, which answers first what it was asked.
            return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True)
        except BaseException:  # no memory, no files
            self._free.put(None)
            raise


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its status, once it is gone with its pipes."""
    process.kill()
    with contextlib.suppress(OSError), process:
        return process.wait()
    return process.wait()


decoded = Decoder()


def main() -> None:
    """Answer paths until there are no more."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; not everywhere so
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    while size := sys.stdin.buffer.read(4):
        path = os.fsdecode(sys.stdin.buffer.read(*struct.unpack("<I", size)))
        try:
            picture = load_image(path)
            answers.write(json.dumps({"size": picture.size}).encode() + b"\n")
            for top in range(0, picture.height, STRIPE):
                stripe = 0, top, picture.width, min(top + STRIPE, picture.height)
                answers.write(picture.crop(stripe).tobytes())
        except ImageError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
