"""Step 4a, for very many references: build what finds the nearest of them fast, and measure what it misses.

Reads   references_{space}.npy, heads.safetensors and queries_backbone.npy of the bundle
Writes  index_{space}.safetensors, and in the manifest the method and its recall, space by space

Up to 200,000 references are compared one by one in memory, and nothing is written. Above that each space gets a compressed index;
similarities and ranks stay exact, since what it finds is compared again with the stored rows.
Its recall@10 is measured against the exact answer on queries of the bundle, embedded as the synthetic images they are, and where
it is below --target the search looks at more, in the last step at everything. A bundle without queries is measured on references,
which are easier to find; the manifest says so.

Nothing else of the bundle is touched.

    python -m precompute.build_index --bundle BUNDLE
    python -m precompute.build_index --bundle BUNDLE --method compressed --target 0.999
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle, BundleError, read_heads
from aad.scale.building import METHODS, SECTION, STEP, build_index, index_file
from aad.scale.stored import StoredRows, map_rows
from aad.search import method_for
from aad.spaces import SPACES, Domain, Space
from precompute.common.cli import command_line, run_step, step_parser, versions
from precompute.common.lock import hold
from precompute.common.rows import passing
from precompute.common.steps import write_step

N_QUERIES = 400  # their exact answer is a scan of all references; recall is then known to a fifth of a percent


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--method", choices=METHODS, help="instead of the one that the number of references asks for")
    parser.add_argument("--target", type=float, default=0.99, help="recall@10 to reach")
    parser.add_argument("--seed", type=int, default=0, help="of the queries drawn and of the index")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.target <= 1:
        parser.error(f"--target is a share of the ten nearest, above 0 and at most 1, got {arguments.target}")
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    dim = bundle.section("backbone")["dim"]
    rows = {Space.BACKBONE: map_rows(bundle, "references_backbone.npy", (None, dim))}
    n = len(rows[Space.BACKBONE])
    command = command_line("precompute.build_index", argv)
    if arguments.method is None and method_for(n) == "exact":
        if SECTION in bundle.manifest:
            write_step(arguments.bundle, STEP, {}, command=command)
        print(f"{n:,} references are searched exactly, in memory: no index is needed, and none is kept")
        return
    rows |= {space: map_rows(bundle, f"references_{space}.npy", (n, dim)) for space in SPACES[1:]}
    queries, measured_on = _queries(bundle, rows, arguments.seed)
    paths = {space: bundle.folder / ".work" / index_file(space) for space in SPACES}
    files, settings = dict[str, Path](), dict[str, Any]()
    with passing(*paths.values()):
        for space, path in paths.items():
            choice = {"method": arguments.method, "target": arguments.target, "seed": arguments.seed}
            with tqdm(desc=f"index of {space}", unit="row", unit_scale=True, disable=None) as bar:
                arrays, found = build_index(rows[space], queries[space], progress=bar.update, **choice)
            of = bundle.manifest["files"][f"references_{space}.npy"]["sha256"]
            settings[str(space)] = {**found, "measured_on": measured_on, "references": of}
            if arrays:
                files[path.name] = _written(path, arrays)
            print(_summary(space, settings[str(space)]))
        made_with = {"versions": versions("faiss-cpu", "numpy")}
        write_step(arguments.bundle, STEP, files, command=command, sections={SECTION: settings}, settings=made_with)


def _queries(bundle: Bundle, rows: Mapping[Space, StoredRows], seed: int) -> tuple[dict[Space, np.ndarray], str]:
    """At most ``N_QUERIES`` embedded queries per space, and what they are."""
    n, dim = rows[Space.BACKBONE].shape
    features, generator = bundle.read_array("queries_backbone.npy", (None, dim)), np.random.default_rng(seed)
    if len(features):
        drawn = np.sort(generator.permutation(len(features))[:N_QUERIES])
        heads = read_heads(bundle)
        return {space: heads[space].embed(features[drawn], Domain.SYNTHETIC) for space in SPACES}, "queries"
    print("the bundle has no queries: recall is measured on references, which are easier to find than synthetic images")
    drawn = np.sort(generator.choice(n, min(n, N_QUERIES), replace=False))
    return {space: rows[space][drawn] for space in SPACES}, "references"


def _written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file of one space's index, which may be too large to be held once more as bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise BundleError(f"{path} cannot be written ({error}); free some space, or choose another folder") from error
    path.chmod(0o644)  # it comes out as nobody's but its owner's, unlike all other files of a bundle
    return path


def _summary(space: Space, settings: Mapping[str, Any]) -> str:
    measured_on = f"{settings['n_queries']} {settings['measured_on']}"
    share = f"recall@{settings['k']} {settings['recall_at_10']:.3f} on {measured_on}"
    short = "" if settings["recall_at_10"] >= settings["target"] else f", short of {settings['target']}"
    return f"{space}: {settings['method']}, {share}{short}"


if __name__ == "__main__":
    run_step(main)
