"""Twenty people at once: is every answer right, does everybody get their share, how long do they wait, what does it hold.

    python -m benchmarks.visitors --visitors 50 --seconds 60 --json visitors.json

The server is `python app.py` on this machine, as the visitors are; the baseline is one visitor alone. Each is a session of its own
that asks as the page's scripts do, without a pause: examples and pictures of their own, the same mix for all. An answer is right
when it names the visitor's file and its first match in each space, as this process found them. Jain's index of the answers per
visitor is 1 when all got as many, 1/n when one got all.
"""

from __future__ import annotations

import asyncio
import io
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from PIL import Image

from benchmarks.common import arguments, finish, machine_line, memory_of, percentiles, run, table
from benchmarks.serving import ServerError, Visitor, started

if TYPE_CHECKING:
    from aad.answers import Attribution
    from aad.attribution import Attributor

K_CHOICES = (5, 8, 15, 30)  # as on the page
MAX_FAULTS = 20  # after which a visitor leaves: the server is gone, or wrong throughout
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


def questions(attributor: Attributor, n_visitors: int, n_each: int) -> list[list[Question]]:
    """What each visitor asks, with the right answers: the same mix for all, so that equal service gives equal counts.

    Args:
        attributor: An `aad.Attributor` of the bundle that the server has.
        n_visitors: How many people.
        n_each: Questions of each; of ten three are bundled examples, the others pictures that nobody else brings.

    Returns:
        (n_visitors, n_each) questions.
    """
    rng = random.Random(0)
    examples = list(attributor.examples) or list(range(len(attributor.queries)))

    def example() -> Question:
        query_id = rng.choice(examples)
        name, found = attributor.queries[query_id].path.name, attributor.attribute_query(query_id, 1)
        return Question(query_id, name, b"", first_of(found))

    def upload(visitor: int, number: int) -> Question:
        form, options = FORMATS[number % len(FORMATS)]
        with Image.open(attributor.queries[rng.randrange(len(attributor.queries))].path) as opened:
            picture = opened.convert("RGB").resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)
        picture.putpixel((visitor % picture.width, number), (visitor % 256, 0, 255))  # no two files are the same
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        with Image.open(buffer) as written:  # as the server will see it
            found = attributor.attribute(written, 1)
        return Question(None, f"picture{visitor}-{number}.{form}", buffer.getvalue(), first_of(found))

    return [
        [example() if number % 10 in EXAMPLES_OF_TEN else upload(visitor, number) for number in range(n_each)]
        for visitor in range(n_visitors)
    ]


def first_of(found: Attribution) -> dict[str, int]:
    """The first match in each space."""
    return {str(space): found[space].matches[0].reference_id for space in found.spaces}


