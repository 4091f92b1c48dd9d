"""Step 3: embed augmented views of the training images, for contrastive self-supervision.

Reads   references.json and queries.json of the bundle and their images; only entries of the train split, or of no split
Writes  .work/views.npz in the bundle: views (n, v, d_feature) float16 and is_synthetic (n,); no pair and no title goes in

    python -m precompute.extract_views --n-views 8
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from aad.artifacts import Bundle, safe_paths, write_atomically
from aad.backbones import load_backbone
from aad.images import load_image
from aad.views import make_view, view_rng
from precompute.common.cli import run_step, step_parser
from precompute.common.shards import embed_in_shards, file_key, limit_threads


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--n-views", type=int, default=8, help="augmented views per image, besides the image itself")
    parser.add_argument("--seed", type=int, default=0, help="of the augmentations")
    parser.add_argument("--threads", type=int, help="torch threads; all cores when not given")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    root = (bundle.folder / bundle.section("images", "extract_features")).resolve()
    entries, is_synthetic = [], []
    for name, synthetic in (("references.json", False), ("queries.json", True)):
        chosen = [entry["path"] for entry in bundle.read_json(name) if entry.get("split", "") in ("train", "")]
        entries += chosen
        is_synthetic += [synthetic] * len(chosen)
    paths = safe_paths(root, entries)
    limit_threads(arguments.threads)

    def views_of(i: int) -> list[Image.Image]:
        image, views = load_image(paths[i]), []
        for view in range(arguments.n_views):
            rng = view_rng(arguments.seed, entries[i], view)
            views.append(make_view(image, load_image(paths[int(rng.integers(len(paths)))]), rng))
        return [image, *views]

    views = embed_in_shards(
        load_backbone(bundle.manifest["backbone"]["name"]),
        [file_key(path, name) for path, name in zip(paths, entries, strict=True)],
        views_of,
        bundle.folder / ".work",
        ["views", arguments.n_views, arguments.seed, sorted(entries)],
        "views",
    )
    buffer = io.BytesIO()
    np.savez(buffer, views=views.astype(np.float16), is_synthetic=np.array(is_synthetic, dtype=bool))
    write_atomically(bundle.folder / ".work" / "views.npz", buffer.getvalue())
    print(f"{views.shape[1]} views of {len(views)} images, {sum(is_synthetic)} of them synthetic")


if __name__ == "__main__":
    run_step(main)
