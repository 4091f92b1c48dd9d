"""What all benchmarks share: the machine in words, percentiles, a Markdown table, and the report as a file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from aad.bundle import write_atomically

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "torch", "faiss-cpu", "onnxruntime", "openvino", "gradio", "ray", "qdrant-client")


def machine() -> dict[str, Any]:
    """The processor, its usable cores, the memory and the versions in use; no host names and no paths."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": installed,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = {}
    if info.exists():
        names = dict(line.split(":", 1) for line in info.read_text("utf-8").splitlines() if ":" in line)
        names = {key.strip(): value.strip() for key, value in names.items()}
    wide = " with AVX-512" if "avx512f" in names.get("flags", "").split() else ""
    return f"{names.get('model name') or platform.processor() or platform.machine()}{wide}"


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


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | Sequence[str]) -> str:
    """Rows as a Markdown table.

    Args:
        rows: one mapping per line; a missing value or None is an empty cell.
        columns: keys in order, or key -> heading.

    >>> print(table([{"n": 1000, "ms": 1.234}, {"n": 2}], {"n": "references", "ms": "ms"}))
    | references | ms |
    |---|---|
    | 1,000 | 1.23 |
    | 2 |  |
    """
    headings = columns if isinstance(columns, Mapping) else {column: column for column in columns}
    lines = ["| " + " | ".join(headings.values()) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in headings) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        size = abs(float(value))
        return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return str(value)


def rounded(value: Any) -> Any:
    """The same with every float at six significant figures, more than any timing holds.

    >>> rounded({"ms": [12.3456789, 3]})
    {'ms': [12.3457, 3]}
    """
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_report(path: Path | None, report: Mapping[str, Any]) -> None:
    """Print the report as one line of JSON and, where a path is given, keep it there too."""
    report = rounded(report)
    print(json.dumps(report))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(report, indent=1) + "\n").encode())


def finish(path: Path | None, report: Mapping[str, Any], tables: Callable[[dict[str, Any]], str]) -> None:
    """Print a report as tables, and then as `write_report` does; it says what machine it is from."""
    report = {"machine": machine(), **report}
    print(tables(report))
    write_report(path, report)


def memory_of(pid: int | str) -> dict[str, float]:
    """`VmRSS`, `RssAnon` and `VmHWM` of a process as resident, own and peak megabytes (10^6 bytes); Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {"resident_mb": "VmRSS", "own_mb": "RssAnon", "peak_mb": "VmHWM"}
    return {name: int(status[key].split()[0]) * 1024 / 1e6 for name, key in names.items()}


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the benchmark's own words, and the one option that all have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the report here")
    return parser


def run(main: Callable[[Sequence[str]], int]) -> None:
    """Run a benchmark; trouble that a user can mend is one line on stderr and exit code 1, Ctrl-C is 130."""
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
