"""The idea of the project in two terms: **alignment** pulls the views of one image together, **Infomax** spreads the embedding.

Notation: ``n`` images in a batch, ``d`` dimensions. Everything is a pure function of tensors, differentiable, in nats.

From the abstract of Liu et al., arXiv:2601.22663: contrastive self-supervision aligns, an Infomax term disentangles, and
together they approximate canonical correlation analysis (CCA) between two domains without pairs. The exact forms are our choice;
only the abstract was at hand. Why they belong together is seen in second order. Let N be the covariance of views within one image,
C that of all views. Alignment alone minimises ``tr(W N W')`` and has nothing against collapse. Infomax alone makes ``W C W'`` white
and cannot tell what an image shows from how it was rendered. Their sum, ``tr(W N W') - 2 log|det W|``, is least at
``W = N^(-1/2)``: ways of rendering an image become equally quiet, and what stays loud is what its views share. Its principal
directions are those of CCA between two views of one image (both solve ``(C - N) w = r C w``). Pairs never enter.

Alignment comes in three forms (in-batch, with a queue, self-distillation), Infomax in two (Gaussian, Bell and Sejnowski).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(
    first: "torch.Tensor", second: "torch.Tensor", temperature: float, queue: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """Contrastive alignment: each row of ``first`` must find its own row of ``second`` among the batch, and the reverse.

    Symmetric in-batch InfoNCE on cosine similarity. Indistinguishable embeddings give ``log n``; a perfect and confident
    match tends to 0. With a queue it is MoCo's form: one direction only, and the negatives are the queue, not the batch.

    Args:
        first: (n, d) embeddings of one view of n images.
        second: (n, d) embeddings of another view of the same images, in the same order; with a queue, the momentum encoder's.
        temperature: divisor of the cosine; smaller means that hard negatives count more.
        queue: (m, d) earlier embeddings of other images, or None.

    Returns:
        Scalar, nats.

    Raises:
        ValueError: shapes differ or fewer than two images.

    References:
        van den Oord et al., arXiv:1807.03748; the symmetric form as in CLIP, arXiv:2103.00020; the queue as in MoCo,
        He et al., arXiv:1911.05722.
    """
    import torch
    from torch.nn import functional as F

    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise ValueError(
            f"views must share one (n, d) shape with n >= 2, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    if queue is None:
        logits = first @ second.T / temperature  # (n, n)
        own = torch.arange(len(first), device=first.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    positive = (first * second).sum(1, keepdim=True)
    logits = torch.cat([positive, first @ F.normalize(queue, dim=1).T], dim=1) / temperature  # (n, 1 + m)
    return F.cross_entropy(logits, torch.zeros(len(first), dtype=torch.long, device=first.device))


def self_distillation(
    student: "torch.Tensor",
    teacher: "torch.Tensor",
    centre: "torch.Tensor",
    student_temperature: float,
    teacher_temperature: float,
) -> "torch.Tensor":
    """DINO's alignment: the student must predict, from one view, how the teacher spreads another view over prototypes.

    Args:
        student: (n, p) scores of one view against p prototypes.
        teacher: (n, p) scores of another view of the same images, from the momentum encoder; no gradient flows into them.
        centre: (p,) running mean of the teacher's scores, taken away so that no prototype wins always.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's; smaller, so that its answer is sharp.

    Returns:
        Scalar, the cross-entropy in nats; ``log p`` where neither side prefers a prototype.

    References:
        Caron et al., arXiv:2104.14294, equation 1 and its centring.
    """
    from torch.nn import functional as F

    target = F.softmax((teacher.detach() - centre) / teacher_temperature, dim=1)
    return -(target * F.log_softmax(student / student_temperature, dim=1)).sum(1).mean()


def infomax_gaussian(weight: "torch.Tensor", covariance: "torch.Tensor | None" = None) -> "torch.Tensor":
    """Second-order Infomax: how far a square map is from making its output white.

    For a Gaussian of covariance C the output's entropy is ``log det(W C W') / 2`` plus a constant; maximising it while power costs
    something is minimising ``(tr(W C W') - log det(W C W') - d) / 2d``: the Kullback-Leibler divergence, per dimension, of
    N(0, W C W') from N(0, I). It is 0 exactly when the output is white.

    Args:
        weight: (d, d) map W, not singular.
        covariance: (d, d) covariance C of the input, positive definite; the identity when None, which is so in
            coordinates that were whitened beforehand, and cheaper.

    Returns:
        Scalar, nats per dimension, at least 0.

    References:
        Linsker, Computer 21(3), 1988, and Bell and Sejnowski, Neural Computation 7(6), 1995, for Infomax; the Gaussian form is
        ours, the paper's abstract does not name its form.
    """
    import torch

    d = len(weight)
    log_determinant = 2 * torch.linalg.slogdet(weight).logabsdet
    if covariance is None:
        return (weight.square().sum() - log_determinant - d) / (2 * d)
    log_determinant = log_determinant + torch.linalg.slogdet(covariance).logabsdet
    return ((weight @ covariance * weight).sum() - log_determinant - d) / (2 * d)


def infomax_bell_sejnowski(weight: "torch.Tensor", outputs: "torch.Tensor") -> "torch.Tensor":
    """Infomax as Bell and Sejnowski wrote it: minus the entropy of the outputs after a squashing non-linearity.

    ``-(log|det W| + mean of sum_i log g'(u_i)) / d`` with the logistic g. Unlike the Gaussian form it sees more than the
    covariance: at its optimum the outputs are as independent as a square map can make them.

    Args:
        weight: (d, d) map W, not singular.
        outputs: (n, d) rows ``u = W x``.

    Returns:
        Scalar, nats per dimension.

    References:
        Bell and Sejnowski, Neural Computation 7(6), 1995, equations 9 to 13.
    """
    import torch
    from torch.nn import functional as F

    log_slope = -outputs - 2 * F.softplus(-outputs)  # log g'(u), g the logistic function
    return -(torch.linalg.slogdet(weight).logabsdet + log_slope.sum(1).mean()) / len(weight)
