"""What all benchmarks share: taking turns, percentiles, the machine in words, a Markdown table, and the report as a file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aad.bundle import write_atomically

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
T = TypeVar("T")
PACKAGES = ("numpy", "torch", "faiss-cpu", "onnxruntime", "openvino", "gradio", "ray", "qdrant-client")


def machine() -> dict[str, Any]:
    """The processor, its usable cores, the memory and the versions in use; no host names and no paths."""
    info = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    installed = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return {
        "cpu": (name[1] if name else platform.machine()) + (" with AVX-512" if " avx512f " in info else ""),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "versions": installed,
    }


def machine_line(found: Mapping[str, Any]) -> str:
    """The machine as one line under a table."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, Python {found['python']}, {versions}; "
        "shared with other work at times: trust ratios more than milliseconds"
    )


def percentiles(times: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Median and 95th percentile.

    Args:
        times: (r,) at least one, in any unit.
    """
    median, high = np.quantile(np.asarray(times, dtype=np.float64), [0.5, 0.95])
    return float(median), float(high)


def in_turns(works: Mapping[str, Callable[[], T]], n_rounds: int) -> dict[str, list[T]]:
    """What each piece of work returns, all of them in turn and round after round, so that other work disturbs all alike."""
    found: dict[str, list[T]] = {name: [] for name in works}
    for _ in range(n_rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def table(rows: Sequence[Mapping[str, Any]], columns: str) -> str:
    """Rows as a Markdown table.

    Args:
        rows: one mapping per line; a missing value or None is an empty cell.
        columns: keys in order, with spaces between; their words are the headings, of which the last may be a unit.

    >>> print(table([{"n": 1000, "build_ms": 1.234}, {"n": 2}], "n build_ms"))
    | n | build, ms |
    |---|---|
    | 1,000 | 1.23 |
    | 2 |  |
    """
    keys = columns.split()
    heads = [
        re.sub("(?<!per)_(s|ms|MB|GB)$", r", \1", re.sub("[mg]b$", lambda unit: unit[0].upper(), key)) for key in keys
    ]
    lines = ["| " + " | ".join(heads).replace("_", " ") + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        size = abs(float(value))
        return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return str(value)


def finish(path: Path | None, report: Mapping[str, Any], tables: Callable[[dict[str, Any]], str]) -> None:
    """Print a report as tables and as one line of JSON, and keep it where a path is given; it says what machine it is from."""
    whole = json.dumps({"machine": machine(), **report})
    told = json.loads(whole, parse_float=lambda text: float(f"{float(text):.6g}"))  # more than any timing holds
    print(tables(told))
    print(json.dumps(told))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(told, indent=1) + "\n").encode())


def memory_of(pid: int | str) -> dict[str, float]:
    """What a process and those it started hold now, and the most they held so far, in megabytes (10^6 bytes); Linux only."""
    total, own = dict.fromkeys(("resident_mb", "peak_mb"), 0.0), str(os.getpid() if pid == "self" else pid)
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has just ended
            status = dict(re.findall(r"(\w+):\s+(\d+)", path.read_text("utf-8")))
            if own in (status["Pid"], status["PPid"]):
                for name, key in zip(total, ("VmRSS", "VmHWM"), strict=True):
                    total[name] += int(status.get(key, 0)) * 1024 / 1e6  # one that ends holds nothing
    return total


def chromium() -> str:
    """Path of the installed Chromium, or of the one named in $CHROMIUM.

    Raises:
        FileNotFoundError: there is none.
    """
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        raise FileNotFoundError("Chromium is needed: install it, or name its path in the variable CHROMIUM")
    return found


def arguments(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """A parser with the benchmark's own words, the option that all have, and whole numbers with their defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the report here")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=f"({default:,})")
    return parser


def positive(text: str) -> int:
    """A whole number from 1, as an option gives it."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def run(main: Callable[[], int]) -> None:
    """Run a benchmark; trouble that a user can mend is one line on stderr and exit code 2, Ctrl-C is 130."""
    from httpx import HTTPError

    try:
        sys.exit(main())
    except (OSError, HTTPError) as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
