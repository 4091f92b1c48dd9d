"""Step 6: fit the three UMAP maps of the references together, and measure how faithful they are.

Reads   references_{space}.npy of the bundle
Writes  coordinates.npy and, in the manifest, the share of near neighbours that each map keeps

Of more than 20,000 references so many are drawn and fitted, and each of the others is placed at the mean of its nearest that were;
the share of near neighbours is then measured on 2,000 of them. Where nine tenths of the references are those of an earlier map, as
.work keeps it, they stay there and only the others are placed.

    python -m precompute.project
    python -m precompute.project --figure assets/maps.webp     # the maps as a picture, for slides
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle
from aad.scale.stored import map_rows
from aad.spaces import SPACES, Space
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.lock import hold
from precompute.common.maps import N_FITTED, N_MEASURED, fitted_maps, neighbour_preservation, place_rest
from precompute.common.steps import write_step
from precompute.common.store import short_digest


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-neighbors", type=int, default=20, help="UMAP neighbourhood")
    parser.add_argument("--seed", type=int, default=0, help="of UMAP")
    parser.add_argument("--figure", type=Path, help="draw the maps of the bundle as they are into this file, and stop")
    arguments = parser.parse_args(argv)
    if arguments.figure:
        return draw(Bundle.open(arguments.bundle), arguments.figure)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    n = len(bundle.read_json("references.json"))
    names = {space: f"references_{space}.npy" for space in SPACES}
    rows: dict[Space, Any]
    fitted = measured = np.arange(n)
    if n <= N_FITTED:
        rows = {space: bundle.read_array(name, (n, None)) for space, name in names.items()}
    else:
        chosen = np.random.default_rng(arguments.seed).choice
        fitted, measured = (np.sort(chosen(n, size, replace=False)) for size in (N_FITTED, N_MEASURED))
        rows = {space: map_rows(bundle, name, (n, None)) for space, name in names.items()}
        print(f"fitting {N_FITTED:,} of {n:,} references, which takes some minutes", flush=True)
    some = {space: rows[space][fitted] for space in SPACES}
    heads, made_with = bundle.manifest["files"]["heads.safetensors"]["sha256"], versions("umap-learn", "numba")
    kept = f"maps-{short_digest([heads, made_with, arguments.n_neighbors, arguments.seed])}.npz"
    taken, maps = fitted_maps(bundle.folder / ".work" / kept, some, arguments.n_neighbors, arguments.seed)
    fitted = fitted[taken]
    for space in SPACES if len(fitted) < n else ():
        chunks = rows[space].chunks() if n > N_FITTED else iter([(0, rows[space])])
        with tqdm(total=n, desc=f"place {space}", unit="reference", disable=None) as bar:
            maps[space] = place_rest(maps[space], fitted, some[space][taken], chunks, bar.update)
    preserved = {str(space): round(neighbour_preservation(rows[space], maps[space], measured), 4) for space in SPACES}
    write_step(
        arguments.bundle,
        "project",
        {"coordinates.npy": np.stack([maps[space] for space in SPACES])},
        command=command_line("precompute.project", argv),
        sections={"neighbour_preservation": preserved},
        settings={"seed": arguments.seed, "versions": made_with}
        | ({"n_fitted": len(fitted)} if len(fitted) < n else {}),
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
