"""Step 6: fit the three UMAP maps of the references together, and measure how faithful they are.

Reads   references_{space}.npy of the bundle
Writes  coordinates.npy and, in the manifest, the share of near neighbours that each map keeps

    python -m precompute.project
"""

from collections.abc import Sequence

import numpy as np

from aad.artifacts import Bundle, write_step
from aad.projection import fit_maps, neighbour_preservation
from aad.spaces import SPACES
from precompute.common.cli import command_line, run_step, step_parser, versions


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-neighbors", type=int, default=12, help="UMAP neighbourhood")
    parser.add_argument("--min-dist", type=float, default=0.25, help="UMAP spacing")
    parser.add_argument("--seed", type=int, default=0, help="of UMAP")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    embeddings = {space: bundle.read_array(f"references_{space}.npy", (None, None)) for space in SPACES}
    maps = fit_maps(embeddings, arguments.n_neighbors, arguments.min_dist, arguments.seed)
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


if __name__ == "__main__":
    run_step(main)
