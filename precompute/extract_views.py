"""Step 3: embed views of the training images, and synthetic images made from them, for contrastive self-supervision.

Reads   references.json and queries.json of the bundle and their images; only entries of the train split, or of no split
Writes  .work/views.npz in the bundle, float16 features of n_r real and n_s synthetic images:
          real (n_r, v_r, d), real_kinds (v_r,)                       "whole", then the kind of each view
          synthetic (n_s, v_s, d), synthetic_kinds (v_s,)             "whole", then "plain"
          generators (n_s,), synthetic_sources (n_s,)                 row in real that each was made from, -1 for none; for
                                                                      baselines that need pairs: training never reads it

A view of a real image is re-framed and relit (kind plain), and then restyled (the other kinds). Synthetic images are the bundle's
queries and images made from each real one (--made); their views are plain. arbitrary_style and multistyle26 need
requirements-dev.txt. Stops and goes on: what is on disk is not computed again.

    python -m precompute.extract_views
    python -m precompute.extract_views --kinds plain filters --made filters composite photometric    # without style networks
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import Backbone
from aad.bundle import Bundle
from precompute.common.cli import add_network_options, limit_threads, run_step, step_parser
from precompute.common.embedding import embed_in_shards
from precompute.common.lock import hold, lets_go
from precompute.common.store import write_arrays
from precompute.pictures.drawing import (
    N_SYNTHETIC_VIEWS,
    Drawing,
    Pictures,
    add_drawing_options,
    open_backbone,
    training_pictures,
)
from precompute.pictures.families import see_that_networks_are_there


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add_drawing_options(parser, n_views=12, n_made=2)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    if min(arguments.n_views, arguments.n_made) < 0:
        parser.error("--n-views and --n-made must be 0 or more")
    kinds, made = list(dict.fromkeys(arguments.kinds)), list(dict.fromkeys(arguments.made))
    see_that_networks_are_there(*kinds, *made)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    real, queries = training_pictures(bundle)
    limit_threads(arguments.threads)
    backbone = open_backbone(bundle, arguments.weights, arguments.device, arguments.engine)
    drawing = Embedding(real, queries, backbone, bundle.folder / ".work", arguments.seed)
    stored: dict[str, Any] = drawing.real_views(kinds, arguments.n_views)
    stored |= drawing.synthetic_images(made, arguments.n_made)
    write_arrays(bundle.folder / ".work" / "views.npz", **stored)
    for domain in ("real", "synthetic"):
        print(f"{len(stored[domain])} {domain} images with {stored[domain].shape[1] - 1} views each")


class Embedding(Drawing):
    """Draws and embeds everything; each picture depends on the seed, its image and its number, so that order does not matter.

    Args:
        real: training images; also surroundings, backdrops and styles.
        queries: the bundle's own synthetic training images.
        backbone: embeds what is drawn.
        scratch: folder for shards.
        seed: of everything drawn.
    """

    def __init__(self, real: Pictures, queries: Pictures, backbone: Backbone, scratch: Path, seed: int) -> None:
        super().__init__(real, queries, seed)
        self.backbone, self.scratch = backbone, scratch

    def real_views(self, kinds: Sequence[str], n_views: int) -> dict[str, np.ndarray]:
        """``real`` and ``real_kinds``."""
        parts = [self._embed(self.real, lambda i: [self.real.whole(i)], "whole", "real images")]
        if n_views:
            parts += [
                self._embed(self.real, partial(self.views, kind, n_views), ["views", kind, n_views], f"{kind} views")
                for kind in kinds
            ]
        names = ["whole", *(kind for kind in kinds for _ in range(n_views))]
        return {"real": np.concatenate(parts, axis=1).astype(np.float16), "real_kinds": np.array(names)}

    def synthetic_images(self, families: Sequence[str], n_made: int) -> dict[str, np.ndarray]:
        """``synthetic``, ``synthetic_kinds``, ``generators`` and ``synthetic_sources``; queries first, then by family."""
        rows = {exemplar: row for row, exemplar in enumerate(self.real.ids)}
        sources = [rows.get(next(iter(entry.get("exemplar_ids", [])), -1), -1) for entry in self.queries.entries]
        generators = [str(entry.get("generator", "unknown")) for entry in self.queries.entries]
        parts = [self._embed(self.queries, self.query, ["query", N_SYNTHETIC_VIEWS], "synthetic images")]
        for family in families if n_made else ():
            settings = ["made", family, n_made, N_SYNTHETIC_VIEWS]
            parts.append(self._embed(self.real, partial(self._made, family, n_made), settings, f"made: {family}"))
            generators += [family] * (n_made * len(self.real))
            sources += [row for row in range(len(self.real)) for _ in range(n_made)]
        shape = (1 + N_SYNTHETIC_VIEWS, self.backbone.spec.dim)
        groups = [np.zeros((0, *shape)), *(part.reshape(-1, *shape) for part in parts if len(part))]
        return {
            "synthetic": np.concatenate(groups).astype(np.float16),
            "synthetic_kinds": np.array(["whole"] + ["plain"] * N_SYNTHETIC_VIEWS),
            "generators": np.array(generators, dtype=str),
            "synthetic_sources": np.array(sources, dtype=np.int64),
        }

    def _embed(
        self, pictures: Pictures, draw: Callable[[int], list[Image.Image]], settings: object, label: str
    ) -> np.ndarray:
        pool = [self.seed, self.real.keys]  # every picture may show any other
        return embed_in_shards(self.backbone, pictures.keys, draw, self.scratch, [settings, pool], label)

    def _made(self, family: str, n_made: int, i: int) -> list[Image.Image]:
        return [picture for number in range(n_made) for picture in self.made(family, i, number)]


if __name__ == "__main__":
    run_step(main)
