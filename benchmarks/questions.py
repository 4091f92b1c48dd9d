"""What visitors ask, with the right answers known beforehand, and what is wrong with an answer."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.client import belongs

if TYPE_CHECKING:
    from aad.attribution import Attributor

FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (("jpeg", {"quality": 90}), ("png", {}), ("webp", {"quality": 85}))
SIZES = ((512, 512), (768, 512), (512, 768), (640, 640))
EXAMPLES_OF_TEN = (2, 5, 8)  # by their place among ten questions


@dataclass(frozen=True, slots=True)
class Question:
    """What a visitor asks: a bundled query, or a file; and the right answer.

    Attributes:
        query_id: Number of the bundled query; None for a file.
        name: File name.
        content: Of the file.
        best: Space -> the reference that must come first.
    """

    query_id: int | None
    name: str
    content: bytes
    best: dict[str, int]


def questions(attributor: Attributor, n_visitors: int, n_each: int, *, seed: int = 0) -> list[list[Question]]:
    """What each visitor asks, with the right answers: the same mix for all, so that equal service gives equal counts.

    Args:
        attributor: An `aad.Attributor` of the bundle that the server has.
        n_visitors: How many people.
        n_each: Questions of each; of ten three are bundled examples, the others pictures that nobody else brings.
        seed: Everything follows from it.

    Returns:
        (n_visitors, n_each) questions.
    """
    rng = random.Random(seed)
    examples = list(attributor.examples) or list(range(len(attributor.queries)))

    def example() -> Question:
        query_id = rng.choice(examples)
        result = attributor.attribute_query(query_id, 1)
        return Question(query_id, attributor.queries[query_id].path.name, b"", _best(result))

    def upload(visitor: int, number: int) -> Question:
        form, options = FORMATS[number % len(FORMATS)]
        with Image.open(attributor.queries[rng.randrange(len(attributor.queries))].path) as opened:
            picture = opened.convert("RGB").resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)
        picture.putpixel((visitor % picture.width, number), (visitor % 256, 0, 255))  # no two files are the same
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        with Image.open(buffer) as written:  # as the server will see it
            result = attributor.attribute(written, 1)
        return Question(None, f"picture{visitor}-{number}.{form}", buffer.getvalue(), _best(result))

    return [
        [example() if number % 10 in EXAMPLES_OF_TEN else upload(visitor, number) for number in range(n_each)]
        for visitor in range(n_visitors)
    ]


def _best(result: Any) -> dict[str, int]:
    return {str(space): result[space].matches[0].reference_id for space in result.spaces}


def fault_of(question: Question, answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer; None when it is the question's own."""
    if answer.get("status") != "answer":
        return f"{question.name}: {answer.get('text') or answer.get('status')}"
    if question.query_id is None and not belongs(answer, question.name):
        return f"{question.name}: the answer is about {answer['query'].get('url')}"
    if question.query_id is not None and answer["query"].get("id") != question.query_id:
        return f"{question.name}: the answer is about example {answer['query'].get('id')}"
    named = {space: part["matches"][0]["id"] for space, part in answer["spaces"].items()}
    return None if named == question.best else f"{question.name}: first matches {named}, expected {question.best}"
