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
    told = [
        _step(
            "opening",
            "Where did this image come from?",
            "A machine made it, from pictures that people made. From which ones?",
            "Give the room five seconds with the picture. Ask what they see, and where it may come from.",
            case=turn,
        )
    ]
    if "easy" in cases:
        line = "All three spaces name the source at once."
        notes = "Hardly changed: even a network that never saw this task finds it. The green frame is the true source."
        told.append(_case("easy", "Sometimes it is easy", line, notes))
    if ranks:
        line = (
            f"Its source is one of {n:,} pictures. It is among these {n_wall}." if n_wall < n else "Its source is here."
        )
        notes = "Let the room search. Somebody usually finds it: people set style aside without noticing."
        told.append(_step("wall", "Now a hard one", line, notes, case="turn"))
    if turn:
        for i, space in enumerate(SPACES, 1):
            words, where = SPACE_WORDS[str(space)], f": rank {ranks[space]:,}" if ranks else ""
            told.append(_case("turn", words["name"] + where, words["line"], words["how"], SPACES[:i], i == len(SPACES)))
    line = "Watch the picture and its true source." if ranks else "Watch the picture and its closest matches."
    notes = "The right arrow moves to the next space, 1 to 3 go to one. A flat map loses much: the lists are exact."
    told.append(_step("maps", "The same pictures, mapped three times", line, notes, case=turn))
    if "fails" in cases:
        notes = "Of the pictures that no space gets right, the one with the surest answer. A weight is no proof."
        told.append(_case("fails", "And here it fails", _failure(attributor, cases["fails"]), notes))
    if figures:
        title = "How often is the first answer right?"
        notes = (
            "Share of pictures whose first answer is a true source. Intervals, by kind of picture, stand in Inspect."
        )
        told.append(_step("figures", title, _figures_line(figures), notes))
    points = [
        "Close is not copied: likeness is evidence, not proof.",
        "A weight is a share within this collection, not a cause.",
        "What is not in the collection cannot be found.",
    ]
    notes = "Then take a picture from the room: drop or paste it here. Esc leads back to the page."
    return [*told, _step("end", "What this does not prove", "", notes, points=points)]


def _step(kind: str, title: str, line: str, notes: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "title": title, "line": line, "notes": notes, **more}


def _case(
    name: str, title: str, line: str, notes: str, spaces: Sequence[Space] = SPACES, truth: bool = True
) -> dict[str, Any]:
    return _step("case", title, line, notes, case=name, spaces=[str(space) for space in spaces], truth=truth)


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
