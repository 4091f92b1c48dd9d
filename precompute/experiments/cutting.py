"""A network cut in two behind one of its blocks, so that what the frozen part gives is computed once and kept.

cut = cut_network(network, n_blocks=2, side=224)
features = cut.tail(cut.front(pixels))      # what the network gives, L2-normalised
"""

import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aad.backbones import BackboneError

if TYPE_CHECKING:
    import torch


class Cut:
    """A network in two parts: ``front`` gives the activations behind one block, ``tail`` makes features of them.

    The tail is a copy in which the blocks up to the cut pass on what they are given: training it leaves the network as it is.

    Args:
        network: a frozen module with ``blocks``.
        depth: the cut lies behind this many blocks, at least 1.
        side: of the square network input, in pixels.
    """

    def __init__(self, network: Any, depth: int, side: int) -> None:
        import torch

        class Handover(torch.nn.Module):
            """Stands for a block: returns what was laid into it, or else what comes in."""

            activations: torch.Tensor | None = None

            def forward(self, x: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
                return x if self.activations is None else self.activations

        self.network, self.depth, self.side = network, depth, side
        self.tail_network = copy.deepcopy(network)
        for number in range(depth):
            self.tail_network.blocks[number] = Handover()
        self._last: Any = self.tail_network.blocks[depth - 1]

    @property
    def device(self) -> "torch.device":
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    def front(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Activations (n, ...) behind the cut for (n, 3, s, s) pictures; the rest of the network does not run."""
        import torch

        class Reached(Exception):
            """No error: the way out of a forward pass."""

        caught: list[torch.Tensor] = []

        def stop(module: object, inputs: object, output: torch.Tensor) -> None:
            caught.append(output)
            raise Reached

        hook = self.network.blocks[self.depth - 1].register_forward_hook(stop)
        try:
            with torch.no_grad(), suppress(Reached):
                self.network(_laid_out(pixels.to(self.device)))
        finally:
            hook.remove()
        return caught[0]

    def tail(self, activations: "torch.Tensor") -> "torch.Tensor":
        """Features (n, d), L2-normalised, of (n, ...) activations."""
        import torch

        # what comes before the first block still runs, on one empty picture, and is thrown away
        empty = torch.zeros(1, 3, self.side, self.side, device=self.device)
        self._last.activations = _laid_out(activations.to(self.device))
        try:
            features = self.tail_network(empty)
        finally:
            self._last.activations = None
        return torch.nn.functional.normalize(features, dim=1)


def cut_network(network: Any, n_blocks: int, side: int) -> Cut:
    """Cut a network before its last blocks, as deep as the features allow.

    A network may read its blocks at several depths, as EfficientNet-Lite0 here does. Behind a cut only one of them is known, so the
    cut moves towards the front until tail and front together give what the network gives.

    Args:
        network: a frozen module with ``blocks``, in evaluation mode.
        n_blocks: how many of the last blocks are to be trained.
        side: of the square network input, in pixels.

    Raises:
        BackboneError: no blocks, too many of them asked for, or no cut gives the network's own features.
    """
    import torch

    if not hasattr(network, "blocks"):
        raise BackboneError(
            "fine-tuning needs a network with .blocks in order, this one has none: take another backbone"
        )
    total = len(network.blocks)
    if not 1 <= n_blocks < total:
        raise BackboneError(f"between 1 and {total - 1} of the network's {total} blocks can be trained, got {n_blocks}")
    network.eval().requires_grad_(False)
    device = next(network.parameters()).device
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():  # not inference_mode: the copy's weights could never be trained
        wanted = torch.nn.functional.normalize(network(_laid_out(noise)), dim=1)
        for depth in range(total - n_blocks, 0, -1):
            cut = Cut(network, depth, side)
            with suppress(RuntimeError):  # a network that reads a block before the cut may meet sizes that do not fit
                features = cut.tail(cut.front(noise))
                if features.shape == wanted.shape and torch.allclose(features, wanted, atol=1e-4):
                    return cut
    raise BackboneError(
        "the network's features depend on more than its blocks in order, so they cannot be fine-tuned alone"
    )


def _laid_out(batch: "torch.Tensor") -> "torch.Tensor":
    """Images and feature maps with channels last: a third less time on a CPU."""
    import torch

    return batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch
