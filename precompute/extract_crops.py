"""Embed a mirrored and two cropped copies of each bundled query, to measure what several crops of a query would give.

Reads   queries.json of the bundle and the images of its queries outside the train split
Writes  .work/query_crops.npz in the bundle: query_ids (m,) and crops (m, 3, d) float16

``precompute.compare`` has lines that use them; the app does not. Stops and goes on.

    python -m precompute.extract_crops
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from aad.bundle import Bundle
from precompute.common.cli import add_network_options, limit_threads, run_step, step_parser
from precompute.common.embedding import embed_in_shards
from precompute.common.lock import hold, lets_go
from precompute.common.store import write_arrays
from precompute.pictures.drawing import Pictures, open_backbone

SIDES = (0.85, 0.7)  # of the centre crops, as shares of the picture's sides


@lets_go
def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add_network_options(parser)
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    arguments = parser.parse_args(argv)
    hold(arguments.bundle)
    bundle = Bundle.open(arguments.bundle)
    entries = [(i, entry) for i, entry in enumerate(bundle.read_json("queries.json")) if entry.get("split") != "train"]
    pictures = Pictures(bundle, entries)
    limit_threads(arguments.threads)
    crops = embed_in_shards(
        open_backbone(bundle, arguments.weights, arguments.device, arguments.engine),
        pictures.keys,
        lambda i: crops_of(pictures.whole(i)),
        bundle.folder / ".work",
        ["crops", SIDES],
        "crops",
    )
    ids = np.array(pictures.ids, dtype=np.int64)
    write_arrays(bundle.folder / ".work" / "query_crops.npz", query_ids=ids, crops=crops.astype(np.float16))
    print(f"{len(pictures)} queries with {1 + len(SIDES)} copies each")


def crops_of(image: Image.Image) -> list[Image.Image]:
    """The picture mirrored, and its centre at each of ``SIDES``."""
    cropped = []
    for side in SIDES:
        width, height = side * image.width, side * image.height
        left, top = (image.width - width) / 2, (image.height - height) / 2
        cropped.append(image.crop((round(left), round(top), round(left + width), round(top + height))))
    return [ImageOps.mirror(image), *cropped]


if __name__ == "__main__":
    run_step(main)
