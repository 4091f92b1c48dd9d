"""The public API: named endpoints, for gradio_client and curl. docs/api.md has an example of each."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aad import Attributor
from aad.answers import Attribution
from interface import present
from interface.decoder import decoded
from interface.pictures import REPORT
from interface.report import Case, report
from interface.requests import FAULTS, MAX_FILES, MAX_K, Refused, whole

MAX_ROWS = 1000  # of a table in one call


def functions(attributor: Attributor) -> tuple[Callable[..., Any], ...]:
    """The five, in order; their first sentences are the API's own words.

    What is no file, a k that is no whole number from 1 to 100, or a table's page out of range raises `Refused`; a picture that
    cannot be answered what `Attributor.attribute` raises.
    """

    def attribute(image: str, k: float = 10) -> dict[str, Any]:
        """The k closest pictures of the collection to an image file, in each of the three spaces, with weights."""
        if image is None:
            raise Refused("attribute needs an image file, got none.")
        n = whole("k", k, 1, MAX_K)
        found = attributor.attribute(decoded(image), n)
        known = present.named(attributor, found)
        return {**found.to_dict(), "k": n, "references": known, "stamp": dict(attributor.stamp)}

    def answers(endpoint: str, images: Sequence[str] | None, n: int) -> Iterator[tuple[str, str, Attribution | str]]:
        """Path, name, and what was found or why not, of each file."""
        if not images:
            raise Refused(f"{endpoint} needs a list of image files, got none.")
        if len(images) > MAX_FILES:
            text = f"{endpoint} takes at most {MAX_FILES} files in one call, got {len(images)}; send them in parts."
            raise Refused(text)
        for path in images:
            name = path.replace("\\", "/").rpartition("/")[2]
            try:
                yield path, name, attributor.attribute(decoded(path), n)
            except FAULTS as error:
                yield path, name, str(error)

    def attribute_batch(images: list[str], k: float = 10) -> dict[str, Any]:
        """As /attribute for up to 100 files, one after the other; a file that is no usable picture has an error in its place."""
        n, results = whole("k", k, 1, MAX_K), list[dict[str, Any]]()
        named: dict[str, Any] = {}
        for _, name, found in answers("attribute_batch", images, n):
            if isinstance(found, str):
                results.append({"file": name, "error": found})
            else:
                named |= present.named(attributor, found)
                spaces = found.to_dict()
                judged = {"verdict": spaces.pop("verdict")} if "verdict" in spaces else {}
                results.append({"file": name, "spaces": spaces, **judged})
        return {"k": n, "results": results, "references": named, "stamp": dict(attributor.stamp)}

    def make_report(images: list[str], k: float = 8) -> str:
        """One HTML file about up to 100 image files: three columns each, maps, sources, licences and what computed it."""
        from gradio.processing_utils import save_bytes_to_cache
        from gradio.utils import get_upload_folder

        cases, refused = [], []
        for path, name, found in answers("report", images, whole("k", k, 1, MAX_K)):
            if isinstance(found, str):
                refused.append((name, found))
            else:
                cases.append(Case(name, path, found))
        if not cases:
            raise Refused(f"report needs at least one usable picture: {refused[0][1]}")
        # among the files that the server deletes within a day
        return save_bytes_to_cache(report(attributor, cases, refused).encode(), REPORT, get_upload_folder())

    def rows(name: str, known: Sequence[Any], fields: Sequence[str], start: float, count: float) -> dict[str, Any]:
        first, most = whole("start", start, 0, len(known)), whole("count", count, 1, MAX_ROWS)
        shown = [{field: getattr(row, field) for field in fields} for row in known[first : first + most]]
        return {"total": len(known), "start": first, name: shown}

    def references(start: float = 0, count: float = 100) -> dict[str, Any]:
        """What is known of the collection's pictures, up to 1000 from the one numbered start."""
        fields = ("reference_id", *present.REFERENCE_FIELDS, "split")  # no path of the server is told
        return rows("references", attributor.references, fields, start, count)

    def bundled_queries(start: float = 0, count: float = 100) -> dict[str, Any]:
        """The bundled synthetic pictures with their true sources, up to 1000 from the one numbered start."""
        fields = ("query_id", "type", "generator", "split", "concept", "exemplar_ids")
        shown = rows("queries", attributor.queries, fields, start, count)
        return shown | {"examples": list(attributor.examples)}  # those of the page's strip

    return attribute, attribute_batch, make_report, references, bundled_queries


def add_endpoints(attributor: Attributor) -> None:
    """Add the public endpoints to the page that is being built.

    Their parts are not in the page; files, not images, so that the bytes stay as sent.
    """
    import gradio as gr

    def publish(name: str, function: Callable[..., Any], inputs: Sequence[Any], output: Any, queue: str) -> None:
        @functools.wraps(function)
        def in_words(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except FAULTS as error:  # an upload's name is for its visitor, not the log
                raise gr.Error(str(error), print_exception=False) from error

        event = gr.Button(visible=False).click
        event(in_words, list(inputs), output, api_name=name, concurrency_limit=1, concurrency_id=queue)

    def number(default: int, label: str) -> Any:
        return gr.Number(default, label=label, visible=False)

    def reply(label: str) -> Any:
        return gr.JSON(label=label, visible=False)

    attribute, attribute_batch, make_report, references, bundled_queries = functions(attributor)
    file = gr.File(type="filepath", label="image", visible=False)
    files = gr.File(type="filepath", file_count="multiple", label="images", visible=False)
    html = gr.File(label="report", visible=False)
    # Each kind has a lane of its own: many files wait for each other, not for one; a script's calls wait for each other, not
    # before a visitor of the page (lane "uploads", two at once); a table waits for none of them.
    publish("attribute", attribute, [file, number(10, "k")], reply("attribution"), "calls")
    publish("attribute_batch", attribute_batch, [files, number(10, "k")], reply("attributions"), "batches")
    publish("report", make_report, [files, number(8, "k")], html, "batches")
    page_of = [number(0, "start"), number(100, "count")]
    publish("references", references, page_of, reply("references"), "tables")
    publish("bundled_queries", bundled_queries, page_of, reply("queries"), "tables")
