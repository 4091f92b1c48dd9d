"""All steps in order: from images to a bundle that the app opens. Safe to interrupt; a second run goes on.

The demo benchmark and its bundle, as shipped:

    python -m precompute.run [--photographs FOLDER ...] [--generated FOLDER ...]

The two options name folders of any real and any generated pictures, unpaired, to train the heads on as well.

Your own pictures, with the shipped heads (add --train to fit heads on your folders; that needs --queries or --generated):

    python -m precompute.run --references FOLDER [--queries FOLDER] --bundle OUT
    python -m precompute.run --references FOLDER --train --photographs FOLDER --generated FOLDER --bundle OUT
    python app.py --bundle OUT

With another backbone, or other weights; the shipped heads do not fit those, so your folders need --train:

    python -m precompute.run --backbone dino_vitb16 --device auto --bundle OUT
    python -m precompute.run --references FOLDER --queries FOLDER --train --backbone dino_vitb16 --bundle OUT

--engine auto takes OpenVINO on a CPU where it is installed (requirements-fast.txt), with the same features; so does the page then.
"""

import importlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aad.backbones.spec import TORCH
from aad.bundle import DEFAULT_BUNDLE
from aad.search import method_for
from precompute.common.cli import BACKBONE, add_network_options, chosen_engine, run_step, step_parser
from precompute.common.left_out import HELD_OUT
from precompute.common.lock import hold
from precompute.pictures.folders import OPTIONS, add_folder_options, given_folders

# with folders one view of a kind, for there are six times as many pictures; none of the generator that is held out
SHIPPED_VIEWS = ("--n-views", "1", "--n-made", "1", "--kinds", "plain", "filters", "arbitrary_style")
RUN_THE_BACKBONE = ("extract_features", "extract_views", "extract_families")


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add_network_options(parser, chooses=True)
    add_folder_options(parser)
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
    if arguments.train and not (arguments.queries or arguments.generated):
        parser.error("--train needs synthetic images as well: give --queries FOLDER or --generated FOLDER")
    given = [(f"--{OPTIONS[domain]}", *map(str, paths)) for domain, paths in given_folders(arguments).items() if paths]
    folders = [text for words in given for text in words]
    if folders and arguments.references and not arguments.train:
        parser.error("--photographs and --generated are for training heads: add --train")
    engine = chosen_engine(arguments)
    other = arguments.backbone != BACKBONE or arguments.weights is not None or engine != TORCH
    if (arguments.references or other) and arguments.bundle.resolve() == DEFAULT_BUNDLE:
        parser.error("give --bundle OUT, so that the shipped bundle is not overwritten")
    strange = arguments.backbone != BACKBONE or arguments.weights is not None
    if arguments.references and strange and not arguments.train:
        parser.error(f"the shipped heads fit {BACKBONE} with its own weights only: add --train and --queries FOLDER")
    hold(arguments.bundle, new=True)
    everywhere = ["--bundle", str(arguments.bundle)]
    running = ["--weights", str(arguments.weights)] if arguments.weights else []
    running += ["--device", arguments.device] if arguments.device != "cpu" else []
    chosen = ["--backbone", arguments.backbone] if arguments.backbone != BACKBONE else []
    chosen += ["--engine", engine] if engine != TORCH else []
    for step, options in steps(arguments.references, arguments.queries, arguments.train, arguments.packages, folders):
        if step == "build_benchmark":
            if not other or arguments.packages:  # what ships with the project is there, and the same for every backbone
                _run(step, options)
            continue
        options += [*everywhere, *(running if step in RUN_THE_BACKBONE else [])]
        _run(step, [*options, *(chosen if step == "extract_features" else [])])
        if step == "train_heads" and arguments.references and _is_large(arguments.bundle):
            _run("build_index", everywhere)
    print(f"done; open it with: python app.py --bundle {arguments.bundle}")
    if arguments.weights:
        print(f"the page looks for its weights in the folder $AAD_WEIGHTS, also as {arguments.backbone}.safetensors")


def _run(step: str, options: Sequence[str]) -> None:
    """A step, in this process; a setting of torch's that it leaves goes back to what it was."""
    import torch

    started, n_threads = time.monotonic(), torch.get_num_threads()
    print(f"== {step}", flush=True)
    try:
        importlib.import_module(f"precompute.{step}").main(options)
    finally:
        torch.set_num_threads(n_threads)
    print(f"   {time.monotonic() - started:.0f} s", flush=True)


def _is_large(bundle: Path) -> bool:
    """Whether the references are too many to compare them one by one in memory."""
    return method_for(len(np.load(bundle / "references_backbone.npy", mmap_mode="r", allow_pickle=False))) != "exact"


def steps(
    references: Path | None, queries: Path | None, train: bool, packages: Path | None, folders: Sequence[str] = ()
) -> list[tuple[str, list[str]]]:
    """The steps with their options, without those that say which bundle and which backbone; ``folders`` are options to train on."""
    if references is None:
        return [
            ("build_benchmark", ["--packages", str(packages)] if packages else []),
            ("extract_features", []),
            ("extract_views", [*(SHIPPED_VIEWS if folders else ()), *folders]),
            ("train_heads", ["--leave-out", HELD_OUT]),
            *((step, []) for step in ("calibrate", "project", "evaluate")),
            *((step, []) for step in ("extract_families", "leave_out", "measure_theory")),
        ]
    own = ["--references", str(references), *(["--queries", str(queries)] if queries else [])]
    heads = [("train_heads", ["--heads-from", str(DEFAULT_BUNDLE)])]
    if train:
        heads = [("extract_views", [*folders]), ("train_heads", [])]
    return [("extract_features", own), *heads, ("calibrate", []), ("project", [])]


if __name__ == "__main__":
    run_step(main)
