"""The idea of the project in two terms: **alignment** pulls the views of one image together, **Infomax** spreads the embedding.

From the abstract of Liu et al., arXiv:2601.22663: contrastive self-supervision aligns, an Infomax term disentangles, and
together they approximate canonical correlation analysis (CCA) between two domains without pairs. The exact forms are our choice;
only the abstract was at hand. Why they belong together is seen in second order. Let N be the covariance of views within one image,
C that of all views. Alignment alone minimises ``tr(W N W')`` and has nothing against collapse. Infomax alone makes ``W C W'`` white
and cannot tell what an image shows from how it was rendered. Their sum, ``tr(W N W') - 2 log|det W|``, is least at
``W = N^(-1/2)``: ways of rendering an image become equally quiet, and what stays loud is what its views share. Its principal
directions are those of CCA between two views of one image (both solve ``(C - N) w = r C w``). Pairs never enter.

Both are pure functions of tensors, differentiable, in nats; ``n`` images in a batch, ``d`` dimensions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(first: "torch.Tensor", second: "torch.Tensor", temperature: float) -> "torch.Tensor":
    """Contrastive alignment: each row of ``first`` must find its own row of ``second`` among the batch, and the reverse.

    Symmetric in-batch InfoNCE on the cosine. Indistinguishable embeddings give ``log n``; a confident match tends to 0.

    Args:
        first: (n, d) embeddings of one view of n images.
        second: (n, d) embeddings of another view of the same images, in the same order.
        temperature: divisor of the cosine; smaller means that hard negatives count more.

    Returns:
        Scalar, nats.

    Raises:
        ValueError: shapes differ or fewer than two images.

    References:
        van den Oord et al., arXiv:1807.03748; the symmetric form as in CLIP, arXiv:2103.00020.
    """
    import torch
    from torch.nn import functional as F

    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"views must share one (n, d) shape with n >= 2, got {shapes}")
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature  # (n, n)
    own = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def infomax_gaussian(weight: "torch.Tensor") -> "torch.Tensor":
    """Second-order Infomax: how far a square map of white rows is from leaving them white.

    For a Gaussian of covariance C the output's entropy is ``log det(W C W') / 2`` plus a constant; maximising it while power costs
    something is minimising ``(tr(W C W') - log det(W C W') - d) / 2d``: the Kullback-Leibler divergence, per dimension, of
    N(0, W C W') from N(0, I). It is 0 exactly when the output is white. The loop trains where C is the identity.

    Args:
        weight: (d, d) map W, not singular.

    Returns:
        Scalar, nats per dimension, at least 0.

    References:
        Linsker, Computer 21(3), 1988, and Bell and Sejnowski, Neural Computation 7(6), 1995; the Gaussian form is ours.
    """
    import torch

    d, log_determinant = len(weight), 2 * torch.linalg.slogdet(weight).logabsdet
    return (weight.square().sum() - log_determinant - d) / (2 * d)
