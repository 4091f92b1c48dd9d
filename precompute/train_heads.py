"""Step 4: fit the aligned and the disentangled head without pairs, and embed the references with them.

Reads   .work/views.npz of the bundle (step 3), or with --heads-from another bundle's heads
Writes  heads.safetensors, references_aligned.npy and references_disentangled.npy

    python -m precompute.train_heads
    python -m precompute.train_heads --bundle OUT --heads-from assets/bundle
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aad.artifacts import Bundle, BundleError, write_step
from aad.heads import Head, read_heads
from aad.spaces import Domain, Space
from aad.training import ALIGNED, DISENTANGLED, TrainConfig, fit_head
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.shards import limit_threads


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--heads-from", type=Path, help="take the heads of this bundle instead of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    features = bundle.read_array("references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    if arguments.heads_from:
        heads, settings = _taken(Bundle.open(arguments.heads_from), bundle)
    else:
        limit_threads(arguments.threads)
        heads, settings = _trained(bundle, arguments.seed)
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
    print(f"heads of rank {', '.join(f'{len(head.basis)} ({space})' for space, head in heads.items())}")


def _trained(bundle: Bundle, seed: int) -> tuple[dict[Space, Head], dict]:
    path = bundle.folder / ".work" / "views.npz"
    if not path.exists():
        raise BundleError(
            f"{path} is missing; make it with: python -m precompute.extract_views --bundle {bundle.folder}"
        )
    with np.load(path, allow_pickle=False) as stored:
        views, is_synthetic = stored["views"].astype(np.float32), stored["is_synthetic"]
    heads: dict[Space, Head] = {}
    settings: dict = {"seed": seed, "versions": versions("torch", "numpy"), "n_real": int((~is_synthetic).sum())}
    settings["n_synthetic"] = int(is_synthetic.sum())
    for space, config in ((Space.ALIGNED, ALIGNED), (Space.DISENTANGLED, DISENTANGLED)):
        heads[space], settings[str(space)] = _fit(
            space, views, is_synthetic, replace(config, seed=seed), heads.get(Space.ALIGNED)
        )
    return heads, settings


def _fit(
    space: Space, views: np.ndarray, is_synthetic: np.ndarray, config: TrainConfig, start: Head | None
) -> tuple[Head, dict]:
    with tqdm(total=config.n_steps, desc=space, unit="step", disable=None) as bar:
        try:
            head, history = fit_head(views, is_synthetic, config, start, lambda step, loss: bar.update())
        except ValueError as error:
            raise BundleError(
                f"{error}; give more pictures, or take another bundle's heads with --heads-from"
            ) from error
    return head, {"config": asdict(config), "history": history}


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
