"""A visitor's words for the field's terms, in one place: spaces, query types and generators."""

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
            "Then contrastive self-supervision learns a map under which two views of one picture, re-framed, relit or repainted, "
            "come out alike. "
            "It is never told which synthetic picture stems from which real one."
        ),
    },
    "disentangled": {
        "name": "Traits untangled",
        "line": "Each trait counts once, so that one loud trait cannot drown the others.",
        "how": (
            "An Infomax term makes the map use all its dimensions, so that no way of framing or painting stays loud. "
            "With alignment it approximates what canonical correlation analysis would find from pairs. "
            "Traits that nearly every picture shares stop dominating the comparison."
        ),
    },
}

#: Visitor's words for each query type; a type without an entry is shown as it is.
TYPE_WORDS = {
    "media": "Restyled",
    "scene": "New scene",
    "photo": "Photo-like",
    "style": "In this style",
    "painted": "Repainted",
    "upload": "From your folder",
}

#: Visitor's words for what made a query; a generator without an entry is shown by its name.
GENERATOR_WORDS = {
    "multistyle26": "the 26-style network",
    "photometric": "photometric changes",
    "arbitrary_style": "the arbitrary-style network",
}
