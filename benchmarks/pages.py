"""Put the figures of docs/figures into docs/scaling.md: `python -m benchmarks.pages`.

Each table stands between the line that names its command and its end, and is of the report that has the benchmark's name, or of the
one that its line names with --json.
"""

from __future__ import annotations

import importlib
import json
import re

from aad.bundle import write_atomically
from benchmarks.common import FIGURES, ROOT

PAGE = ROOT / "docs" / "scaling.md"
SHOWN = re.compile(
    r"(<!-- python -m benchmarks\.(\w+)(?:(?! --json)[^>])*(?: --json docs/figures/(\w+)\.json)? -->\n)"
    r"(.*?)(\n<!-- end of table -->)",
    re.DOTALL,
)


def filled(page: str) -> str:
    """The page with the tables that its figures make now."""

    def table(found: re.Match[str]) -> str:
        benchmark = importlib.import_module(f"benchmarks.{found[2]}")
        report = json.loads((FIGURES / f"{found[3] or found[2]}.json").read_bytes())
        return f"{found[1]}{benchmark.tables(report)}{found[5]}"

    return SHOWN.sub(table, page)


if __name__ == "__main__":
    write_atomically(PAGE, filled(PAGE.read_text(encoding="utf-8")).encode())
