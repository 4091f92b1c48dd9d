"""Talk mode: a guided story on bundled cases, for a room.

The story is chosen by rule from what the spaces made of the bundle's own queries, so that any bundle with known sources has one,
and it travels whole, pictures included, when talk mode is entered: from then on a lecture needs neither network nor server.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from aad import Attributor
from aad.images import ImageError
from aad.spaces import SPACES, Space
from interface import present
from interface.handlers import answer
from interface.outcomes import Outcome, Outcomes, outcomes_of
from interface.thumbnails import data_uri
from interface.words import SPACE_WORDS

K = 8  # matches per space
N_WALL = 48  # pictures that a source hides among
LARGE, SMALL = 640, 200  # pixels of a picture's longer side


def functions(attributor: Attributor) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for."""
    telling, told = threading.Lock(), functools.cache(lambda: story(attributor))

    def talk_story(request: Any = None) -> dict[str, Any]:
        with telling:  # worked out once, whoever asks first
            return told()

    return (talk_story,)


def story(attributor: Attributor) -> dict[str, Any]:
    """The whole story.

    Returns:
        JSON-ready: `steps` in order, `cases` (name -> an answer as the page draws it), `wall` (reference ids), `figures` (share of
        right first answers per space), `pictures` ("query-3", "reference-7" -> data address), and the wall's `cards`.
    """
    outcomes = outcomes_of(attributor)
    rows = choose(outcomes, held_out=(attributor.metrics or {}).get("held_out_generators", ()))
    ids = {name: int(outcomes.query_ids[row]) for name, row in rows.items()}
    if "turn" not in ids and len(attributor.queries):
        ids["turn"] = int(attributor.examples[0]) if attributor.examples else 0
    cases = {name: answer(attributor, "query", query_id, K) for name, query_id in ids.items()}
    truth = cases["turn"]["query"]["truth"] if "turn" in cases else []
    wall = spread(len(attributor.references), N_WALL, truth[:1])
    figures = shares(outcomes, (attributor.metrics or {}).get("held_out_generators", ()))
    return {
        "steps": steps(attributor, cases, figures, len(wall)),
        "cases": cases,
        "wall": wall,
        "cards": present.further(attributor, wall),
        "figures": figures,
        "pictures": _pictures(attributor, cases, wall),
    }


def choose(outcomes: Outcomes, held_out: Sequence[str] = ()) -> dict[str, int]:
    """The rows of the outcomes that make the story, each of another concept group where that is possible.

    turn: right at last, wrong at first, and better in each space; seen at a glance, since the first answer is of another group. Of
        these the largest gain, log2 of the backbone's rank, times the weight that the last space gives the source.
    easy: right everywhere, with the most weight in the space that gives it least.
    fails: wrong everywhere with an answer of another group, and of these the one that the last space is surest about.

    Queries with one source come first, and of the test split, and by a generator that training never saw, as far as there are any.
    """
    m = len(outcomes)
    if not m:
        return {}
    rank, weight, first = outcomes.best_rank, outcomes.weight, outcomes.neighbours[:, :, 0]
    groups = outcomes.reference_labels["group"]
    truth = groups[[ids[0] for ids in outcomes.exemplar_ids]]
    fair = _narrow(np.ones(m, bool), outcomes.labels["split"] == "test")
    fair = _narrow(fair, np.array([len(ids) == 1 for ids in outcomes.exemplar_ids]))
    unseen = np.isin(outcomes.labels["generator"].astype(str), list(held_out))

    turned = fair & (rank[2] == 1) & (rank[0] > 1)
    turned = _narrow(turned, groups[first[0]] != truth)
    turned = _narrow(turned, (rank[0] > rank[1]) & (rank[1] > 1))
    plain = {
        "turn": (_narrow(turned, unseen), np.log2(rank[0]) * weight[2]),
        "easy": (fair & outcomes.members(Outcome.RIGHT_EVERYWHERE), weight.min(0)),
        "fails": (_narrow(fair & outcomes.members(Outcome.WRONG_EVERYWHERE), groups[first[2]] != truth), weight[2]),
    }
    chosen: dict[str, int] = {}
    for name, (among, score) in plain.items():
        others = ~np.isin(truth.astype(str), [str(truth[row]) for row in chosen.values()])
        among = _narrow(among, others)
        if among.any():
            chosen[name] = int(np.argmax(np.where(among, score, -np.inf)))
    return chosen


