r"""How often the sources of pictures that real generators made are found, per space and kind of picture, with intervals.

Reads   FOLDER in AbC's layout: exemplar/, synth/KIND/, json/*.json; and pictures.csv, where it is there, whose columns file and
        repository say what was published together
        the bundle: its heads, and its references, which stand in the gallery beside all exemplars of FOLDER
Writes  --out, the figures as JSON; --page, the failures with their pictures as one HTML file; what is embedded is kept in .work/ of
        the bundle, so that a run goes on, and another gallery takes seconds

A query is found at rank r when the best placed of its true sources stands at r. Each figure is a mean over repositories, weighted
by the square root of their number of pictures; `all` is the mean of the kinds; intervals are bootstrap 95 % over repositories.
A gallery that holds what the heads were trained on flatters them: --splits keeps such references out, --others adds strangers.

    python -m precompute.evaluate_pairs FOLDER
    python -m precompute.evaluate_pairs FOLDER --splits validation test --others PHOTOGRAPHS --out pairs.json --page failures.html
"""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aad.bundle import BundleError, read_heads, write_atomically
from aad.hub import open_bundle
from aad.images import ImageError, load_image
from aad.references import read_references
from aad.spaces import SPACES, Domain
from aad.vectors import l2_normalise
from precompute.common import pairs
from precompute.common.cli import add_network_options, command_line, run_step, step_parser
from precompute.common.embedding import WholePictures
from precompute.common.lock import hold
from precompute.common.store import write_table
from precompute.pictures.drawing import open_backbone

N_SHOWN = 200  # failures on the page, of all kinds together
SIDE = 160  # pixels of a picture on the page
TEMPLATE = Path(__file__).parent / "common" / "failures.html"


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures with their sources, in AbC's layout")
    add = parser.add_argument
    add("--splits", nargs="+", metavar="SPLIT", help="only the bundle's references of these; all")
    more = "more real pictures that are no source"
    add("--others", type=Path, action="append", default=[], metavar="FOLDER", help=more)
    add("--out", type=Path, metavar="FILE", help="the figures as JSON")
    add("--page", type=Path, metavar="FILE", help="the failures as one HTML file")
    add_network_options(parser)
    arguments = parser.parse_args(argv)
    queries, exemplars = pairs.read_pairs(arguments.folder)
    others = [path for folder in arguments.others for path in pairs.pictures_below(folder)]
    bundle = open_bundle(arguments.bundle)
    hold(bundle.folder)
    references = read_references(bundle, Path(os.path.realpath(bundle.folder / bundle.section("images"))))
    splits = references.words("split")
    if unknown := {*(arguments.splits or ())} - {*splits}:
        there = ", ".join(sorted(filter(None, {*splits}))) or "none"
        raise BundleError(f"{bundle.folder} has no reference of the split {min(unknown)}; its splits: {there}")
    rows = np.flatnonzero(np.isin(splits, arguments.splits)) if arguments.splits else np.arange(len(splits))
    backbone = open_backbone(bundle, arguments.weights, arguments.device)
    pictures = WholePictures(backbone, bundle.folder / ".work")
    real = pictures.embed([*exemplars, *others], "real")
    made = pictures.embed([query.file for query in queries], "synthetic")
    ranks, embeddings, sources = {}, {}, [query.sources for query in queries]
    for space, head in read_heads(bundle).items():
        stored = bundle.read_array(f"references_{space}.npy", (len(splits), None))[rows]
        gallery = np.concatenate([head.embed(real, Domain.REAL), l2_normalise(stored)])
        embeddings[str(space)] = asked, gallery = head.embed(made, Domain.SYNTHETIC), gallery
        ranks[str(space)] = pairs.search(asked, gallery, sources)
    kinds, repositories = [query.kind for query in queries], [query.repository for query in queries]
    result = {
        "command": command_line("precompute.evaluate_pairs", argv),
        "bundle": bundle.sha256,
        "n_queries": len(queries),
        "n_repositories": len(set(repositories)),
        "n_exemplars": len(exemplars),
        "n_others": len(others) + len(rows),
        **pairs.intervals(ranks, kinds, repositories),
    }
    print(table(result))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(arguments.out, result)
    if arguments.page:
        files = [*exemplars, *others, *(references[row].path for row in rows.tolist())]
        arguments.page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.page, page(queries, files, ranks, embeddings).encode())


def page(
    queries: Sequence[pairs.Pair],
    files: Sequence[Path],
    ranks: Mapping[str, np.ndarray],
    embeddings: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> str:
    """The queries whose source does not stand first in the last space, by kind and worst first, as HTML with its pictures in it.

    Args:
        queries: all m of them.
        files: the n pictures of the gallery.
        ranks: in each space, of the best placed true sources, (m,).
        embeddings: in each space, of the queries, (m, d), and of the gallery, (n, d).
    """
    import jinja2

    def case(i: int) -> dict[str, Any]:
        spaces, source = {}, 0
        for space, (asked, gallery) in embeddings.items():
            similarities = gallery @ asked[i]
            first, source = int(similarities.argmax()), max(queries[i].sources, key=similarities.__getitem__)
            spaces[space] = files[first], similarities[first], similarities[source], int(ranks[space][i])
        return {"file": queries[i].file, "source": files[source], "spaces": spaces}

    last, kinds = ranks[SPACES[-1]], sorted({query.kind for query in queries})
    parts = []
    for kind in kinds:
        own = [i for i, query in enumerate(queries) if query.kind == kind]
        failed = sorted((i for i in own if last[i] > 1), key=lambda i: -last[i])
        parts.append((kind, len(own), len(failed), [case(i) for i in failed[: N_SHOWN // len(kinds)]]))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    n = len(queries), int((last > 1).sum()), len(files)
    return template.render(n=n, parts=parts, last=SPACES[-1], picture=_thumbnail)


def _thumbnail(path: Path) -> str | None:
    """A small picture as a data address; none where a reference's picture is not here."""
    try:
        picture = load_image(path)
    except ImageError:
        return None
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer := io.BytesIO(), "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def table(result: Mapping[str, Any]) -> str:
    """What was asked of what; then in Markdown the figures of each space, and what one gains on another."""
    head = "{n_queries} queries of {n_repositories} repositories, {n_exemplars} exemplars, {n_others} other references"
    parts = (head.format_map(result), pairs.markdown(result["spaces"]), pairs.markdown(result["differences"]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    run_step(main)
