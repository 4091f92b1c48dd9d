"""One way for every step to take arguments, to report trouble and to remember its own command line."""

import argparse
import errno
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from aad.backbones import BACKBONES, ENGINES, BackboneError, engines_for, find_device
from aad.backbones.spec import TORCH
from aad.bundle import DEFAULT_BUNDLE, BundleError
from aad.images import ImageError
from precompute.abc.splits import BenchmarkError
from precompute.common.lock import let_go

_GO_ON = "or choose another folder, and run the same command again"
_ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"; free some space, {_GO_ON}")
_ADVICE |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), f"; give yourself access to it, {_GO_ON}")
BACKBONE = "efficientnet_lite0_moments"  # of the shipped bundle


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--bundle`` that shows defaults in ``--help``; pass the module's docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=_Formatter)
    own, here = DEFAULT_BUNDLE, Path.cwd()
    default = own.relative_to(here) if own.is_relative_to(here) else own  # so that manifests name no machine
    parser.add_argument("--bundle", type=Path, default=default, help="bundle folder that the step completes")
    return parser


def add_network_options(parser: argparse.ArgumentParser, chooses: bool = False) -> None:
    """``--weights`` and ``--device``, for steps that run the backbone.

    Args:
        parser: of the step.
        chooses: also ``--backbone`` and ``--engine`` (see ``chosen_engine``); other steps take what a bundle was made with.
    """
    add = parser.add_argument
    add("--weights", type=Path, metavar="FILE", help="weights of the backbone, instead of looking for them")
    add("--device", choices=("cpu", "cuda", "auto"), default="cpu", help="where the backbone runs")
    if chooses:
        said = "frozen encoder; extract_features --list shows them all"
        add("--backbone", default=BACKBONE, choices=sorted(BACKBONES), metavar="NAME", help=said)
        said = "what computes the features, kept in the manifest; auto takes openvino where it is installed, on a CPU"
        add("--engine", choices=(*ENGINES, "auto"), default=TORCH, help=said)


def chosen_engine(arguments: argparse.Namespace) -> str:
    """The engine that ``--engine`` names; for ``auto``, the fastest that is installed for the device."""
    if arguments.engine != "auto":
        return str(arguments.engine)
    engine = engines_for(find_device(arguments.device))[-1]
    print(f"taking --engine {engine}", flush=True)
    return engine


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def limit_threads(n_threads: int | None) -> None:
    """Set torch's threads; fewer leave room for other work, and the number can change the last bits of a feature."""
    import torch

    torch.set_num_threads(n_threads or os.cpu_count() or 1)


def command_line(module: str, argv: Sequence[str]) -> str:
    """``python -m precompute.module --option value`` as a user would type it again."""
    return shlex.join(["python", "-m", module, *argv])


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages, for the manifest."""
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def run_step(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run a step; trouble that a user can mend is one line on stderr and exit code 1, Ctrl-C is 130."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a console of Windows has not every sign
    try:
        main(sys.argv[1:] if argv is None else argv)
    except OSError as error:
        sys.exit(f"error: {error}{_ADVICE.get(error.errno or 0, '')}")
    except (BundleError, BackboneError, BenchmarkError, ImageError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
    finally:
        let_go()
