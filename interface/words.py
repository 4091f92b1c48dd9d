"""A visitor's words for the field's terms, in one place: spaces, query types and generators."""

from collections.abc import Iterable

from aad.spaces import Space

#: Visitor's words for each space: heading, one line under it, and three sentences for "How it works".
SPACE_WORDS: dict[str, dict[str, str]] = {
    "backbone": {
        "name": "First glance",
        "line": "What a frozen, general-purpose network finds alike, style and all.",
        "how": (
            "A frozen network turns each picture into a list of numbers, its feature. "
            "It was trained to name objects and has never seen this task. "
            "Its nearest pictures often share colours, texture or layout rather than the concept."
        ),
    },
    "aligned": {
        "name": "Style set aside",
        "line": "Real and synthetic pictures brought together, without being shown a single pair.",
        "how": (
            "First it takes away what all synthetic pictures have in common, and likewise for all real ones: their mean. "
            "Then contrastive self-supervision learns how loud each of the strongest traits may be, so that two views of one "
            "picture, re-framed, relit or repainted, come out alike. "
            "It is never told which synthetic picture stems from which real one."
        ),
    },
    "disentangled": {
        "name": "Traits untangled",
        "line": "The loudest traits turned down, so that none drowns the others.",
        "how": (
            "An Infomax term turns the loudest traits down, so that no way of framing or painting drowns the rest. "
            "With alignment it approximates what canonical correlation analysis would find from pairs. "
            "Traits that nearly every picture shares stop dominating the comparison."
        ),
    },
}

TYPE_WORDS = {
    "media": "Restyled",
    "scene": "New scene",
    "photo": "Photo-like",
    "style": "In this style",
    "painted": "Repainted",
    "upload": "From your folder",
}

GENERATOR_WORDS = {
    "multistyle26": "the 26-style network",
    "photometric": "photometric changes",
    "arbitrary_style": "the arbitrary-style network",
}


def how(spaces: Iterable[Space]) -> list[dict[str, str]]:
    """`SPACE_WORDS` in the order of the spaces, each with its `id`."""
    return [{"id": str(space), **SPACE_WORDS[str(space)]} for space in spaces]


def type_words(query_type: str) -> str:
    """A query type as a visitor reads it."""
    return TYPE_WORDS.get(query_type, query_type.capitalize())


def made_by(generator: str) -> str:
    """A generator as a visitor reads it."""
    return GENERATOR_WORDS.get(generator, generator)
