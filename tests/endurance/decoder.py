"""A process that decodes what it is sent, so that a crash, a leak or an endless loop is seen from outside.

Started by `tests.endurance.images`: file names come in on lines, one line of JSON goes out for each. The memory it may
take is limited, so that a file cannot take the machine down with it.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import PIL

from aad.images import ImageError, load_image

ADDRESS_SPACE = 6_000_000_000  # far above the ceiling that is measured: what reaches it would not end by itself
TRACED = str(Path(PIL.__file__).parent) + os.sep, str(Path(load_image.__code__.co_filename).parent) + os.sep
MAX_TRACED_SECONDS = 0.3  # following every line makes Python ten times slower


def memory(field: str) -> float:
    """Megabytes: ``VmHWM`` is the peak, ``VmRSS`` what is held now."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def decode(data: bytes) -> str:
    """What came of it: ``accepted MODE WIDTHxHEIGHT``, ``refused WORDS`` or ``fault TYPE``."""
    try:
        image = load_image(data)
        pixels = np.asarray(image)
        assert image.mode == "RGB" and not image.info
        assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
        return f"accepted {image.mode} {image.width}x{image.height}"
    except ImageError as error:
        text = str(error)
        if not text.isprintable() or "; " not in text or len(text) > 400 or "object at 0x" in text:
            return f"fault words {text[:300]!r}"
        return f"refused {text}"
    except MemoryError:
        return "fault MemoryError"
    except Exception as error:  # this is what is looked for
        return f"fault {type(error).__name__}: {str(error)[:300]}"


def arcs(data: bytes) -> set[int]:
    """Steps from line to line that Pillow's Python code and ours take over this file, as numbers."""
    seen: set[int] = set()
    last: dict[int, int] = {}

    def follow(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and not frame.f_code.co_filename.startswith(TRACED):
            return None
        key = id(frame)
        seen.add(hash((frame.f_code.co_filename, last.get(key, 0), frame.f_lineno)))
        last[key] = frame.f_lineno
        if event == "return":
            last.pop(key, None)
        return follow

    sys.settrace(follow)
    try:
        decode(data)
    finally:
        sys.settrace(None)
    return seen


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    decode(b"BM" + bytes(99))  # so that what is loaded once is no part of the first file's memory
    for line in sys.stdin:
        data = Path(line.rstrip("\n")).read_bytes()
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
        before, work, start = memory("VmRSS"), time.process_time(), time.perf_counter()
        outcome = decode(data)
        seconds, work, peak = time.perf_counter() - start, time.process_time() - work, memory("VmHWM") - before
        found = sorted(arcs(data)) if seconds < MAX_TRACED_SECONDS else []
        reply = {"outcome": outcome, "seconds": seconds, "cpu_seconds": work, "megabytes": peak, "arcs": found}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
