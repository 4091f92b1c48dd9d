"""The steps of the story in talk mode: what each shows, what it says to the room, and what it says to the speaker alone."""

from collections.abc import Sequence
from typing import Any

from aad import Attributor
from aad.spaces import SPACES, Space
from interface.words import SPACE_WORDS


def steps(
    attributor: Attributor, cases: dict[str, dict[str, Any]], figures: dict[str, Any] | None, n_wall: int
) -> list[dict[str, Any]]:
    """What each step shows and says.

    Returns:
        Dicts with `kind` (opening, case, wall, maps, figures or end), `title`, `line`, `notes` for the speaker, and where it
        shows a case its name, the `spaces` revealed and whether the `truth` is.
    """
    n, ranks, turn = len(attributor.references), _ranks(cases.get("turn")), "turn" if "turn" in cases else None
    opening = {
        "kind": "opening",
        "case": turn,
        "title": "Where did this image come from?",
        "line": "A machine made it, from pictures that people made. From which ones?",
        "notes": "Give the room five seconds with the picture. Ask what they see, and where it may come from.",
    }
    easy = _case(
        "easy",
        "Sometimes it is easy",
        "All three spaces name the source at once.",
        "Hardly changed: even a network that never saw this task finds it. The green frame is the true source.",
    )
    wall = {
        "kind": "wall",
        "case": "turn",
        "title": "Now a hard one",
        "line": f"Its source is one of {n:,} pictures. It is among these {n_wall}."
        if n_wall < n
        else "Its source is here.",
        "notes": "Let the room search. Somebody usually finds it: people set style aside without noticing.",
    }
    maps = {
        "kind": "maps",
        "case": turn,
        "title": "The same pictures, mapped three times",
        "line": "Watch the picture and its true source." if ranks else "Watch the picture and its closest matches.",
        "notes": "The right arrow moves to the next space, 1 to 3 go to one. A flat map loses much: the lists are exact.",
    }
    end = {
        "kind": "end",
        "title": "What this does not prove",
        "points": [
            "Close is not copied: likeness is evidence, not proof.",
            "A weight is a share within this collection, not a cause.",
            "What is not in the collection cannot be found.",
        ],
        "line": "",
        "notes": "Then take a picture from the room: drop or paste it here. Esc leads back to the page.",
    }
    told = [opening, *([easy] if "easy" in cases else []), *([wall] if ranks else [])]
    if turn:
        for i, space in enumerate(SPACES, 1):
            words, where = SPACE_WORDS[str(space)], f": rank {ranks[space]:,}" if ranks else ""
            told.append(_case("turn", words["name"] + where, words["line"], words["how"], SPACES[:i], i == len(SPACES)))
    told.append(maps)
    if "fails" in cases:
        notes = "Of the pictures that no space gets right, the one with the surest answer. A weight is no proof."
        told.append(_case("fails", "And here it fails", _failure(attributor, cases["fails"]), notes))
    if figures:
        notes = (
            "Share of pictures whose first answer is a true source. Intervals, by kind of picture, stand in Inspect."
        )
        title = "How often is the first answer right?"
        told.append({"kind": "figures", "title": title, "line": _figures_line(figures), "notes": notes})
    return [*told, end]


def _case(
    name: str, title: str, line: str, notes: str, spaces: Sequence[Space] = SPACES, truth: bool = True
) -> dict[str, Any]:
    shown = [str(space) for space in spaces]
    return {"kind": "case", "case": name, "title": title, "line": line, "notes": notes, "spaces": shown, "truth": truth}


def _ranks(case: dict[str, Any] | None) -> dict[Space, int]:
    ranks = case["query"]["ranks"] if case else {}
    return {Space(space): found[0] for space, found in ranks.items() if found}


def _failure(attributor: Attributor, case: dict[str, Any]) -> str:
    last = str(SPACES[-1])
    first = case["spaces"][last]["matches"][0]
    title, rank = attributor.references[first["id"]].title, _ranks(case)[SPACES[-1]]
    return f"\u201c{title}\u201d, says the last space, with {first['weight']:.0%} of the weight. The source is at rank {rank:,}."


def _figures_line(figures: dict[str, Any]) -> str:
    if figures["is_unseen"]:
        return f"{figures['n']:,} pictures from a generator and of subjects that training never saw"
    of = "of subjects that training never saw" if figures["is_test"] else "whose source is known"
    return f"{figures['n']:,} pictures {of}"
