"""Step 4: fit the aligned and the disentangled head without pairs, and embed the references with them.

Reads   .work/views.npz of the bundle (step 3), or with --heads-from another bundle's heads
Writes  heads.safetensors, references_aligned.npy and references_disentangled.npy

    python -m precompute.train_heads --leave-out multistyle26       # as shipped: this generator's images stay unseen
    python -m precompute.train_heads --bundle OUT --heads-from assets/bundle
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aad.artifacts import Bundle, BundleError, write_step
from aad.heads import Head, read_heads
from aad.spaces import Domain, Space
from aad.training import ALIGNED, DISENTANGLED, fit_head
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.shards import limit_threads
from precompute.common.trials import read_views


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--heads-from", type=Path, help="take the heads of this bundle instead of training")
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="GENERATOR", help="train without this family's images and views"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    features = bundle.read_array("references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    if arguments.heads_from:
        heads, settings = _taken(Bundle.open(arguments.heads_from), bundle)
    else:
        limit_threads(arguments.threads)
        heads, settings = _trained(bundle, arguments.seed, arguments.leave_out)
    write_step(
        arguments.bundle,
        "train_heads",
        {"heads.safetensors": {name: t for space, head in heads.items() for name, t in head.to_tensors(space).items()}}
        | {
            f"references_{space}.npy": head.embed(features, Domain.REAL).astype(np.float16)
            for space, head in heads.items()
        },
        command=command_line("precompute.train_heads", argv),
        settings=settings,
    )
    print(f"{len(heads)} heads, {len(features)} references embedded with each")


def _trained(bundle: Bundle, seed: int, left_out: Sequence[str]) -> tuple[dict[Space, Head], dict]:
    views = read_views(bundle, left_out)
    heads: dict[Space, Head] = {}
    settings: dict = {"seed": seed, "versions": versions("torch", "numpy"), "left_out": sorted(left_out)}
    settings |= {"n_real": len(views.real), "n_synthetic": len(views.synthetic)}
    for space, config in ((Space.ALIGNED, ALIGNED), (Space.DISENTANGLED, DISENTANGLED)):
        config = replace(config, seed=seed)
        with tqdm(total=config.n_steps, desc=space, unit="step", disable=None) as bar:
            heads[space], history = fit_head(views, config, _counter(bar))
        settings[str(space)] = {"config": asdict(config), "history": history}
    return heads, settings


def _counter(bar: tqdm) -> Callable[[int, float], object]:
    return lambda step, loss: bar.update()


def _taken(source: Bundle, bundle: Bundle) -> tuple[dict[Space, Head], dict]:
    if source.manifest["backbone"] != bundle.manifest["backbone"]:
        raise BundleError(
            f"the heads of {source.folder} belong to {source.manifest['backbone']['name']}, this bundle uses "
            f"{bundle.manifest['backbone']['name']}; train heads of its own instead of --heads-from"
        )
    heads = read_heads(source)
    del heads[Space.BACKBONE]
    return heads, {
        "heads_from": source.manifest["name"],
        "heads_sha256": source.manifest["files"]["heads.safetensors"]["sha256"],
    }


if __name__ == "__main__":
    run_step(main)
