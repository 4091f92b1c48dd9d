"""What the facade answers with: references, queries, matches, and the attribution of one query in every space."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aad.spaces import Space
from aad.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Reference:
    """One candidate training source. ``reference_id`` is its row in every array of the bundle."""

    reference_id: int
    path: Path
    title: str
    source: str
    licence: str
    author: str = ""
    url: str = ""
    concept: str = ""
    group: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A bundled synthetic image; ``exemplar_ids`` are its true sources, empty when they are not known."""

    query_id: int
    path: Path
    type: str
    generator: str = ""
    split: str = ""
    concept: str = ""
    exemplar_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """One retrieved reference: 1-based rank, cosine similarity, and attribution weight in [0, 1]."""

    reference_id: int
    rank: int
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class SpaceAttribution:
    """The answer of one space. The weights of ``matches``, ``elsewhere`` and ``remainder`` sum to 1.

    Attributes:
        space: which space answered.
        matches: the k nearest references, best first.
        remainder: share explained by no reference, "none of these".
        elsewhere: share of the references beyond the k shown.
        position: the query's place on this space's map, in the frame of ``Attributor.coordinates``.
        estimated: whether all of these shares are an estimate, because no exact sum over the whole gallery was at hand; ranks
            and similarities are exact nevertheless.
    """

    space: Space
    matches: tuple[Match, ...]
    remainder: float
    elsewhere: float
    position: tuple[float, float]
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answers of all spaces to one query: ``attribution["aligned"]``.

    Attributes:
        spaces: the answer of each.
        verdict: what they amount to; None for a reference that is searched again, and where the bundle has no fitted judge.
    """

    spaces: dict[Space, SpaceAttribution]
    verdict: Verdict | None = None

    def __getitem__(self, space: Space | str) -> SpaceAttribution:
        return self.spaces[Space(space)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: per space the matches, the remainder, the share elsewhere and the position; and the verdict.

        ``estimated`` and ``verdict`` are there only where there is such.
        """
        plain = {str(space): json.loads(json.dumps(asdict(answer))) for space, answer in self.spaces.items()}
        for answer in plain.values():
            if not answer["estimated"]:
                del answer["estimated"]
        return plain | ({"verdict": self.verdict.to_dict()} if self.verdict else {})
