"""All steps in order: from images to a bundle that the app opens. Safe to interrupt; a second run goes on.

The demo benchmark and its bundle, as shipped:

    python -m precompute.run

Your own pictures, with the shipped heads (add --train to fit heads on your folders; that needs --queries):

    python -m precompute.run --references FOLDER [--queries FOLDER] --bundle OUT
    python app.py --bundle OUT
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aad.artifacts import DEFAULT_BUNDLE
from precompute.common.cli import run_step, step_parser

HELD_OUT = "multistyle26"  # the demo's heads never see this generator: what the page shows is what a new generator gets


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--references", type=Path, help="your own folder of real images")
    parser.add_argument("--queries", type=Path, help="your own folder of synthetic images")
    parser.add_argument(
        "--train", action="store_true", help="fit heads on your folders instead of taking the shipped ones"
    )
    parser.add_argument(
        "--packages", type=Path, help="demo only: folder of the two Debian packages, see build_benchmark"
    )
    arguments = parser.parse_args(argv)
    if arguments.references is None and (arguments.queries or arguments.train):
        parser.error("--queries and --train go with --references")
    if arguments.train and not arguments.queries:
        parser.error("--train needs synthetic images as well: give --queries FOLDER")
    if arguments.references and arguments.bundle.resolve() == DEFAULT_BUNDLE:
        parser.error("give --bundle OUT, so that the shipped bundle is not overwritten")
    bundle = ["--bundle", str(arguments.bundle)]
    for step, options in steps(arguments.references, arguments.queries, arguments.train, arguments.packages):
        started = time.monotonic()
        print(f"== {step}", flush=True)
        command = [sys.executable, "-m", f"precompute.{step}", *options, *(bundle if step != "build_benchmark" else [])]
        code = subprocess.run(command).returncode
        if code:
            sys.exit(code)
        print(f"   {time.monotonic() - started:.0f} s", flush=True)
    print(f"done; open it with: python app.py --bundle {arguments.bundle}")


def steps(
    references: Path | None, queries: Path | None, train: bool, packages: Path | None
) -> list[tuple[str, list[str]]]:
    """The steps with their options, without ``--bundle``."""
    if references is None:
        return [
            ("build_benchmark", ["--packages", str(packages)] if packages else []),
            ("extract_features", []),
            ("extract_views", []),
            ("train_heads", ["--leave-out", HELD_OUT]),
            *((step, []) for step in ("calibrate", "project", "evaluate")),
            *((step, []) for step in ("extract_families", "leave_out", "measure_theory")),
        ]
    folders = ["--references", str(references), *(["--queries", str(queries)] if queries else [])]
    heads = (
        [("extract_views", []), ("train_heads", [])]
        if train
        else [("train_heads", ["--heads-from", str(DEFAULT_BUNDLE)])]
    )
    return [("extract_features", folders), *heads, ("calibrate", []), ("project", [])]


if __name__ == "__main__":
    run_step(main)
