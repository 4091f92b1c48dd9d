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
from typing import Any

from aad.backbones import BACKBONES, ENGINES, BackboneError, engines_for, find_device
from aad.bundle import DEFAULT_BUNDLE, BundleError
from aad.hub import copy_command, hub_address, open_bundle
from aad.images import ImageError
from precompute.abc.splits import BenchmarkError

_GO_ON = "or choose another folder, and run the same command again"
_ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"; free some space, {_GO_ON}")
_ADVICE |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), f"; give yourself access to it, {_GO_ON}")


def step_parser(
    description: str | None, backbone: str | None = None, reads_only: bool = False
) -> argparse.ArgumentParser:
    """A parser with ``--bundle`` and ``--backbone`` that shows defaults in ``--help``; pass the module's docstring.

    Args:
        description: what ``--help`` shows.
        backbone: the default of a step that chooses the backbone. Without one the step reads a bundle's features, and
            parsing refuses a ``--backbone`` that the bundle was not made with.
        reads_only: the step can work on a bundle on the hub; parsing refuses one for all others, which write beside it.
    """
    parser = _StepParser(description=description, formatter_class=_Formatter)
    parser.chooses, parser.reads_only = backbone is not None, reads_only
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="bundle folder that the step completes")
    add_backbone_option(parser, backbone)
    return parser


def add_backbone_option(parser: argparse.ArgumentParser, default: str | None = "efficientnet_lite0_moments") -> None:
    """``--backbone``; without a default it is what a bundle must have been made with."""
    said = "frozen encoder; extract_features --list shows them all" if default else "refuse a bundle of another encoder"
    parser.add_argument("--backbone", default=default, choices=sorted(BACKBONES), metavar="NAME", help=said)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """``--weights``, ``--device`` and ``--engine``, for steps that run the backbone; of the last, see ``chosen_engine``."""
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of the backbone, instead of looking for them"
    )
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="cpu", help="where the backbone runs")
    chooses = getattr(parser, "chooses", True)
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, "auto"),
        default="torch" if chooses else "auto",
        help="what computes the features, kept in the manifest; auto takes openvino where it is installed, on a CPU"
        if chooses
        else "refuse a bundle made with another engine; auto takes the bundle's",
    )


def chosen_engine(arguments: argparse.Namespace) -> str:
    """The engine that ``--engine`` names; for ``auto``, the fastest that is installed for the device."""
    if arguments.engine != "auto":
        return str(arguments.engine)
    engine = engines_for(find_device(arguments.device))[-1]
    print(f"taking --engine {engine}", flush=True)
    return engine


class _StepParser(argparse.ArgumentParser):
    chooses = reads_only = False

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The arguments, after seeing that ``--backbone`` is the bundle's.

        Raises:
            BundleError: the bundle cannot be read or was made with another backbone.
        """
        arguments = super().parse_args(args, namespace)
        address = hub_address(arguments.bundle)
        if address and not self.reads_only:
            raise BundleError(
                f"this step writes into the bundle's folder, got {address}; copy it first with: {copy_command(address)}"
            )
        asked = getattr(arguments, "backbone", None)
        if asked and not self.chooses:
            stored = open_bundle(arguments.bundle).section("backbone")["name"]
            if stored != asked:
                raise BundleError(
                    f"{arguments.bundle} was made with {stored}, --backbone says {asked}: leave it out, give another --bundle, or "
                    f"make one with python -m precompute.extract_features --backbone {asked} --bundle OUT"
                )
        return arguments


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def default_bundle() -> Path:
    """The shipped bundle, relative to the working folder where that is possible, so that manifests name no machine."""
    return DEFAULT_BUNDLE.relative_to(Path.cwd()) if DEFAULT_BUNDLE.is_relative_to(Path.cwd()) else DEFAULT_BUNDLE


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
    try:
        main(sys.argv[1:] if argv is None else argv)
    except OSError as error:
        sys.exit(f"error: {error}{_ADVICE.get(error.errno or 0, '')}")
    except (BundleError, BackboneError, BenchmarkError, ImageError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
