"""Pictures whose sources are known, in folds by repository and subject, and galleries that a fold's training did not see."""

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from aad.bundle import Bundle
from aad.files import file_sha256
from aad.method import ALIGNED, DISENTANGLED, Head, TrainConfig, Views, fit_head, leading_directions, nuisance_whitening
from aad.method.whitening import Leading, whitening
from aad.spaces import Domain
from precompute.common import pairs
from precompute.common.cli import add_network_options
from precompute.common.embedding import WholePictures
from precompute.common.left_out import HELD_OUT, read_views
from precompute.pictures.drawing import open_backbone

N_FOLDS = 5
N_OTHERS = 400  # strangers in every gallery
UNSEEN = ("validation", "test")  # splits of the bundle's references in every gallery


class Fold:
    """What one fold's lines share: the views that training may see."""

    rank = ALIGNED.rank

    def __init__(self, views: Views) -> None:
        self.views = views

    @cached_property
    def leading(self) -> Leading:
        """The leading directions, computed once."""
        return leading_directions(self.views, self.rank)

    def first(self, rank: int) -> Leading:
        """The loudest ``rank`` of them; what they leave joins the rest."""
        own, d = self.leading, self.leading.basis.shape[1]
        rank = min(rank, len(own.basis))
        variances = np.diag(own.spread)
        left = own.rest * (d - len(variances)) + variances[rank:].sum()
        return Leading(own.basis[:rank], np.diag(variances[:rank]), left / (d - rank))

    def closed(self, rank: int, shrinkage: float, cut: bool = False) -> Head:
        """Infomax alone, ``C^(-1/2)``; ``cut``: what is not mapped is dropped, not left as it is."""
        own = self.first(rank)
        weight, centre = whitening(own, shrinkage), {d: self.views.centre(d) for d in Domain}
        return Head(centre, dict.fromkeys(Domain, weight @ own.basis if cut else weight), None if cut else own.basis)

    def nuisance(self) -> Head:
        """Both terms in closed form, ``N^(-1/2)``."""
        return nuisance_whitening(self.views, DISENTANGLED.shrinkage, self.leading)

    def trained(self, config: TrainConfig) -> Head:
        """A head of these settings."""
        return fit_head(self.views, config, leading=self.leading)[0]


def add_folder_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """FOLDER, ``--others``, ``--out``, ``--table``, ``--threads`` and the network's options: for commands on ``Unseen``."""
    add = parser.add_argument
    add("folder", type=Path, nargs="?", metavar="FOLDER", help="pictures with their sources, in AbC's layout")
    half = "real pictures, half of them strangers in every gallery"
    add("--others", type=Path, action="append", default=[], metavar="FOLDER", help=half)
    add("--out", type=Path, required=True, metavar="FILE", help=out)
    add("--table", action="store_true", help="print what FILE holds as Markdown, and stop")
    add("--threads", type=int, default=1, help="torch threads; another number changes the last bits")
    add_network_options(parser)


class Unseen:
    """Pictures of a folder in folds, with galleries that hold nothing that a fold's training saw.

    Args:
        arguments: as ``add_folder_arguments`` adds them. The bundle's validation and test references are in every gallery, and
            every second picture of ``--others``, up to ``N_OTHERS``: the strangers.

    Attributes:
        bundle: the bundle.
        queries: of the folder, with the ``exemplars`` that they were made from.
        made: (m, d) features of the queries.
        strangers: how many there are.
        reference_ids: of the bundle's references that are in every gallery.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.bundle, folder, others = Bundle.open(arguments.bundle), arguments.folder, arguments.others
        backbone = open_backbone(self.bundle, arguments.weights, arguments.device)
        self.queries, self.exemplars = pairs.read_pairs(folder)
        found = [(_name(place, path), path) for place in others for path in pairs.pictures_below(place)]
        strangers = dict(found[1::2][:N_OTHERS])
        self.strangers, self._strange_names = len(strangers), set(strangers)
        pictures = WholePictures(backbone, self.bundle.folder / ".work")
        files = [one.file for one in self.queries]
        real = pictures.embed([*self.exemplars, *strangers.values()], Domain.REAL)
        self.made = pictures.embed(files, Domain.SYNTHETIC)
        entries = self.bundle.read_json("references.json")
        of_split = [entry.get("split") in UNSEEN for entry in entries]
        self.reference_ids = np.flatnonzero(of_split).tolist()
        stored = self.bundle.read_array("references_backbone.npy", (len(entries), real.shape[1]))
        self._real = np.concatenate([real, stored[self.reference_ids].astype(np.float32)])
        self._of_query, self._of_exemplar = folds(self.queries, self.exemplars)
        self._names = [_name(folder, path) for path in [*files, *self.exemplars]]

    def shown(self, fold: int) -> np.ndarray:
        """Rows of the exemplars that stand first in a fold's gallery."""
        return np.flatnonzero(self._of_exemplar == fold)

    def rows(self, fold: int) -> list[int]:
        """Which real pictures are a fold's gallery: its exemplars, the strangers, the references."""
        return [*self.shown(fold).tolist(), *range(len(self.exemplars), len(self._real))]

    def of(self, fold: int) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
        """Rows of a fold's queries; (n, d) features of its gallery; and each query's sources in it."""
        own, places = np.flatnonzero(self._of_query == fold), {row: place for place, row in enumerate(self.shown(fold))}
        return own, self._real[self.rows(fold)], [[places[row] for row in self.queries[i].sources] for i in own]

    def hidden(self, fold: int) -> set[str]:
        """What training may not see, as the views name it."""
        rows = [*np.flatnonzero(self._of_query == fold), *(len(self.queries) + self.shown(fold))]
        return {*self._strange_names, *(self._names[i] for i in rows)}

    def views(self, fold: int) -> Views:
        """The views that training may see."""
        return read_views(self.bundle, [HELD_OUT], without_files=self.hidden(fold))


def folds(queries: Sequence[pairs.Pair], exemplars: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Fold of each query and of each exemplar; what shares a repository, an exemplar, its folder or its bytes falls together.

    The sets that have the most queries are dealt out first, each to the fold that holds the fewest.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pages = {name: i for i, name in enumerate(sorted({query.repository for query in queries}))}
    groups = {folder: len(pages) + i for i, folder in enumerate(sorted({path.parent for path in exemplars}))}
    links = [(pages[query.repository], groups[exemplars[row].parent]) for query in queries for row in query.sources]
    copies: dict[str, int] = {}  # the same picture may lie in several folders
    links += [(copies.setdefault(file_sha256(path), groups[path.parent]), groups[path.parent]) for path in exemplars]
    n = len(pages) + len(groups)
    ones, (rows, columns) = np.ones(len(links)), np.array(links).T
    _, part = connected_components(coo_array((ones, (rows, columns)), (n, n)), directed=False)
    of_query = part[[pages[query.repository] for query in queries]]
    found, counts = np.unique(of_query, return_counts=True)
    fold, held = dict.fromkeys(part.tolist(), 0), np.zeros(N_FOLDS, np.int64)
    for i in np.argsort(-counts, kind="stable"):
        fold[int(found[i])] = int(held.argmin())
        held[held.argmin()] += counts[i]
    dealt = np.array([fold[int(of)] for of in part])
    return dealt[[pages[query.repository] for query in queries]], dealt[[groups[path.parent] for path in exemplars]]


def _name(folder: Path, path: Path) -> str:
    """A picture's name in the views: its path below the folder, after the folder's own name."""
    return (Path(folder.resolve().name) / path.resolve().relative_to(folder.resolve())).as_posix()
