"""A visitor's words for the field's terms, in one place: spaces, verdicts, query types and generators."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

#: Visitor's words for each space: heading, one line under it, and three sentences for "How it works".
SPACE_WORDS: dict[str, dict[str, str]] = {
    "backbone": {
        "name": "First glance",
        "line": "Alike in subject, colour and style.",
        "how": (
            "A frozen network turns each picture into a list of numbers, its feature. "
            "It was trained to name objects and has never seen this task. "
            "Its nearest pictures often share colours, texture or layout rather than the concept."
        ),
    },
    "aligned": {
        "name": "Style set aside",
        "line": "How it was painted counts less.",
        "how": (
            "First it takes away what all synthetic pictures have in common, and likewise for all real ones: their mean. "
            "Then contrastive self-supervision learns how loud each of the strongest traits may be, so that two views of one "
            "picture, re-framed, relit or repainted, come out alike. "
            "It is never told which synthetic picture stems from which real one."
        ),
    },
    "disentangled": {
        "name": "Traits untangled",
        "line": "The loudest traits turned down.",
        "how": (
            "An Infomax term turns the loudest traits down, so that no way of framing or painting drowns the rest. "
            "With alignment it approximates what canonical correlation analysis would find from pairs. "
            "Traits that nearly every picture shares stop dominating the comparison."
        ),
    },
}

#: What the three spaces amount to: `Verdict.level`, or what the first answers say by themselves -> sentence.
VERDICT_WORDS = {
    "copy": "This is a copy of \u201c{}\u201d",
    "found": "Most likely made from \u201c{}\u201d",
    "possible": "Perhaps made from \u201c{}\u201d",
    "none": "No source found in this collection",
    "agree": "All three spaces name \u201c{}\u201d",
    "most": "Two of three spaces name \u201c{}\u201d",
    "differ": "Each space names another picture",
}

REASON_WORDS = {
    "near-copy": "the two are near-copies",
    "spaces-agree": "all three spaces agree",
    "spaces-differ": "the other spaces name other pictures",
    "far-ahead": "it is far ahead of the rest",
    "close-rivals": "others are nearly as close",
}
DOUBTS = ("spaces-differ", "close-rivals")  # what makes less sure; the other reasons make surer

TYPE_WORDS = {
    "media": "In another style",
    "scene": "In a new scene",
    "photo": "Photo-like",
    "style": "In the same style",
    "painted": "Painted over",
    "upload": "From your folder",
}

GENERATOR_WORDS = {
    "multistyle26": "a network that knows 26 styles",
    "photometric": "changes of light and colour",
    "arbitrary_style": "a network that takes any style",
}


def percent(share: float) -> str:
    """A share as the page writes it.

    >>> percent(0.004), percent(0.42), percent(0.999)
    ('<1%', '42%', '>99%')
    """
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{100 * share:.0f}%"


def verdict_words(
    verdict: Mapping[str, Any] | None, firsts: Sequence[int], titles: Sequence[str], truth: Container[int] = ()
) -> dict[str, Any]:
    """What the three spaces amount to, as every part of the page says it.

    Args:
        verdict: `Verdict.to_dict()`; None where nothing judged, and then only the agreement of the spaces is told.
        firsts: Reference id of each space's first answer.
        titles: Of those.
        truth: Ids of the true sources, where they are known.

    Returns:
        `verdict` with the id it is `about`, its `title` in one sentence, a `line` that says why, and its `standing` against the
        truth, such as "Right" or "Right, but not sure", "" where that is not known.

    >>> judged = {"level": "possible", "reference": 7, "probability": 0.6, "reasons": ["spaces-agree"]}
    >>> words = verdict_words(judged, [7, 7, 7], ["A fox"] * 3, truth=[7])
    >>> words["title"], words["line"], words["standing"]
    ('Perhaps made from “A fox”', '60% sure: all three spaces agree.', 'Right, but not sure')
    >>> verdict_words(judged | {"reasons": ["far-ahead", "spaces-differ"]}, [7, 8, 9], ["A fox"] * 3)["line"]
    '60% sure: it is far ahead of the rest, though the other spaces name other pictures.'
    """
    told = dict(verdict or {"level": None, "reference": None, "probability": None, "reasons": []})
    about, title = firsts[-1], titles[-1]
    if verdict is None:
        n = max(map(firsts.count, firsts))
        about, title = next(pair for pair in zip(firsts, titles, strict=True) if firsts.count(pair[0]) == n)
        key, line = {1: "differ", len(firsts): "agree"}.get(n, "most"), ""
    else:
        reasons = verdict["reasons"]
        key = "copy" if "near-copy" in reasons else verdict["level"]
        doubts = [REASON_WORDS[one] for one in reasons if one in DOUBTS]
        grounds = doubts if key == "none" else [REASON_WORDS[one] for one in reasons if one not in DOUBTS]
        chance = percent(verdict["probability"] if key == "copy" else min(verdict["probability"], 0.999))
        line = f"Closest is \u201c{title}\u201d, with a chance of {chance}" if key == "none" else f"{chance} sure"
        line += f": {' and '.join(grounds)}" if grounds else ""
        line += f", though {' and '.join(doubts)}." if doubts and key != "none" else "."
    standing = ""
    if truth:
        sure = {"found": "Right", "none": "The closest is right, but not sure"}
        right = sure.get(told["level"], "Right, but not sure")
        standing = right if about in truth else "Not found" if told["level"] == "none" else "Wrong"
    return told | {"about": about, "title": VERDICT_WORDS[key].format(title), "line": line, "standing": standing}


def type_words(query_type: str) -> str:
    """A query type as a visitor reads it."""
    return TYPE_WORDS.get(query_type, query_type.capitalize())


def made_by(generator: str) -> str:
    """A generator as a visitor reads it."""
    return GENERATOR_WORDS.get(generator, generator)
