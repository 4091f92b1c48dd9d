"""Forms of the two terms that were tried and do not ship, as callables for ``aad.method.fit_head``.

    fit_head(views, config, alignment={domain: MoCo(0.05) for domain in Domain})

What a form has to remember between steps (a momentum encoder, a queue, prototypes) lives in its object, one for each domain, and
follows at the beginning of the next step. The encoder is the head's matrix; the backbone stays frozen.
"""

from typing import TYPE_CHECKING

import numpy as np

from aad.method.training import Term, two_views

if TYPE_CHECKING:
    import torch

MOMENTUM = 0.99  # of the momentum encoder; MoCo's 0.999 is for runs a thousand times as long
QUEUE = 1024  # embeddings of earlier batches; an image comes again after one or two batches, see ``MoCo``
N_PROTOTYPES = 512
TEACHER_TEMPERATURE = 0.04  # DINO's
CENTRE_MOMENTUM = 0.9  # DINO's
N_STUDENT_VIEWS = 4  # multi-crop: views that the student sees for one that the teacher sees


class Momentum:
    """A copy of the map that follows it slowly.

    Args:
        temperature: of the cosine.
    """

    momentum_weight: "torch.Tensor | None" = None

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def _follow(self, weight: "torch.Tensor") -> "torch.Tensor":
        """The momentum encoder after the step before: the map itself at first."""
        before = self.momentum_weight
        if before is None:
            self.momentum_weight = weight.detach().clone()
        else:
            self.momentum_weight = MOMENTUM * before + (1 - MOMENTUM) * weight.detach()
        return self.momentum_weight


class MoCo(Momentum):
    """MoCo's InfoNCE: one direction only, and the negatives are a queue of earlier embeddings, not the batch.

    The sets here are small, so a queue soon holds other views of the images in the batch, which then count as negatives of
    themselves. That is a known cost of the queue on small sets, and is measured in docs/ablation.md.

    References:
        He et al., arXiv:1911.05722.
    """

    queue: "torch.Tensor | None" = None

    def __call__(self, weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
        """The term for a batch of (n, v, d) views under the (d, d) map, two views drawn of each; scalar, nats."""
        import torch
        from torch.nn import functional as F

        from aad.method import info_nce

        first, second = two_views(images, rng)
        first, keys, queue = first @ weight.T, second @ self._follow(weight).T, self.queue
        self.queue = (keys if queue is None else torch.cat([keys, queue]))[:QUEUE]
        if queue is None:  # nothing queued yet: the batch itself
            return info_nce(first, keys, self.temperature)
        first, keys, queue = (F.normalize(rows, dim=1) for rows in (first, keys, queue))
        logits = torch.cat([(first * keys).sum(1, keepdim=True), first @ queue.T], dim=1) / self.temperature
        return F.cross_entropy(logits, torch.zeros(len(first), dtype=torch.long))  # of (n, 1 + m)


class Dino(Momentum):
    """DINO's multi-crop: the teacher sees the whole image, the student several other views of it.

    The prototypes have an optimiser of their own, whose step is taken at the beginning of the next one.

    Args:
        temperature: of the student's softmax.
        learning_rate: of the prototypes.

    References:
        Caron et al., arXiv:2104.14294.
    """

    def __init__(self, temperature: float, learning_rate: float) -> None:
        super().__init__(temperature)
        self.learning_rate = learning_rate
        self.optimiser: torch.optim.Adam | None = None

    def __call__(self, weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
        """The term for a batch of (n, v, d) views under the (d, d) map; scalar, nats."""
        import torch

        if self.optimiser is None:
            drawn = torch.randn(N_PROTOTYPES, weight.shape[1])
            self.prototypes = torch.nn.functional.normalize(drawn, dim=1).requires_grad_()
            self.centre = torch.zeros(N_PROTOTYPES)
            self.optimiser = torch.optim.Adam([self.prototypes], lr=self.learning_rate)
        else:
            self.optimiser.step()
            self.optimiser.zero_grad()
        with torch.no_grad():
            teacher = self._scores(images[:, 0] @ self._follow(weight).T)
        term = torch.zeros(())
        for _ in range(N_STUDENT_VIEWS):
            view = rng.integers(1, images.shape[1], size=len(images))
            student = self._scores(images[np.arange(len(images)), view] @ weight.T)
            term = term + self_distillation(student, teacher, self.centre, self.temperature, TEACHER_TEMPERATURE)
        self.centre = CENTRE_MOMENTUM * self.centre + (1 - CENTRE_MOMENTUM) * teacher.mean(0)
        return term / N_STUDENT_VIEWS

    def _scores(self, embeddings: "torch.Tensor") -> "torch.Tensor":
        from torch.nn import functional as F

        return F.normalize(embeddings, dim=1) @ F.normalize(self.prototypes, dim=1).T


def with_bell_sejnowski(alignment: Term, infomax_weight: float) -> Term:
    """An alignment term with Bell and Sejnowski's Infomax on one view of each image added; leave the loop's own Infomax out."""

    def term(weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
        aligned = alignment(weight, images, rng)
        chosen = rng.integers(images.shape[1], size=len(images))
        outputs = images[np.arange(len(images)), chosen] @ weight.T
        return aligned + infomax_weight * infomax_bell_sejnowski(weight, outputs)

    return term


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
