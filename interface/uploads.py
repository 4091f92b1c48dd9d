"""Where uploads lie: a folder of this server alone, with a limit of age and of size, gone when the server stops."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from interface.gradio_gaps import forget_deleted

PREFIX = "attribution-uploads-"
MAX_AGE = 82_800.0  # seconds: within a day, with the hour that a pass may come late
MAX_BYTES = 2_000_000_000  # of all uploads together; past it the oldest go, however young
UNFINISHED = 600.0  # seconds: no upload takes so long, see `interface.guard.MAX_ARRIVAL`
ABANDONED = 2 * 86_400.0  # seconds: a server touches its folder at every pass, so no server has this one
PAUSE = 10.0  # seconds between two passes


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder that only this user can read, for everything that gradio writes; before the page is built.

    Within ``GRADIO_TEMP_DIR`` where that is set. What a server left behind that was killed is removed here, days later.

    Raises:
        OSError: There cannot be one.
    """
    wish = os.environ.get("GRADIO_TEMP_DIR")
    parent = Path(wish or tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    except OSError as error:
        text = f"uploads need a folder that can be written, got {parent} ({error.strerror}); set GRADIO_TEMP_DIR to another"
        raise OSError(text) from None
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("GRADIO_TEMP_DIR") if wish is None else os.environ.update(GRADIO_TEMP_DIR=wish)


def sweep(folder: Path, *, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES) -> int:
    """Delete what is too old, what was never finished, and the oldest of what is too much; returns how many files went.

    Args:
        folder: Everything in it is an upload, an answer made of uploads, or a part of one still on its way.
        max_age: Seconds since a file came.
        max_bytes: Of all files together.
    """
    now, gone = time.time(), 0
    files = []
    for path in folder.rglob("*"):
        try:
            about = path.lstat()
        except FileNotFoundError:
            continue
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # there is something in it
                if now - about.st_mtime > UNFINISHED:  # a young one may be about to get its file
                    path.rmdir()
            continue
        files.append((about.st_ctime, about.st_size, path))
    total = sum(size for _, size, _ in files)
    for came, size, path in sorted(files):
        limit = min(max_age, UNFINISHED) if path.parent == folder else max_age
        if now - came > limit or total > max_bytes:
            path.unlink(missing_ok=True)
            total, gone = total - size, gone + 1
    os.utime(folder)
    return gone


def keep_swept(demo: Any, folder: Path, stopped: threading.Event) -> None:
    """A pass after each pause until the server stops; what gradio remembers of deleted files is deleted, too."""

    def work() -> None:
        while not stopped.wait(PAUSE):
            try:
                if sweep(folder):
                    forget_deleted(demo)
            except OSError as error:  # a full or broken disk today is no reason to let it fill up tomorrow
                print(f"uploads could not be deleted: {error}")

    threading.Thread(target=work, name="uploads", daemon=True).start()
