"""One command for every long check.

    python -m tests.endurance images --minutes 10 --json images.json
    python -m tests.endurance all --json docs/figures

Each check prints its figures, writes them as JSON where ``--json`` says so, and ends with code 1 when it found a fault. ``all``
runs every check as it is by default, one after the other, some hours in all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

#: check -> its module, which has `DESCRIPTION`, `add_arguments(parser)` and `run(arguments)`: figures, "faults" among them
CHECKS = {
    "images": "tests.endurance.images",
    "server": "tests.endurance.server",
    "precompute": "tests.endurance.precompute",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    checks = parser.add_subparsers(dest="check", required=True)
    modules = {name: importlib.import_module(path) for name, path in CHECKS.items()}
    for name, module in modules.items():
        check = checks.add_parser(name, help=module.DESCRIPTION, description=module.__doc__)
        check.add_argument("--json", type=Path, help="where the figures go; default: only printed")
        module.add_arguments(check)
    every = checks.add_parser("all", help="every check, one after the other, whatever one of them finds")
    every.add_argument(
        "--json", type=Path, metavar="FOLDER", help="where endurance_CHECK.json go; default: only printed"
    )
    arguments = parser.parse_args()
    if arguments.json is not None:  # now, not after hours
        (arguments.json if arguments.check == "all" else arguments.json.parent).mkdir(parents=True, exist_ok=True)
    if arguments.check == "all":
        sys.exit(run_all(arguments.json))
    figures = modules[arguments.check].run(arguments)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if figures["faults"] else 0)


def run_all(folder: Path | None) -> int:
    """Every check in a process of its own; 1 where one found a fault or broke."""
    faulty = []
    for name in CHECKS:
        print(f"== {name}", flush=True)
        kept = [] if folder is None else ["--json", str(folder / f"endurance_{name}.json")]
        if subprocess.run([sys.executable, "-m", "tests.endurance", name, *kept], check=False).returncode:
            faulty.append(name)
    print(f"== faults in: {', '.join(faulty)}" if faulty else "== no faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    main()
