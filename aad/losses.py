"""The idea of the project in two terms: **alignment** pulls two views of one image together, **Infomax** spreads the embedding.

Notation: ``n`` images in a batch, ``d`` dimensions. Everything is a pure function of tensors, differentiable, in nats.

From the abstract of Liu et al., arXiv:2601.22663: contrastive self-supervision aligns, an Infomax term disentangles, and
together they approximate canonical correlation analysis (CCA) between two domains without pairs. Why that is plausible: CCA of
paired x and y finds maps that whiten each domain and then rotate both so that their cross-covariance is diagonal. Infomax does
the whitening, one domain at a time, and needs no pairs; the rotation is left to alignment, which starts from a backbone in which
the two domains are already roughly parallel. The exact forms below are our choice; only the abstract was at hand.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(first: "torch.Tensor", second: "torch.Tensor", temperature: float) -> "torch.Tensor":
    """Contrastive alignment: each row of ``first`` must find its own row of ``second`` among the batch, and the reverse.

    Symmetric in-batch InfoNCE on cosine similarity. Indistinguishable embeddings give ``log n``; a perfect and confident
    match tends to 0.

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
        raise ValueError(
            f"views must share one (n, d) shape with n >= 2, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature  # (n, n)
    own = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def infomax(embeddings: "torch.Tensor", shrinkage: float) -> "torch.Tensor":
    """Second-order Infomax: how far the embedding is from using all its dimensions equally and independently.

    For a Gaussian of covariance C the entropy is ``log det C / 2`` plus a constant, so maximising information under a limit on
    power means maximising the log-determinant while the trace is held. We minimise the equivalent
    ``(trace C - log det C - d) / 2d``: the Kullback-Leibler divergence, per dimension, of N(0, C) from N(0, I). It is 0 exactly
    when the centred embedding is white, and its gradient from the identity keeps a symmetric map symmetric (ZCA, not PCA),
    which is what keeps two separately whitened domains parallel.

    Args:
        embeddings: (n, d), one domain; not normalised.
        shrinkage: in [0, 1]; the share of the covariance replaced by ``trace C / d`` times the identity, so that directions
            which a small set has hardly seen are not blown up.

    Returns:
        Scalar, nats per dimension, at least 0; infinite without shrinkage when there are fewer images than dimensions.

    References:
        Bell and Sejnowski, Neural Computation 7(6), 1995, for Infomax; the Gaussian form and the shrinkage (Ledoit and Wolf,
        2004) are ours, the paper's abstract does not name its form.
    """
    import torch

    centred = embeddings - embeddings.mean(0)
    n, d = centred.shape
    power = centred.square().sum() / (n * d)  # trace C / d
    # eigenvalues of C beyond the n images are 0; the smaller of C and the Gram matrix has all the others
    small = centred.T @ centred / n if d <= n else centred @ centred.T / n
    floor = shrinkage * power
    spread = (1 - shrinkage) * small + floor * torch.eye(len(small), dtype=small.dtype, device=small.device)
    log_determinant = torch.linalg.slogdet(spread).logabsdet
    if d > n:
        log_determinant = log_determinant + (d - n) * floor.log()
    return (power * d - log_determinant - d) / (2 * d)
