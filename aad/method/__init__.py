"""The method, to be read in this order: losses, training, head; then whitening and views.

    head, history = fit_head(Views(real, synthetic), DISENTANGLED)
    embedded = head.embed(features, "synthetic")

``losses`` has the idea in two terms, ``training`` the one loop that minimises them, ``head`` what is learnt, ``whitening`` the same
optimum without training, and ``views`` what both are given. What the settings gave is in docs/real_generators.md.
"""

from aad.method.head import Head
from aad.method.losses import info_nce, infomax_gaussian
from aad.method.training import ALIGNED, DISENTANGLED, TrainConfig, fit_head
from aad.method.views import Views
from aad.method.whitening import leading_directions, nuisance_whitening

__all__ = ["ALIGNED", "DISENTANGLED", "Head", "TrainConfig", "Views", "fit_head", "info_nce", "infomax_gaussian"]
__all__ += ["leading_directions", "nuisance_whitening"]
