"""What the page's events do: plain functions of an `Attributor`, with answers as `aad.present` makes them."""

from collections.abc import Iterator
from typing import Any

from aad import present
from aad.backbones import BackboneError
from aad.images import ImageError

MAX_K = 100
WARMING = "The first uploaded picture takes a few seconds: the network is still loading."


def answer_example(attributor: Any, query_id: int, k: int) -> dict[str, Any]:
    """Answer to a bundled query: immediate, since its features are stored.

    Args:
        attributor: An `aad.Attributor`.
        query_id: Which bundled query.
        k: Matches per space.

    Returns:
        What the page draws, see `aad.present.answer`; an error message when there is no such query.
    """
    if not 0 <= query_id < len(attributor.queries):
        return present.message("error", f"There is no example {query_id}: choose one of the strip.")
    result = attributor.attribute_query(query_id, k)
    return present.answer(result, k=k, ready=attributor.ready, query=present.example(attributor, query_id))


def answer_upload(attributor: Any, path: str | None, k: int) -> dict[str, Any]:
    """Answer to an uploaded file; a file that is no usable picture gives an error message, and the app goes on."""
    if path is None:
        return present.message("empty")
    try:
        result = attributor.attribute(path, k)
    except (ImageError, BackboneError) as error:
        return present.message("error", str(error))
    return present.answer(result, k=k, ready=attributor.ready, query={"url": present.file_url(path)})


def stream_upload(attributor: Any, path: str | None, k: int) -> Iterator[dict[str, Any]]:
    """`answer_upload`, preceded by a word of patience while the backbone is still loading."""
    if path is not None and not attributor.ready:
        yield present.message("warming", WARMING, ready=False)
    yield answer_upload(attributor, path, k)


def attribute_file(attributor: Any, path: str | None, k: float) -> dict[str, Any]:
    """The `/attribute` endpoint.

    Args:
        attributor: An `aad.Attributor`.
        path: The image file.
        k: Matches per space, a whole number from 1 to 100.

    Returns:
        See `aad.present.api_answer`.

    Raises:
        gradio.Error: No image, an unreadable one, or a k out of range; its text reaches the client.
    """
    import gradio as gr

    if path is None:
        raise gr.Error("attribute needs an image file, got none.")
    if not isinstance(k, int | float) or not float(k).is_integer() or not 1 <= k <= MAX_K:
        raise gr.Error(f"k must be a whole number from 1 to {MAX_K}, got {k!r}.")
    try:
        return present.api_answer(attributor, attributor.attribute(path, int(k)), k=int(k))
    except (ImageError, BackboneError) as error:
        raise gr.Error(str(error)) from error
