"""Step 4: fit the aligned and the disentangled head without pairs, and embed the references with them.

Reads   .work/views.npz of the bundle, and .work/training_pictures.csv if there is one (step 3); or with --heads-from another
        bundle's heads
Writes  heads.safetensors, references_aligned.npy and references_disentangled.npy; and training_pictures.csv, the pictures of
        folders that were trained on, where there are any

    python -m precompute.train_heads --leave-out multistyle26       # as shipped: this generator's images stay unseen
    python -m precompute.train_heads --table                        # which pictures of folders the heads saw
    python -m precompute.train_heads --bundle OUT --heads-from assets/bundle
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aad.bundle import Bundle, BundleError, read_heads
from aad.hub import open_bundle
from aad.method import ALIGNED, DISENTANGLED, Head, TrainConfig, fit_head, leading_directions
from aad.scale.stored import StoredRows, map_rows
from aad.spaces import Domain, Space
from precompute.common.cli import command_line, limit_threads, run_step, step_parser, versions
from precompute.common.left_out import read_views
from precompute.common.lock import hold
from precompute.common.rows import passing, stored_chunks, write_rows
from precompute.common.steps import write_step
from precompute.pictures.folders import LISTING, count, read_listing, table

CHUNK = 65_536  # references embedded at a time: 200 MB of 768 features; a smaller gallery is one matrix product


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add = parser.add_argument
    add("--table", action="store_true", help="print the pictures of folders that the heads saw, as Markdown, and stop")
    add("--heads-from", type=Path, help="take the heads of this bundle instead of training")
    without = "train without this family's images and views"
    add("--leave-out", nargs="*", default=[], metavar="GENERATOR", help=without)
    add("--steps", type=int, default=ALIGNED.n_steps, help=f"of each head's training ({ALIGNED.n_steps})")
    add("--batch-size", type=int, default=ALIGNED.batch_size, help="images of each domain per step")
    add("--seed", type=int, default=0, help="of the training")
    add("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    arguments = parser.parse_args(argv)
    if arguments.steps < 1 or arguments.batch_size < 2:
        parser.error("--steps must be 1 or more and --batch-size 2 or more: an image is contrasted with others")
    if arguments.table:
        print(table(read_listing(Bundle.open(arguments.bundle))))
        return
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    scratch = arguments.bundle / ".work"
    stored = map_rows(bundle, "references_backbone.npy", (None, bundle.manifest["backbone"]["dim"]))
    listed: list[dict[str, str]] = []
    if arguments.heads_from:
        heads, settings = _taken(open_bundle(arguments.heads_from), bundle)
    else:
        limit_threads(arguments.threads)
        changes = {"seed": arguments.seed, "batch_size": arguments.batch_size, "n_steps": arguments.steps}
        views = read_views(bundle, arguments.leave_out)
        seen: dict[str, Any] = {"left_out": sorted(arguments.leave_out)}
        seen |= {"n_real": len(views.real), "n_synthetic": len(views.synthetic)}
        listed = [row for row in read_listing(scratch) if row["generator"] not in arguments.leave_out]
        seen |= {"folders": count(listed)} if listed else {}
        heads, settings = {}, {"seed": arguments.seed, "versions": versions("torch", "numpy")}
        leading = leading_directions(views, ALIGNED.rank)
        for space, shipped in ((Space.ALIGNED, ALIGNED), (Space.DISENTANGLED, DISENTANGLED)):
            config = replace(shipped, **changes)
            with tqdm(total=config.n_steps, desc=space, unit="step", disable=None) as bar:
                heads[space], history = fit_head(views, config, lambda *_, bar=bar: bar.update(), leading)
            settings[str(space)] = {"config": _told(config), "history": history}
        settings |= seen
    tensors = {name: t for space, head in heads.items() for name, t in head.to_tensors(space).items()}
    files = {space: scratch / f"references_{space}.npy" for space in heads}
    with passing(*files.values()):
        with tqdm(total=len(heads) * len(stored), desc="embed references", unit="reference", disable=None) as bar:
            embedded = {path.name: _embedded(heads[space], stored, path, bar) for space, path in files.items()}
        write_step(
            arguments.bundle,
            "train_heads",
            {"heads.safetensors": tensors, **embedded, **({LISTING: listed} if listed else {})},
            command=command_line("precompute.train_heads", argv),
            settings=settings,
        )
    print(f"{len(heads)} heads, {len(stored)} references embedded with each")


def _embedded(head: Head, stored: StoredRows, path: Path, bar: tqdm) -> Path:
    """A file of all references embedded with a head, some at a time."""
    parts = (head.embed(rows, Domain.REAL).astype(np.float16) for rows in stored_chunks(stored.path, CHUNK))
    return write_rows(path, (len(stored), head.n_out), parts, bar.update)


def _told(config: TrainConfig) -> dict[str, Any]:
    """The settings as bundles of format 1 name them."""
    form = "gaussian" if config.infomax_weight else "none"
    infomax = {"infomax": form, "infomax_weight": config.infomax_weight or DISENTANGLED.infomax_weight}
    return {"alignment": "info_nce", "shared": True} | asdict(config) | infomax


def _taken(source: Bundle, bundle: Bundle) -> tuple[dict[Space, Head], dict[str, Any]]:
    told, own = (b.manifest["backbone"] for b in (source, bundle))
    if any(told.get(key) != own.get(key) for key in ("name", "dim", "sha256")):
        raise BundleError(
            f"the heads of {source.folder} belong to {told['name']}, this bundle uses {own['name']}; train heads of its own "
            "instead of --heads-from"
        )
    heads = read_heads(source)
    del heads[Space.BACKBONE]
    sha256 = source.manifest["files"]["heads.safetensors"]["sha256"]
    return heads, {"heads_from": source.manifest["name"], "heads_sha256": sha256}


if __name__ == "__main__":
    run_step(main)
