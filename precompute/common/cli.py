"""One way for every step to take arguments, to report trouble and to remember its own command line."""

import argparse
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from aad.artifacts import DEFAULT_BUNDLE, BundleError
from aad.backbones import BackboneError
from aad.benchmark import BenchmarkError
from aad.images import ImageError


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--bundle`` that shows defaults in ``--help``; pass the module's docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=_Formatter)
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="bundle folder that the step completes")
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def default_bundle() -> Path:
    """The shipped bundle, relative to the working folder where that is possible, so that manifests name no machine."""
    return DEFAULT_BUNDLE.relative_to(Path.cwd()) if DEFAULT_BUNDLE.is_relative_to(Path.cwd()) else DEFAULT_BUNDLE


def command_line(module: str, argv: Sequence[str]) -> str:
    """``python -m precompute.module --option value`` as a user would type it again."""
    return shlex.join(["python", "-m", module, *argv])


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages, for the manifest."""
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def run_step(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run a step; trouble that a user can mend is one line on stderr and exit code 1, Ctrl-C is 130."""
    try:
        main(sys.argv[1:] if argv is None else argv)
    except (BundleError, BackboneError, BenchmarkError, ImageError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
