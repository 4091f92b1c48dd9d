"""Step 3: embed views of the training images, and synthetic images made from them, for contrastive self-supervision.

Reads   references.json and queries.json of the bundle and their images, only entries of the train split, or of no split; and any
        folders of real (--photographs) and generated (--generated) pictures, see precompute/pictures/folders.py for which
Writes  .work/views.npz in the bundle, float16 features of n_r real and n_s synthetic images, the bundle's own first:
          real (n_r, v_r, d), real_kinds (v_r,)                       "whole", then the kind of each view
          synthetic (n_s, v_s, d), synthetic_kinds (v_s,)             "whole", then "plain"
          generators (n_s,), synthetic_sources (n_s,)                 row in real that each was made from, -1 for none; for
                                                                      baselines that need pairs: training never reads it
          real_files, synthetic_files                                 path of each, "" for what was made
        .work/training_pictures.csv, a row for each picture of the folders, if there are any

A view of a real image is re-framed and relit (kind plain), and then restyled (the other kinds). Synthetic images are the bundle's
queries, images made from each of its real ones (--made), and the generated pictures; their views are plain. What a view shows
besides its image, surroundings and styles, is of the bundle's own training images. arbitrary_style and multistyle26 need
requirements-dev.txt. Stops and goes on: what is on disk is not computed again, also with other folders.

    python -m precompute.extract_views
    python -m precompute.extract_views --kinds plain filters --made filters composite photometric    # without style networks
    python -m precompute.extract_views --photographs FOLDER ANOTHER --generated ANOTHER THIRD
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.backbones import Backbone
from aad.bundle import Bundle
from aad.spaces import Domain
from precompute.common.cli import add_network_options, limit_threads, run_step, step_parser
from precompute.common.embedding import embed_in_shards
from precompute.common.lock import hold
from precompute.common.store import write_arrays
from precompute.pictures.drawing import Pictures, open_backbone, training_pictures
from precompute.pictures.families import FAMILIES, KINDS, RENDER, RESTYLE, see_that_networks_are_there
from precompute.pictures.folders import add_folder_options, given_folders, training_folders, write_listing
from precompute.pictures.plain import make_view, view_rng

N_SYNTHETIC_VIEWS = 2  # plain ones of each synthetic image, besides the image itself


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add, made = parser.add_argument, ["arbitrary_style", "filters", "composite", "photometric"]
    add("--n-views", type=int, default=12, help="views of each kind per real image")
    add("--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="kinds of view of a real image")
    add("--n-made", type=int, default=2, help="synthetic images of each family per real image")
    families = "families of synthetic images to make; multistyle26 is among AbC-mini's own"
    add("--made", nargs="*", choices=FAMILIES, default=made, help=families)
    add_folder_options(parser)
    add("--seed", type=int, default=0, help="of everything drawn")
    add("--threads", type=int, help="torch threads; all cores when not given")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    if min(arguments.n_views, arguments.n_made) < 0:
        parser.error("--n-views and --n-made must be 0 or more")
    kinds, made = list(dict.fromkeys(arguments.kinds)), list(dict.fromkeys(arguments.made))
    see_that_networks_are_there(*kinds, *made)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    real, queries = training_pictures(bundle)
    folders = training_folders(bundle, given_folders(arguments))
    limit_threads(arguments.threads)
    backbone = open_backbone(bundle, arguments.weights, arguments.device)
    scratch = bundle.folder / ".work"
    drawing = Drawing(real, queries, folders, backbone, scratch, arguments.seed)
    stored: dict[str, Any] = drawing.real_views(kinds, arguments.n_views)
    stored |= drawing.synthetic_images(made, arguments.n_made)
    (scratch / "views.npz").unlink(missing_ok=True)  # first: the list must never be that of other views
    write_listing(scratch, folders)
    write_arrays(scratch / "views.npz", **stored)
    for domain in ("real", "synthetic"):
        print(f"{len(stored[domain])} {domain} images with {stored[domain].shape[1] - 1} views each")


@dataclass(frozen=True)
class Drawing:
    """Draws and embeds everything; each picture depends on the seed, its image and its number, so that order does not matter.

    Attributes:
        real: training images; also surroundings, backdrops and styles.
        queries: the bundle's own synthetic training images.
        folders: further pictures of each domain.
        backbone: embeds what is drawn.
        scratch: folder for shards.
        seed: of everything drawn.
    """

    real: Pictures
    queries: Pictures
    folders: Mapping[Domain, Sequence[Pictures]]
    backbone: Backbone
    scratch: Path
    seed: int

    def real_views(self, kinds: Sequence[str], n_views: int) -> dict[str, np.ndarray]:
        """``real``, ``real_kinds`` and ``real_files``."""
        folders, parts = self.folders[Domain.REAL], []
        for pictures in (self.real, *folders):
            views = [self._embed(pictures, partial(self.whole, pictures), "whole", "real images")]
            for kind in kinds if n_views else ():
                draw = partial(self.views, pictures, kind, n_views)
                views.append(self._embed(pictures, draw, ["views", kind, n_views], f"{kind} views"))
            parts.append(np.concatenate(views, 1))
        names = np.array(["whole", *(kind for kind in kinds for _ in range(n_views))])
        return {"real": np.concatenate(parts), "real_kinds": names, "real_files": _files(self.real.names, folders)}

    def synthetic_images(self, families: Sequence[str], n_made: int) -> dict[str, np.ndarray]:
        """``synthetic``, what is told of it, and ``synthetic_sources``; queries first, then by family, then by folder."""
        folders, families = self.folders[Domain.SYNTHETIC], families if n_made else ()
        places = {exemplar: row for row, exemplar in enumerate(self.real.ids)}
        sources = [places.get(next(iter(entry.get("exemplar_ids", [])), -1), -1) for entry in self.queries.entries]
        sources += [row for row in range(len(self.real)) for _ in range(n_made)] * len(families)
        made = [family for family in families for _ in range(n_made * len(self.real))]
        own, others = ([str(entry.get("generator", "unknown")) for some in group for entry in some.entries]
                       for group in ([self.queries], folders))  # fmt: skip
        shape = -1, 1 + N_SYNTHETIC_VIEWS, self.backbone.spec.dim
        rows = [part.reshape(shape) for part in self._synthetic_parts(families, n_made)]
        return {
            "synthetic": np.concatenate(rows),
            "synthetic_kinds": np.array(["whole"] + ["plain"] * N_SYNTHETIC_VIEWS),
            "generators": np.array([*own, *made, *others], dtype=str),
            "synthetic_sources": np.array([*sources, *(-1 for _ in others)], dtype=np.int64),
            "synthetic_files": _files([*self.queries.names, *("" for _ in made)], folders),
        }

    def _synthetic_parts(self, families: Sequence[str], n_made: int) -> Iterator[np.ndarray]:
        given = ["query", N_SYNTHETIC_VIEWS]
        yield self._embed(self.queries, partial(self.synthetic, self.queries), given, "synthetic images")
        for family in families:
            settings = ["made", family, n_made, N_SYNTHETIC_VIEWS]
            yield self._embed(self.real, partial(self._made, family, n_made), settings, f"made: {family}")
        for pictures in self.folders[Domain.SYNTHETIC]:
            yield self._embed(pictures, partial(self.synthetic, pictures), given, "synthetic images")

    def _embed(
        self, pictures: Pictures, draw: Callable[[int], list[Image.Image]], settings: object, label: str
    ) -> np.ndarray:
        pool = [self.seed, self.real.keys]  # every picture may show any of these
        label = " ".join([label, *(f"of {entry['folder']}" for entry in pictures.entries[:1] if "folder" in entry)])
        rows = embed_in_shards(self.backbone, pictures.keys, draw, self.scratch, [settings, pool], label)
        return rows.astype(np.float16)

    def views(self, pictures: Pictures, kind: str, n_views: int, i: int) -> list[Image.Image]:
        """The first views of one kind of the i-th of some real images."""
        own, drawn = i if pictures is self.real else None, []
        for number in range(n_views):
            rng = view_rng(self.seed, f"{kind}|{pictures.names[i]}", number)
            view = self._plain(pictures.drawable(i), own, rng)
            if kind in RESTYLE:
                view = RESTYLE[kind](view, self.real.drawable(self.real.another(own, rng)), rng)
            drawn.append(view)
        return drawn

    def whole(self, pictures: Pictures, i: int) -> list[Image.Image]:
        """The i-th of some images, as it is."""
        return [pictures.whole(i)]

    def synthetic(self, pictures: Pictures, i: int) -> list[Image.Image]:
        """The i-th of some synthetic images, and plain views of it."""
        image, rng = pictures.whole(i), view_rng(self.seed, pictures.names[i], 0)
        return [image, *(self._plain(image, None, rng) for _ in range(N_SYNTHETIC_VIEWS))]

    def _made(self, family: str, n_made: int, i: int) -> list[Image.Image]:
        return [picture for number in range(n_made) for picture in self.made(family, i, number)]

    def made(self, family: str, i: int, number: int) -> list[Image.Image]:
        """One synthetic image of a family made from the i-th real image, and plain views of it."""
        rng = view_rng(self.seed, f"made {family}|{self.real.names[i]}", number)
        # as in AbC-mini, a synthetic image takes its style from a painting
        among = self.real.paintings() or None if family == "arbitrary_style" else None
        other = self.real.drawable(self.real.another(i, rng, among))
        image = RENDER[family](self.real.drawable(i), other, rng)
        return [image, *(self._plain(image, i, rng) for _ in range(N_SYNTHETIC_VIEWS))]

    def _plain(self, image: Image.Image, i: int | None, rng: np.random.Generator) -> Image.Image:
        return make_view(image, self.real.drawable(self.real.another(i, rng)), rng)


def _files(own: Sequence[str], folders: Sequence[Pictures]) -> np.ndarray:
    """File of each image of a domain."""
    return np.array([*own, *(name for pictures in folders for name in pictures.names)], str)


if __name__ == "__main__":
    run_step(main)
