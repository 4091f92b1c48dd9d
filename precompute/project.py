"""Step 6: fit the three UMAP maps of the references together, and measure how faithful they are.

Reads   references_{space}.npy of the bundle
Writes  coordinates.npy and, in the manifest, the share of near neighbours that each map keeps

Of more than 20,000 references a sample with the groups in proportion is fitted, and each of the others is placed at the mean of its
nearest that were; the share of near neighbours is then measured on 2,000 of them.

    python -m precompute.project
    python -m precompute.project --figure assets/maps.webp     # the maps as a picture, for slides
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle
from aad.search import ExactIndex
from aad.spaces import SPACES, Space
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.lock import hold, lets_go
from precompute.common.maps import N_MEASURED, fit_maps, fitted_sample, place_rest, sampled_preservation
from precompute.common.steps import write_step

N_NEAR = 10  # neighbours by which a map's faithfulness is told


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-neighbors", type=int, default=20, help="UMAP neighbourhood")
    parser.add_argument("--seed", type=int, default=0, help="of UMAP")
    parser.add_argument("--figure", type=Path, help="draw the maps of the bundle as they are into this file, and stop")
    arguments = parser.parse_args(argv)
    if not arguments.figure:
        hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    if arguments.figure:
        draw(bundle, arguments.figure)
        return
    groups = [str(reference.get("group", "")) for reference in bundle.read_json("references.json")]
    fitted = fitted_sample(groups, arguments.seed)
    if len(fitted) == len(groups):
        embeddings = {space: bundle.read_array(f"references_{space}.npy", (len(groups), None)) for space in SPACES}
        maps = fit_maps(embeddings, arguments.n_neighbors, arguments.seed)
        preserved = {str(space): round(neighbour_preservation(embeddings[space], maps[space]), 4) for space in SPACES}
    else:
        maps, preserved = _from_a_sample(bundle, fitted, len(groups), arguments.n_neighbors, arguments.seed)
    write_step(
        arguments.bundle,
        "project",
        {"coordinates.npy": np.stack([maps[space] for space in SPACES])},
        command=command_line("precompute.project", argv),
        sections={"neighbour_preservation": preserved},
        settings={"seed": arguments.seed, "versions": versions("umap-learn", "numba")}
        | ({"n_fitted": len(fitted)} if len(fitted) < len(groups) else {}),
    )
    print(
        "share of the 10 nearest neighbours kept:",
        ", ".join(f"{space} {share:.2f}" for space, share in preserved.items()),
    )


def _from_a_sample(
    bundle: Bundle, fitted: np.ndarray, n: int, n_neighbors: int, seed: int
) -> tuple[dict[Space, np.ndarray], dict[str, float]]:
    """The maps of n references of which some are fitted, and how faithful each is, measured on others."""
    stored = {space: bundle.map_rows(f"references_{space}.npy", (n, None)) for space in SPACES}
    rows = {space: stored[space][fitted] for space in SPACES}
    print(f"fitting {len(fitted):,} of {n:,} references, which takes some minutes", flush=True)
    maps = fit_maps(rows, n_neighbors, seed)
    measured = np.sort(np.random.default_rng(seed).choice(n, N_MEASURED, replace=False))
    preserved = {}
    for space in SPACES:
        with tqdm(total=n, desc=f"place {space}", unit="reference", disable=None) as bar:
            maps[space] = place_rest(maps[space], fitted, rows[space], stored[space].chunks(), bar.update)
        found = ExactIndex(stored[space]).search(stored[space][measured], N_NEAR + 1).ids
        others = np.stack([ids[ids != own][:N_NEAR] for ids, own in zip(found, measured, strict=True)])
        preserved[str(space)] = round(sampled_preservation(others, measured, maps[space]), 4)
    return maps, preserved


def neighbour_preservation(embeddings: np.ndarray, coordinates: np.ndarray, k: int = 10) -> float:
    """How faithful a map is: the share of each reference's k nearest by cosine that are among its k nearest on the map.

    1 is a perfect map, ``k / (n - 1)`` a random one; 1 by definition for a single reference.
    """
    n = len(embeddings)
    k = min(k, n - 1)
    if k == 0:
        return 1.0
    shared = 0
    for row in range(n):  # one row at a time: n x n distances would not fit for large galleries
        similarity = embeddings @ embeddings[row]
        distance = ((coordinates - coordinates[row]) ** 2).sum(1)
        similarity[row], distance[row] = -np.inf, np.inf
        near, near_on_map = np.argsort(-similarity, kind="stable")[:k], np.argsort(distance, kind="stable")[:k]
        shared += len(np.intersect1d(near, near_on_map))
    return shared / (n * k)


def draw(bundle: Bundle, path: Path) -> None:
    """The three maps side by side as a picture, references coloured by group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [reference.get("group", "") for reference in bundle.read_json("references.json")]
    maps = bundle.read_array("coordinates.npy", (len(SPACES), len(groups), 2))
    preserved = bundle.section("neighbour_preservation")
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
