"""The page: a synthetic image in, its closest training sources in three spaces out.

    python app.py                       # the bundle that ships with the project
    python app.py --bundle FOLDER       # your own, built with `python -m precompute.run`

Handlers are plain functions of an `Attributor`; `build_app` ties them to Gradio. What is shown is drawn by assets/ui.
"""

import argparse
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aad import present
from aad.artifacts import BundleError
from aad.backbones import BackboneError
from aad.images import ImageError

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: the page and the server stay offline

HERE = Path(__file__).resolve().parent
UI = HERE / "assets" / "ui"
SCRIPTS = ("common.js", "marks.js", "map.js", "examples.js", "answer.js", "maps.js", "details.js", "about.js")
TITLE = "Where did this image come from?"
MASTHEAD = f"""<header><h1>{TITLE}</h1>
<p>Give a synthetic picture and see which training pictures it may stem from.</p>
<p class="term">Synthetic image attribution: alignment and disentanglement</p></header>"""
K_CHOICES = (5, 8, 15, 30)
DEFAULT_K = 8
MAX_K = 100
MAX_BYTES = 20_000_000  # of an upload; the page refuses larger files in words before they are sent
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


def build_app(attributor: Any) -> Any:
    """The whole page for one attributor.

    Args:
        attributor: An `aad.Attributor`, or a stand-in with its attributes.

    Returns:
        A `gradio.Blocks`; start it with `serve`.
    """
    import gradio as gr
    from gradio.data_classes import ImageData

    class OriginalImage(gr.Image):
        """Hands on the uploaded file untouched, where gr.Image would open it and fail without a word."""

        def preprocess(self, payload: Any) -> str | None:
            return payload.path if payload else None

        def postprocess(self, value: Any) -> Any:
            return ImageData(path=value, orig_name=Path(value).name) if value else None

        def get_block_name(self) -> str:
            return "image"

    shown = [attributor.queries[query_id] for query_id in attributor.examples]
    pictures = [item.path for item in (*attributor.references, *shown)]
    gr.set_static_paths([UI, *present.served_paths(pictures, private=[Path.cwd(), Path.home(), HERE])])
    scripts = "".join(f'<script src="{present.file_url(UI / name)}"></script>' for name in SCRIPTS)

    def part(name: str, call: str, value: Any = None) -> Any:
        return gr.HTML(
            value,
            elem_id=name,
            html_template='<div class="slot"></div>',
            js_on_load=f"window.attributionPage.{call};",
            head=scripts,
            apply_default_css=False,
        )

    first = attributor.examples[0] if attributor.examples else None
    opening = present.message("empty") if first is None else answer_example(attributor, first, DEFAULT_K)

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 82800)) as demo:
        gr.HTML(MASTHEAD, elem_id="masthead", apply_default_css=False)
        with gr.Row(elem_id="stage"):
            with gr.Column(elem_id="ask", min_width=0):
                image = OriginalImage(
                    None if first is None else str(attributor.queries[first].path),
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard"],
                    buttons=[],
                    show_label=False,
                    label="A synthetic picture",
                    placeholder="Drop or paste a picture\nor click to choose a file",
                    elem_id="query-picture",
                )
                shelf = {**present.catalogue(attributor), "max_bytes": MAX_BYTES}
                strip = part("examples", "mountExamples(element, props, trigger)", shelf)
                k = gr.Radio(
                    list(K_CHOICES), value=DEFAULT_K, label="Matches per column", elem_id="k-choice", container=False
                )
            with gr.Column(elem_id="reply", min_width=0):
                answer = part("answer", "mountAnswer(element, props, watch)", opening)
        part("maps", "mountMaps(element)")
        part("details", "mountDetails(element)")
        part("about", "mountAbout(element, props)", present.about(attributor))

        # Every handler returns the picture with its answer: however requests overtake each other, the two belong together.
        bundled = {str(attributor.queries[query_id].path): query_id for query_id in attributor.examples}

        def on_select(k: int, event: gr.SelectData) -> Any:
            query_id = int(event.index)
            return str(attributor.queries[query_id].path), answer_example(attributor, query_id, k)

        def on_upload(path: str | None, k: int) -> Any:
            for step in stream_upload(attributor, path, k):
                yield path, step

        def on_k(path: str | None, k: int) -> Any:
            query_id = bundled.get(path or "")
            answer = answer_upload(attributor, path, k) if query_id is None else answer_example(attributor, query_id, k)
            return path, answer

        def on_clear() -> Any:
            return None, present.message("empty")

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
        fast = {**quiet, "queue": False}
        slow = {**quiet, "concurrency_limit": 2, "concurrency_id": "uploads"}
        # Registered first: the browser runs an event's listeners in order, and a quick answer must come after this.
        for trigger in (image.upload, k.input):
            trigger(None, js="() => window.attributionPage.busy('Looking it up…')", api_visibility="private")
        events = [
            strip.select(on_select, [k], [image, answer], **fast),
            image.upload(on_upload, [image, k], [image, answer], **slow),
            k.input(on_k, [image, k], [image, answer], **slow),
            image.clear(on_clear, None, [image, answer], **fast),
        ]
        for event in events:
            event.failure(None, js="() => window.attributionPage.fail()", api_visibility="private")
        _add_endpoint(gr, attributor)
    return demo.queue(max_size=64, default_concurrency_limit=2)