def shares(outcomes: Outcomes, held_out: Sequence[str] = ()) -> dict[str, Any] | None:
    """How often the first answer is a true source in each space, of the fairest queries; None without any."""
    if not len(outcomes):
        return None
    of_test = outcomes.labels["split"] == "test"
    unseen = of_test & np.isin(outcomes.labels["generator"].astype(str), list(held_out))
    rows = unseen if unseen.any() else _narrow(np.ones(len(outcomes), bool), of_test)
    right = dict(zip(map(str, SPACES), outcomes.right[:, rows].mean(1).tolist(), strict=True))
    of = "of subjects that training never saw" if of_test.any() else "whose source is known"
    if unseen.any():
        of = "from a generator and of subjects that training never saw"
    return {"n": int(rows.sum()), "of": of, "spaces": right}


def spread(n: int, n_shown: int, wanted: Sequence[int] = ()) -> list[int]:
    """Ids evenly through a collection; one that is wanted takes the place of its nearest.

    >>> spread(100, 4, [70])
    [12, 37, 70, 87]
    """
    ids = [int((i + 0.5) * n / min(n, n_shown)) for i in range(min(n, n_shown))]
    for one in wanted:
        ids[min(range(len(ids)), key=lambda i: abs(ids[i] - one))] = one
    return ids


def _narrow(rows: np.ndarray, further: np.ndarray) -> np.ndarray:
    """The rows that pass a further wish, or all of them where none does."""
    both = rows & further
    return both if both.any() else rows


def _pictures(attributor: Attributor, cases: dict[str, dict[str, Any]], wall: Sequence[int]) -> dict[str, str]:
    paths = {f"query-{case['query']['id']}": attributor.queries[case["query"]["id"]].path for case in cases.values()}
    large: set[int] = set()
    small = set(wall)
    for case in cases.values():
        large |= set(case["query"]["truth"])
        for part in case["spaces"].values():
            large |= {match["id"] for match in part["matches"][:1]}
            small |= {match["id"] for match in part["matches"]}
    sides = dict.fromkeys(paths, LARGE)
    for reference_id in large | small:
        key = f"reference-{reference_id}"
        paths[key], sides[key] = attributor.references[reference_id].path, LARGE if reference_id in large else SMALL
    found = {}
    for key, path in paths.items():
        with suppress(ImageError):  # a missing picture leaves an empty frame
            found[key] = data_uri(path, sides[key])
    return found


def steps(
    attributor: Attributor, cases: dict[str, dict[str, Any]], figures: dict[str, Any] | None, n_wall: int
) -> list[dict[str, Any]]:
    """What each step shows and says.

    Returns:
        Dicts with `kind` (opening, case, wall, maps, figures or end), `title`, `line`, `notes` for the speaker, and where it
        shows a case its name, the `spaces` revealed and whether the `truth` is.
    """
    n, ranks, turn = len(attributor.references), _ranks(cases.get("turn")), "turn" if "turn" in cases else None
    line = "A machine made it, from pictures that people made. From which ones?"
    notes = "Give the room five seconds with the picture. Ask what they see, and where it may come from."
    told = [_step("opening", "Where did this image come from?", line, notes, case=turn)]
    if "easy" in cases:
        line = "All three spaces name the source at once."
        notes = "Hardly changed: even a network that never saw this task finds it. The green frame is the true source."
        told.append(_case("easy", "Sometimes it is easy", line, notes))
    if ranks:
        hidden = f"Its source is one of {n:,} pictures. It is among these {n_wall}."
        line = hidden if n_wall < n else "Its source is here."
        notes = "Let the room search. Somebody usually finds it: people set style aside without noticing."
        told.append(_step("wall", "Now a hard one", line, notes, case="turn"))
    if turn:
        for i, space in enumerate(SPACES, 1):
            title, words = _turn(space, ranks), SPACE_WORDS[str(space)]
            told.append(_case("turn", title, words["line"], words["how"], SPACES[:i], i == len(SPACES)))
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
        told.append(_step("figures", title, f"{figures['n']:,} pictures {figures['of']}", notes))
    points = [
        "Close is not copied: likeness is evidence, not proof.",
        "A weight is a share within this collection, not a cause.",
        "What is not in the collection cannot be found.",
    ]
    line = "Drop, paste or choose a synthetic picture. Then keep in mind:"
    notes = "Take a picture from the room. Esc leads back to the page."
    return [*told, _step("end", "Now one of yours", line, notes, points=points)]


def _turn(space: Space, ranks: dict[Space, int]) -> str:
    """What one space makes of the hard picture, as a line of the story."""
    name = SPACE_WORDS[str(space)]["name"]
    if not ranks:
        return name
    return f"{name}: " + ("the source stands first" if ranks[space] == 1 else f"the source is number {ranks[space]:,}")


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
