"""What heads are measured against: the features that shipped before, at two sizes, each whitened in closed form without views."""

from dataclasses import replace
from typing import Any

import numpy as np

from aad.backbones import load_backbone
from aad.method import Head
from aad.method.whitening import Leading, whitening
from aad.spaces import Domain
from aad.vectors import covariance
from precompute.common.embedding import WholePictures
from precompute.common.left_out import HELD_OUT, scratch_file
from precompute.common.unseen import Unseen

SIZES = (224, 320)  # pixels a side
SHRINKAGE = 0.9  # of 0.1 to 0.9 the best in hit@1 over all kinds, so that what is compared has no easy time


class Former:
    """Features of every picture that galleries, queries or training hold, kept in .work/ of the bundle of ``asked``."""

    def __init__(self, asked: Unseen, device: str) -> None:
        with np.load(scratch_file(asked.bundle, "views.npz", "extract_views"), allow_pickle=False) as stored:
            given = (stored["synthetic_files"] != "") & (stored["generators"] != HELD_OUT)
            self.names = {Domain.REAL: stored["real_files"], Domain.SYNTHETIC: stored["synthetic_files"][given]}
        self.asked, self.features = asked, dict[tuple[int, Domain], np.ndarray]()
        backbone, scratch = load_backbone("efficientnet_lite0", None, device), asked.bundle.folder / ".work"
        for domain, names in self.names.items():
            files = [*asked.files[domain], *map(asked.place, names.tolist())]
            for size in SIZES:
                sized, label = replace(backbone, spec=replace(backbone.spec, image_size=size)), f"{domain} at {size}"
                self.features[size, domain] = WholePictures(sized, scratch).embed(files, label)

    def embed(self, fold: int, own: np.ndarray) -> list[np.ndarray]:
        """Unit rows of a fold's gallery and of its queries ``own``: a cosine of theirs is the mean of both sizes'."""
        hidden, embedded = list(self.asked.hidden(fold)), []
        asked: dict[Domain, Any] = {Domain.REAL: self.asked.rows(fold), Domain.SYNTHETIC: own}
        for size in SIZES:
            of = {domain: self.features[size, domain] for domain in Domain}
            seen = {d: of[d][-len(names) :][~np.isin(names, hidden)] for d, names in self.names.items()}
            spread = np.mean([covariance(some) for some in seen.values()], 0)
            leading = Leading(np.eye(len(spread), dtype=np.float32), spread, np.trace(spread) / len(spread))
            maps = dict.fromkeys(Domain, whitening(leading, SHRINKAGE))
            head = Head({d: some.mean(0) for d, some in seen.items()}, maps)
            embedded.append([head.embed(of[d][asked[d]], d) for d in Domain])
        return [np.concatenate(sizes, 1) / np.sqrt(len(SIZES)) for sizes in zip(*embedded, strict=True)]
