"""Step 6: fit the three UMAP maps of the references together, and measure how faithful they are.

Reads   references_{space}.npy of the bundle
Writes  coordinates.npy and, in the manifest, the share of near neighbours that each map keeps

    python -m precompute.project
    python -m precompute.project --figure assets/maps.webp     # the maps as a picture, for slides
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aad.artifacts import Bundle, write_step
from aad.projection import fit_maps, neighbour_preservation
from aad.spaces import SPACES
from precompute.common.cli import command_line, run_step, step_parser, versions


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-neighbors", type=int, default=20, help="UMAP neighbourhood")
    parser.add_argument("--seed", type=int, default=0, help="of UMAP")
    parser.add_argument("--figure", type=Path, help="draw the maps of the bundle as they are into this file, and stop")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    if arguments.figure:
        draw(bundle, arguments.figure)
        return
    embeddings = {space: bundle.read_array(f"references_{space}.npy", (None, None)) for space in SPACES}
    maps = fit_maps(embeddings, arguments.n_neighbors, arguments.seed)
    preserved = {str(space): round(neighbour_preservation(embeddings[space], maps[space]), 4) for space in SPACES}
    write_step(
        arguments.bundle,
        "project",
        {"coordinates.npy": np.stack([maps[space] for space in SPACES])},
        command=command_line("precompute.project", argv),
        sections={"neighbour_preservation": preserved},
        settings={"seed": arguments.seed, "versions": versions("umap-learn", "numba")},
    )
    print(
        "share of the 10 nearest neighbours kept:",
        ", ".join(f"{space} {share:.2f}" for space, share in preserved.items()),
    )


def draw(bundle: Bundle, path: Path) -> None:
    """The three maps side by side as a picture, references coloured by group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [reference.get("group", "") for reference in bundle.read_json("references.json")]
    maps = bundle.read_array("coordinates.npy", (len(SPACES), len(groups), 2))
    preserved = bundle.section("neighbour_preservation", "project")
    names = sorted(set(groups))
    figure, axes = pyplot.subplots(1, len(SPACES), figsize=(13, 5.2))
    for axis, space, places in zip(axes, SPACES, maps, strict=True):
        for number, name in enumerate(names):
            members = [i for i, group in enumerate(groups) if group == name]
            colour, marker = matplotlib.colormaps["tab10"](number % 10), "os^"[number // 10 % 3]
            axis.scatter(*places[members].T, s=14, color=colour, marker=marker, linewidths=0, label=name)
        axis.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"{space}: keeps {preserved[space]:.0%} of near neighbours", fontsize=11)
        axis.spines[:].set_color("#cccccc")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=7, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    run_step(main)
