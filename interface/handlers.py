"""What the page's events do: plain functions of an `Attributor`, with answers as `interface.present` makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aad.backbones import BackboneError
from aad.images import ImageError
from interface import present

if TYPE_CHECKING:
    from aad.attribution import Attributor

MAX_K = 100
WARMING = "The first uploaded picture takes a few seconds: the network is still loading."
MISFIT = "This cannot be asked here"  # heads an error about a question, not about a picture

#: field -> values allowed there, as `interface.filters.chosen` takes it
Filter = Mapping[str, Sequence[str]]


def answer_example(attributor: "Attributor", query_id: int, k: int, wanted: Filter | None = None) -> dict[str, Any]:
    """Answer to a bundled query: immediate, since its features are stored.

    Args:
        attributor: An `aad.Attributor`.
        query_id: Which bundled query.
        k: Matches per space.
        wanted: A filter of the gallery; None searches everything.

    Returns:
        What the page draws, see `interface.present.answer`; an error message when there is no such query.
    """
    if not _is_row(query_id, attributor.queries):
        return present.message("error", f"There is no example {query_id}: choose one of the strip.", title=MISFIT)
    return _answer(
        attributor,
        lambda **among: attributor.attribute_query(query_id, k, **among),
        lambda: present.example(attributor, query_id),
        k,
        wanted,
    )


def answer_reference(
    attributor: "Attributor", reference_id: int, k: int, wanted: Filter | None = None
) -> dict[str, Any]:
    """Answer to a picture of the collection, searched again; it is not listed among its own answers."""
    if not _is_row(reference_id, attributor.references):
        return present.message("error", f"There is no picture {reference_id} in this collection.", title=MISFIT)
    return _answer(
        attributor,
        lambda **among: attributor.attribute_reference(reference_id, k, **among),
        lambda: present.reference(attributor, reference_id),
        k,
        wanted,
    )


def answer_upload(attributor: "Attributor", path: str | None, k: int, wanted: Filter | None = None) -> dict[str, Any]:
    """Answer to an uploaded file; a file that is no usable picture gives an error message, and the app goes on."""
    if path is None:
        return present.message("empty")
    return _answer(
        attributor,
        lambda **among: attributor.attribute(path, k, **among),
        lambda: {"url": present.file_url(path)},
        k,
        wanted,
    )


def stream_upload(
    attributor: "Attributor", path: str | None, k: int, wanted: Filter | None = None
) -> Iterator[dict[str, Any]]:
    """`answer_upload`, preceded by a word of patience while the backbone is still loading."""
    if path is not None and not attributor.ready:
        yield present.message("warming", WARMING, ready=False)
    yield answer_upload(attributor, path, k, wanted)


def attribute_file(attributor: "Attributor", path: str | None, k: float) -> dict[str, Any]:
    """The `/attribute` endpoint.

    Args:
        attributor: An `aad.Attributor`.
        path: The image file.
        k: Matches per space, a whole number from 1 to 100.

    Returns:
        See `interface.present.api_answer`.

    Raises:
        gradio.Error: No image, an unreadable one, or a k out of range; its text reaches the client.
    """
    import gradio as gr

    if path is None:
        raise gr.Error("attribute needs an image file, got none.", print_exception=False)
    if (
        not isinstance(k, int | float) or not 1 <= k <= MAX_K or k != int(k)
    ):  # the range first: an integer may pass any float
        raise gr.Error(f"k must be a whole number from 1 to {MAX_K}, got {k!r}.", print_exception=False)
    try:
        return present.api_answer(attributor, attributor.attribute(path, int(k)), k=int(k))
    except (ImageError, BackboneError, ConnectionError) as error:
        raise gr.Error(str(error), print_exception=False) from error  # an upload's name is for its visitor, not the log


def _is_row(number: Any, rows: Sequence[Any]) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(rows)


def _answer(
    attributor: "Attributor",
    attribute: Callable[..., Any],
    describe: Callable[[], dict[str, Any]],
    k: Any,
    wanted: Filter | None,
) -> dict[str, Any]:
    """One search: ``attribute`` is called with the references that the filter leaves, or with nothing where it leaves all."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MAX_K:
        return present.message("error", f"k must be a whole number from 1 to {MAX_K}, got {k!r}.", title=MISFIT)
    if wanted is not None and not isinstance(wanted, Mapping):
        return present.message("error", f"a filter names fields and values, got {wanted!r}.", title=MISFIT)
    try:
        gallery, among = present.gallery(attributor, wanted or {})
    except ValueError as error:
        return present.message("error", str(error), title=MISFIT)
    if gallery is not None and not gallery["n"]:
        text = "No picture of the collection passes this filter. Take something out of it, or clear it."
        return present.message("error", text, title="Nothing to search in")
    try:
        result = attribute() if among is None else attribute(among=among)
        query = describe()
        copies = {
            space: attributor.near_copies([match.reference_id for match in result[space].matches])
            for space in result.spaces
        }
    except (ImageError, BackboneError) as error:
        return present.message("error", str(error))
    except ConnectionError as error:
        return present.message("error", str(error), title="The collection is out of reach")
    if gallery is not None and "ranks" in query:
        query = {**query, "ranks": {}}  # a rank in the whole collection would contradict the column beside it
    return present.answer(
        result,
        k=k,
        ready=attributor.ready,
        query=query,
        gallery=gallery,
        copies=copies,
    )
