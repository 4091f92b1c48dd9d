"""The public API: named endpoints, for gradio_client and curl. docs/api.md has an example of each."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from aad import Attributor
from interface import present
from interface.report import Case, report
from interface.requests import FAULTS, MAX_K, Refused, whole
from interface.takeaway import MAX_FILES

MAX_ROWS = 1000  # of a table in one call


def add_endpoints(attributor: Attributor) -> None:
    """Add the public endpoints to the page that is being built.

    Their parts are not in the page; files, not images, so that the bytes stay as sent.
    """
    import gradio as gr

    def attribute(image: str, k: float = 10) -> dict[str, Any]:
        """The k closest pictures of the collection to an image file, in each of the three spaces, with weights."""
        return attribute_file(attributor, image, k)

    def attribute_batch(images: list[str], k: float = 10) -> dict[str, Any]:
        """As /attribute for up to 100 files, one after the other; a file that is no usable picture has an error in its place."""
        return attribute_files(attributor, images, k)

    def references(start: float = 0, count: float = 100) -> dict[str, Any]:
        """What is known of the collection's pictures, up to 1000 from the one numbered start."""
        return list_references(attributor, start, count)

    def bundled_queries(start: float = 0, count: float = 100) -> dict[str, Any]:
        """The bundled synthetic pictures with their true sources, up to 1000 from the one numbered start."""
        return list_queries(attributor, start, count)

    def make_report(images: list[str], k: float = 8) -> str:
        """One HTML file about up to 100 image files: three columns each, maps, sources, licences and what computed it."""
        return report_file(attributor, images, k)

    def publish(name: str, function: Callable[..., Any], inputs: Sequence[Any], output: Any, queue: str) -> None:
        @functools.wraps(function)
        def in_words(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except FAULTS as error:  # an upload's name is for its visitor, not the log
                raise gr.Error(str(error), print_exception=False) from error

        gr.Button(visible=False).click(
            in_words,
            list(inputs),
            output,
            api_name=name,
            concurrency_limit=1,
            concurrency_id=queue,
        )

    def number(default: int, label: str) -> Any:
        return gr.Number(default, label=label, visible=False)

    def reply(label: str) -> Any:
        return gr.JSON(label=label, visible=False)

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


def attribute_file(attributor: Attributor, path: str | None, k: float) -> dict[str, Any]:
    """The `/attribute` endpoint; see `interface.present.api_answer`.

    Raises:
        Refused: No image, or a k that is no whole number from 1 to 100.
        ImageError, BackboneError, ConnectionError: As `Attributor.attribute`.
    """
    if path is None:
        raise Refused("attribute needs an image file, got none.")
    n = whole("k", k, 1, MAX_K)
    return present.api_answer(attributor, attributor.attribute(path, n), k=n)


def attribute_files(attributor: Attributor, images: Sequence[str] | None, k: float) -> dict[str, Any]:
    """The `/attribute_batch` endpoint.

    Returns:
        `k`, `results` in the order of the files (`{"file", "spaces"}` or `{"file", "error"}`), and once for all of them the
        `references` named and the `stamp`, as `/attribute` has them.

    Raises:
        Refused: no files, too many, or a k out of range.
    """
    files, n = _files("attribute_batch", images), whole("k", k, 1, MAX_K)
    results: list[dict[str, Any]] = []
    named: dict[str, Any] = {}
    for path in files:
        try:
            found = attributor.attribute(path, n)
        except FAULTS as error:
            results.append({"file": _name(path), "error": str(error)})
            continue
        named |= present.api_answer(attributor, found, k=n)["references"]
        results.append({"file": _name(path), "spaces": found.to_dict()})
    return {"k": n, "results": results, "references": named, "stamp": dict(attributor.stamp)}


def report_file(attributor: Attributor, images: Sequence[str] | None, k: float) -> str:
    """The `/report` endpoint: the path of a new HTML file among those that the server deletes within a day.

    Raises:
        Refused: no files, too many, a k out of range, or not one usable picture among them.
    """
    from gradio.processing_utils import save_bytes_to_cache
    from gradio.utils import get_upload_folder

    files, n = _files("report", images), whole("k", k, 1, MAX_K)
    cases, refused = [], []
    for path in files:
        try:
            cases.append(Case(_name(path), path, attributor.attribute(path, n)))
        except FAULTS as error:
            refused.append((_name(path), str(error)))
    if not cases:
        raise Refused(f"report needs at least one usable picture: {refused[0][1]}")
    return save_bytes_to_cache(report(attributor, cases, refused).encode(), "report.html", get_upload_folder())


def list_references(attributor: Attributor, start: float, count: float) -> dict[str, Any]:
    """The `/references` endpoint; no path of the server is told."""
    fields = ("reference_id", "title", "source", "licence", "author", "url", "concept", "group", "split")
    return _page("references", attributor.references, fields, start, count)


def list_queries(attributor: Attributor, start: float, count: float) -> dict[str, Any]:
    """The `/bundled_queries` endpoint; `examples` are those of the page's strip."""
    fields = ("query_id", "type", "generator", "split", "concept", "exemplar_ids")
    return _page("queries", attributor.queries, fields, start, count) | {"examples": list(attributor.examples)}


def _page(name: str, rows: Sequence[Any], fields: Sequence[str], start: float, count: float) -> dict[str, Any]:
    first, most = whole("start", start, 0, len(rows)), whole("count", count, 1, MAX_ROWS)
    chosen = rows[first : first + most]
    return {
        "total": len(rows),
        "start": first,
        name: [{field: getattr(row, field) for field in fields} for row in chosen],
    }


def _files(endpoint: str, images: Sequence[str] | None) -> list[str]:
    if not images:
        raise Refused(f"{endpoint} needs a list of image files, got none.")
    if len(images) > MAX_FILES:
        raise Refused(f"{endpoint} takes at most {MAX_FILES} files in one call, got {len(images)}; send them in parts.")
    return list(images)


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
