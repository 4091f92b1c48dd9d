"""One command for every long check.

    python -m tests.endurance images --minutes 10 --json images.json

Each check prints its figures, writes them as JSON where ``--json`` says so, and ends with code 1 when it found a fault.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

#: modules of this folder with `DESCRIPTION`, `add_arguments(parser)` and `run(arguments)`: figures, "faults" among them
CHECKS = ("images", "server", "precompute")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    checks = parser.add_subparsers(dest="check", required=True)
    modules = {name: importlib.import_module(f"tests.endurance.{name}") for name in CHECKS}
    for name, module in modules.items():
        check = checks.add_parser(name, help=module.DESCRIPTION, description=module.__doc__)
        check.add_argument("--json", type=Path, help="where the figures go; default: only printed")
        module.add_arguments(check)
    arguments = parser.parse_args()
    if arguments.json is not None:  # now, not after hours
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    figures = modules[arguments.check].run(arguments)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if figures["faults"] else 0)


if __name__ == "__main__":
    main()
