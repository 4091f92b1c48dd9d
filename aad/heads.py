"""The heads as a bundle keeps them: two in a file, and the backbone's own, which changes nothing."""

import numpy as np

from aad.bundle import Bundle
from aad.method.head import Head
from aad.spaces import Domain, Space


def _keys(tensors: dict[str, np.ndarray], name: str) -> set[str]:
    """The tensors that ``Head.from_tensors`` reads."""
    weights = {f"{name}.weight"} if f"{name}.weight" in tensors else {f"{name}.{domain}.weight" for domain in Domain}
    return {f"{name}.{domain}.centre" for domain in Domain} | weights


def read_heads(bundle: Bundle) -> dict[Space, Head]:
    """The heads of all three spaces; the backbone's changes nothing.

    Raises:
        BundleError: the file is missing, damaged, or not for this backbone.
    """
    dim, tensors = bundle.section("backbone", "extract_features")["dim"], bundle.read_tensors("heads.safetensors")
    heads = {Space.BACKBONE: Head.identity(dim)}
    read: set[str] = set()
    for space in (Space.ALIGNED, Space.DISENTANGLED):
        try:
            heads[space] = Head.from_tensors(tensors, space)
        except ValueError as error:
            raise bundle.refusal("heads.safetensors", f"does not hold the heads ({error})") from None
        if heads[space].dim != dim:
            raise bundle.refusal("heads.safetensors", f"is for {heads[space].dim} features, the backbone gives {dim}")
        if (k := len(heads[space].weight[Domain.REAL])) != dim:
            raise bundle.refusal("heads.safetensors", f"gives {k} dimensions in {space}, the references have {dim}")
        read |= _keys(tensors, space)
    if unknown := sorted(set(tensors) - read):
        raise bundle.refusal("heads.safetensors", f"holds tensors that are of no head, {unknown[0]!r:.80} among them")
    return heads