def _add_endpoint(gr: Any, attributor: Any) -> None:
    """The one public endpoint. Its parts are not in the page; a file, not an image, so that the bytes stay as sent."""

    def attribute(image: str, k: float = 10) -> dict[str, Any]:
        """The k closest pictures of the collection to an image file, in each of the three spaces, with weights."""
        return attribute_file(attributor, image, k)

    file = gr.File(type="filepath", label="image", visible=False)
    k = gr.Number(10, label="k", visible=False)
    reply = gr.JSON(label="attribution", visible=False)
    gr.Button(visible=False).click(
        attribute, [file, k], reply, api_name="attribute", concurrency_limit=2, concurrency_id="uploads"
    )


def serve(demo: Any, **options: Any) -> tuple[str, Callable[[], None]]:
    """Start the server without blocking.

    Args:
        demo: From `build_app`.
        **options: Passed to `gradio.Blocks.launch`, over the settings the page needs.

    Returns:
        The local address, and a function that stops the server.
    """
    import gradio as gr

    font: list[Any] = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
    settings: dict[str, Any] = {
        "theme": gr.themes.Base(font=font, neutral_hue="stone", radius_size="none").set(
            body_background_fill="#fbfaf8", body_background_fill_dark="#161617"
        ),
        "css_paths": [UI / "page.css"],
        "favicon_path": UI / "favicon.svg",
        "footer_links": [],
        "max_file_size": MAX_BYTES,
        "enable_monitoring": False,
        "ssr_mode": False,
        "share": False,
        "prevent_thread_lock": True,
    }
    _, url, _ = demo.launch(**{**settings, **options})
    return url, demo.close


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted.

    Args:
        argv: Command line without the program's name; None reads `sys.argv`.

    Returns:
        0 when stopped, 2 when the bundle is missing or damaged.
    """
    from aad import Attributor

    parser = argparse.ArgumentParser(description="Serve the attribution page.")
    parser.add_argument("--bundle", type=Path, help="folder made by precompute (default: the one in assets/)")
    parser.add_argument("--host", help="address to listen on (default: this machine only; 0.0.0.0 for all)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also open a public gradio.live link")
    options = parser.parse_args(argv)
    try:
        attributor = Attributor.load(options.bundle)
    except BundleError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    demo = build_app(attributor)
    serve(demo, server_name=options.host, server_port=options.port, share=options.share)
    threading.Thread(target=attributor.warm_up, name="warm-up", daemon=True).start()
    demo.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