def fault_of(question: Question, answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer; None when it is the question's own."""
    if answer.get("status") != "answer":
        return f"{question.name}: {answer.get('text') or answer.get('status')}"
    shown, number = answer["query"].get("url"), answer["query"].get("id")
    if question.query_id is None and not str(shown).endswith("/" + quote(question.name)):
        return f"{question.name}: the answer is about {shown}"
    if question.query_id is not None and number != question.query_id:
        return f"{question.name}: the answer is about example {number}"
    named = {space: part["matches"][0]["id"] for space, part in answer["spaces"].items()}
    return None if named == question.best else f"{question.name}: first matches {named}, expected {question.best}"


@dataclass(slots=True)
class Record:
    """What one visitor met with."""

    waits: dict[str, list[float]] = field(default_factory=lambda: {"example": [], "upload": []})  # milliseconds
    faults: list[str] = field(default_factory=list)

    @property
    def n_answers(self) -> int:
        """Questions answered, rightly or not."""
        return sum(map(len, self.waits.values()))


async def visit(address: str, asked: Sequence[Question], done: Callable[[Record], bool], *, seed: int = 0) -> Record:
    """One visitor who asks questions in turn until ``done`` says so; faults are kept, not raised."""
    rng, record = random.Random(seed), Record()
    async with Visitor(address) as visitor:
        for number in range(10**9):
            if done(record) or len(record.faults) >= MAX_FAULTS:
                break
            question, k = asked[number % len(asked)], rng.choice(K_CHOICES)
            try:
                if question.query_id is not None:
                    kind, reply = "example", await visitor.example(question.query_id, k)
                else:
                    kind, reply = "upload", await visitor.upload(question.name, question.content, k)
            except (ServerError, httpx.HTTPError) as error:
                record.faults.append(f"{question.name}: {error or type(error).__name__}")
                continue
            record.waits[kind].append(reply.total_ms)
            if fault := fault_of(question, reply.answer):
                record.faults.append(fault)
    return record


async def crowd(
    address: str, asked: Sequence[Sequence[Question]], n: int, done: Callable[[Record], bool]
) -> list[Record]:
    """The first n visitors at once, each with the questions that are theirs."""
    return await asyncio.gather(*(visit(address, asked[i], done, seed=i) for i in range(n)))


def summary(who: str, records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """One line of the report: rates, waits, fairness and faults of some visitors together."""
    counts = [record.n_answers for record in records]
    line: dict[str, Any] = {"who": who, "visitors": len(records), "answers": sum(counts)}
    line["answers_per_s"] = sum(counts) / seconds
    for kind in ("example", "upload"):
        waits = [wait for record in records for wait in record.waits[kind]]
        line[f"{kind}_p50_ms"], line[f"{kind}_p95_ms"] = percentiles(waits) if waits else (None, None)
    means = [sum(map(sum, one.waits.values())) / one.n_answers for one in records if one.n_answers]
    squares = len(counts) * sum(count * count for count in counts)
    return line | {
        "least_of_most": min(counts) / max(counts) if any(counts) else 0.0,
        "jain": sum(counts) ** 2 / squares if squares else 0.0,
        "mean_wait_most_of_least": max(means) / min(means) if means else None,
        "faults": sum(len(record.faults) for record in records),
    }


def until(ends: float) -> Callable[[Record], bool]:
    """For `visit`: whether it is that late."""
    return lambda _: time.perf_counter() >= ends


def measure(n: int, seconds: float) -> dict[str, Any]:
    """The report's figures, from a server that is started for them."""
    from aad import Attributor

    asked = questions(Attributor.load(), max(2, n), 10)
    with started("app.py", "--port") as server:
        server.wait()
        # The model is loaded, and the first answer of each kind is behind us, before anything is counted.
        asyncio.run(crowd(server.address, asked, 2, lambda record: record.n_answers >= 4 or bool(record.faults)))
        before = memory_of(server.process.pid)
        lines, faults = [], []
        for who, number in (("one alone", 1), ("all at once", n)):
            began = time.perf_counter()
            found = asyncio.run(crowd(server.address, asked, number, until(began + seconds)))
            lines.append(summary(who, found, time.perf_counter() - began))
            faults += [fault for record in found for fault in record.faults]
        after = memory_of(server.process.pid)
    memory = {"before": before["resident_mb"], "after": after["resident_mb"], "peak": after["peak_mb"]}
    return {"baseline": "one alone", "rows": lines, "memory_mb": memory, "faults": faults[:20]}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table and one line of JSON.

    Returns:
        0 when every answer was right, 1 when not.

    Raises:
        ServerError, httpx.HTTPError: the server could not be had.
    """
    options = arguments(__doc__, visitors=20, seconds=30).parse_args(argv)
    report = measure(options.visitors, options.seconds)
    for fault in report["faults"]:
        print(fault, file=sys.stderr)
    finish(options.json, {"seconds": options.seconds, **report}, tables)
    return int(bool(report["faults"]))


def tables(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    columns = {
        "who": "who",
        "visitors": "visitors",
        "answers_per_s": "answers a second",
        "example_p50_ms": "example, median ms",
        "example_p95_ms": "95th percentile",
        "upload_p50_ms": "upload, median ms",
        "upload_p95_ms": "95th percentile",
        "least_of_most": "fewest answers / most",
        "jain": "Jain",
        "mean_wait_most_of_least": "longest mean wait / shortest",
        "faults": "faults",
    }
    memory = ", ".join(f"{when} {size:,.0f} MB" for when, size in report["memory_mb"].items())
    parts = (table(report["rows"], columns), f"Memory of the server: {memory}", machine_line(report["machine"]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    run(main)
