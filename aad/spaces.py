"""The two closed vocabularies of the project: the three spaces and the two image domains.

They are string enums, so ``"aligned"`` and ``Space.ALIGNED`` are interchangeable as dictionary keys, in JSON and in the API.
"""

from enum import StrEnum


class Space(StrEnum):
    """An embedding space, one per panel, in the order in which the app shows them."""

    BACKBONE = "backbone"
    ALIGNED = "aligned"
    DISENTANGLED = "disentangled"


class Domain(StrEnum):
    """Which kind of image is embedded; a head may treat the two differently."""

    REAL = "real"
    SYNTHETIC = "synthetic"


SPACES: tuple[Space, ...] = tuple(Space)
