"""Three forms of contrastive alignment behind one call: in-batch InfoNCE, MoCo's queue, DINO's self-distillation.

What a form has to remember between steps (a momentum encoder, a queue, prototypes) lives here; the losses themselves are in
``aad.method.losses``. The encoder is the head's matrix; the backbone stays frozen.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from aad.method.losses import info_nce, self_distillation

if TYPE_CHECKING:
    import torch

MOMENTUM = 0.99  # of the momentum encoder; MoCo's 0.999 is for runs a thousand times as long
QUEUE = 1024  # embeddings of earlier batches; an image comes again after one or two batches, see ``Alignment``
N_PROTOTYPES = 512
TEACHER_TEMPERATURE = 0.04  # DINO's
CENTRE_MOMENTUM = 0.9  # DINO's
N_STUDENT_VIEWS = 4  # multi-crop: views that the student sees for one that the teacher sees


class Alignment:
    """One domain's alignment term and its state.

    The sets here are small, so a queue soon holds other views of the images in the batch, which then count as negatives of
    themselves. That is a known cost of the queue on small sets, and is measured in docs/ablation.md.
    """

    def __init__(self, form: Literal["info_nce", "moco", "dino"], temperature: float, d: int) -> None:
        import torch

        self.form, self.temperature = form, temperature
        self.momentum_weight = torch.eye(d)
        self.queue = torch.zeros(0, d)
        self.parameters: list[torch.Tensor] = []
        if form == "dino":
            self.prototypes = torch.nn.functional.normalize(torch.randn(N_PROTOTYPES, d), dim=1).requires_grad_()
            self.centre = torch.zeros(N_PROTOTYPES)
            self.parameters = [self.prototypes]

    def __call__(self, weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
        """The term for a batch of (n, v, d) views under the (d, d) map, two or more views drawn of each; scalar, nats."""
        import torch

        if self.form == "dino":
            return self._multi_crop(weight, images, rng)
        first, second = two_views(images, rng)
        if self.form == "info_nce":
            return info_nce(first @ weight.T, second @ weight.T, self.temperature)
        keys = second @ self.momentum_weight.T
        queue = self.queue if len(self.queue) else None  # nothing queued yet: the batch itself
        self.queue = torch.cat([keys, self.queue])[:QUEUE]
        return info_nce(first @ weight.T, keys, self.temperature, queue)

    def _multi_crop(self, weight: "torch.Tensor", images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
        """The teacher sees the whole image, the student several other views of it."""
        import torch

        with torch.no_grad():
            teacher = self._scores(images[:, 0] @ self.momentum_weight.T)
        term = torch.zeros(())
        for _ in range(N_STUDENT_VIEWS):
            view = rng.integers(1, images.shape[1], size=len(images))
            student = self._scores(images[np.arange(len(images)), view] @ weight.T)
            term = term + self_distillation(student, teacher, self.centre, self.temperature, TEACHER_TEMPERATURE)
        self.centre = CENTRE_MOMENTUM * self.centre + (1 - CENTRE_MOMENTUM) * teacher.mean(0)
        return term / N_STUDENT_VIEWS

    def after_step(self, weight: "torch.Tensor") -> None:
        """Let the momentum encoder follow the map."""
        if self.form != "info_nce":
            self.momentum_weight = MOMENTUM * self.momentum_weight + (1 - MOMENTUM) * weight.detach()

    def _scores(self, embeddings: "torch.Tensor") -> "torch.Tensor":
        from torch.nn import functional as F

        return F.normalize(embeddings, dim=1) @ F.normalize(self.prototypes, dim=1).T


def two_views(images: "torch.Tensor", rng: np.random.Generator) -> "tuple[torch.Tensor, torch.Tensor]":
    """Two different views of each of (n, v, d) images, drawn at random, each (n, d)."""
    rows = np.arange(len(images))
    first = rng.integers(images.shape[1], size=len(images))
    second = (first + rng.integers(1, images.shape[1], size=len(images))) % images.shape[1]
    return images[rows, first], images[rows, second]
