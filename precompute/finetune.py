"""An option: fine-tune the last blocks of a bundle's backbone by contrastive self-supervision, without pairs.

Reads   references.json and queries.json of the bundle and their images; trains on entries of the train split, or of no split
Writes  OUT: weights of the whole network for --weights, and how they were made; scratch goes to .work/ in the bundle

Pictures are drawn once, as in extract_views but with other seeds; what the frozen blocks make of them is kept on disk (43 kB a
picture with EfficientNet-Lite0), so a second run with other settings, or after an interrupted one, starts at once. The same options
on the same number of threads give the same bytes. The tuned backbone is measured as any other:

    python -m precompute.finetune --leave-out multistyle26 --out tuned.safetensors
    python -m precompute.extract_features --weights tuned.safetensors --bundle OUT
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import trange

from aad.bundle import Bundle, BundleError, write_atomically
from precompute.common.cli import add_network_options, command_line, limit_threads, run_step, step_parser, versions
from precompute.common.lock import hold
from precompute.experiments.tail import TERMS, FineTuneConfig, FineTuning, cut_network
from precompute.pictures.activations import Activations, generator_of
from precompute.pictures.drawing import add_drawing_options, open_backbone, training_pictures
from precompute.pictures.families import FAMILIES, see_that_networks_are_there

DEFAULTS = FineTuneConfig()


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the tuned weights, a .safetensors file")
    add("--steps", type=int, default=DEFAULTS.n_steps, help="steps of the optimiser")
    add("--batch-size", type=int, default=DEFAULTS.batch_size, help="images of each domain per step")
    add("--learning-rate", type=float, default=DEFAULTS.learning_rate, help="Adam's, at its highest")
    add_drawing_options(parser, n_views=4, n_made=1)
    without = "train without this family's images and views"
    add("--leave-out", nargs="*", default=[], metavar="GENERATOR", help=without)
    add("--seed", type=int, default=0, help="of everything drawn, and of the training")
    add_network_options(parser)
    add("--threads", type=int, help="torch threads; all cores when not given")
    arguments = parser.parse_args(argv)
    if arguments.out.suffix != ".safetensors":
        parser.error(f"--out must end in .safetensors, got {arguments.out}")
    if min(arguments.n_views, arguments.n_made) < 0 or min(arguments.steps, arguments.batch_size - 1) < 1:
        parser.error("--n-views and --n-made must be 0 or more, --steps 1 or more, --batch-size 2 or more")
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    left_out, real, queries = set(arguments.leave_out), *training_pictures(bundle)
    generators = sorted({generator_of(entry) for entry in queries.entries})
    if unknown := left_out - {*FAMILIES, *generators}:
        known = ", ".join(sorted({*FAMILIES, *generators}))
        parser.error(f"--leave-out {' '.join(sorted(unknown))}: no such family or generator; there are {known}")
    kinds, made, generators = ([x for x in dict.fromkeys(names) if x not in left_out]
                               for names in (arguments.kinds, arguments.made, generators))  # fmt: skip
    see_that_networks_are_there(*kinds, *made)
    limit_threads(arguments.threads)
    backbone = open_backbone(bundle, arguments.weights, arguments.device).in_torch()
    config = FineTuneConfig(
        n_steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    scratch = bundle.folder / ".work"
    cut = cut_network(backbone.network, config.n_blocks, backbone.spec.image_size)
    drawn = Activations(real, queries, cut, backbone.spec, scratch, arguments.seed)
    try:
        pools = (
            drawn.real_pool(kinds, arguments.n_views),
            drawn.synthetic_pool(generators, made if arguments.n_made else [], arguments.n_made),
        )
        tuning = FineTuning(cut, *pools, config)
    except ValueError as error:
        raise BundleError(f"{error}; give more images, other --kinds or --made, or leave fewer families out") from error
    with trange(config.n_steps, desc="fine-tuning", unit="step", disable=None) as bar:
        for _ in bar:
            bar.set_postfix({name: f"{value:.3f}" for name, value in tuning.step().items()})
    tenths = [tenth.mean(0) for tenth in np.array_split(np.array(tuning.losses), min(10, config.n_steps))]
    notes = {
        "command": command_line("precompute.finetune", argv),
        "backbone": backbone.spec.name,
        "base_sha256": backbone.spec.sha256,
        "config": asdict(config),
        "kinds": kinds,
        "generators": generators,
        "made": made,
        "left_out": sorted(left_out),
        "n_real": len(pools[0]),
        "n_synthetic": len(pools[1]),
        "history": [{name: round(float(v), 4) for name, v in zip(TERMS, row, strict=True)} for row in tenths],
        "versions": versions("torch", "timm", "pillow", "numpy"),
    }
    from safetensors.torch import save

    tuned = tuning.weights()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # one entry: the order of several in the file is not fixed
    write_atomically(arguments.out, save(tuned, {"fine_tuning": json.dumps(notes)}))
    of = f"{len(pools[0])} real and {len(pools[1])} synthetic images"
    print(f"{len(tuning.trained)} of {len(tuned)} tensors trained on {of}")


if __name__ == "__main__":
    run_step(main)
