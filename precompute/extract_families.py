"""Make and embed synthetic images of further families from validation and test exemplars; their sources are known.

Reads   references.json of the bundle and the images of its references; not the train split, and no paintings
Writes  .work/made_queries.npz in the bundle, n synthetic images:
          features (n, d) float16, family (n,), split (n,)
          exemplar_id (n,)     the reference that each was made from
          ignored_id (n,)      a reference that is neither right nor wrong, because a composite shows it too; -1 for none

Without splits every reference is used. The images themselves are not stored. Stops and goes on.

    python -m precompute.extract_families
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from aad.bundle import Bundle, BundleError
from precompute.common.cli import add_network_options, limit_threads, run_step, step_parser
from precompute.common.embedding import embed_in_shards
from precompute.common.lock import hold
from precompute.common.store import write_arrays
from precompute.pictures.drawing import Pictures, open_backbone
from precompute.pictures.families import RENDER
from precompute.pictures.plain import view_rng

MADE = ("filters", "composite", "near_copy")


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-made", type=int, default=2, help="images of each family per exemplar")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.n_made < 1:
        parser.error("--n-made must be 1 or more")
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    maker = QueryMaker(bundle, arguments.seed)
    limit_threads(arguments.threads)
    backbone = open_backbone(bundle, arguments.weights, arguments.device)
    n_made, pictures = arguments.n_made, maker.pictures
    keys, scratch = [pictures.keys[place] for place in maker.exemplars], bundle.folder / ".work"
    features = []
    for family in MADE:
        settings = ["made queries", family, n_made, arguments.seed, pictures.keys]
        rows = embed_in_shards(backbone, keys, partial(maker.made_from, family, n_made), scratch, settings, family)
        features.append(rows.reshape(-1, backbone.spec.dim))
    made = [(family, place, number) for family in MADE for place in maker.exemplars for number in range(n_made)]
    shown = [maker.other(place, number) if family == "composite" else place for family, place, number in made]
    ignored = [pictures.ids[other] if other != one[1] else -1 for one, other in zip(made, shown, strict=True)]
    write_arrays(
        scratch / "made_queries.npz",
        features=np.concatenate(features).astype(np.float16),
        family=np.array([family for family, _, _ in made], dtype=str),
        exemplar_id=np.array([pictures.ids[place] for _, place, _ in made], dtype=np.int64),
        ignored_id=np.array(ignored, dtype=np.int64),
        split=np.array([maker.splits[place] for _, place, _ in made], dtype=str),
    )
    print(f"{len(made)} images of {len(MADE)} families, made from {len(maker.exemplars)} exemplars")


class QueryMaker:
    """Makes synthetic images from exemplars; each depends on the seed, its exemplar, its family and its number only.

    Args:
        bundle: has the references.
        seed: of everything drawn.

    Raises:
        BundleError: no exemplar outside the train split.
    """

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.seed = seed
        self.pictures = Pictures(bundle, list(enumerate(bundle.read_json("references.json"))))
        self.splits = [str(entry.get("split", "")) for entry in self.pictures.entries]
        paintings = set(self.pictures.paintings())
        self.exemplars = [i for i in range(len(self.pictures)) if self.splits[i] != "train" and i not in paintings]
        if not self.exemplars:
            raise BundleError(f"{bundle.folder} has no reference outside the train split to make images from")

    def other(self, place: int, number: int) -> int:
        """Place of the picture that a composite shows too, of the same split."""
        among = [i for i in self.exemplars if self.splits[i] == self.splits[place]]
        rng = view_rng(self.seed, f"other composite|{self.pictures.names[place]}", number)
        return self.pictures.another(place, rng, among)

    def made_from(self, family: str, n_made: int, i: int) -> list[Image.Image]:
        """The first images of a family made from the i-th exemplar."""
        return [self.make(family, self.exemplars[i], number) for number in range(n_made)]

    def make(self, family: str, place: int, number: int = 0) -> Image.Image:
        """One synthetic image."""
        rng = view_rng(self.seed, f"{family}|{self.pictures.names[place]}", number)
        other = self.pictures.drawable(self.other(place, number))
        return RENDER[family](self.pictures.drawable(place), other, rng)


if __name__ == "__main__":
    run_step(main)
