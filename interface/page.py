"""The page's parts in order, tied to Gradio.

Four views share one page: compare (a picture, its columns, the maps), inspect (every evaluated query), why (the theory,
measured) and batch (many pictures). A part is an empty slot that a function of assets/ui fills; `PARTS` names the functions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aad import Attributor
from interface import explain, handlers, inspection, present, scripts, takeaway, talk, why
from interface.endpoints import add_endpoints
from interface.gradio_gaps import original_image
from interface.pictures import is_picture, places, to_serve

HERE = Path(__file__).resolve().parent.parent
TITLE = "Where did this image come from?"
MASTHEAD = f"""<header><h1>{TITLE}</h1>
<p>Give a synthetic picture and see which training pictures it may stem from.</p>
<p class="term">Synthetic image attribution: alignment and disentanglement</p></header>"""
K_CHOICES = (5, 8, 15, 30)
DEFAULT_K = 8
MAX_BYTES = 20_000_000  # of an upload; the page refuses larger files in words before they are sent


def build_app(attributor: Attributor) -> Any:
    """The whole page for one attributor.

    Args:
        attributor: An `aad.Attributor`, or a stand-in with its attributes.

    Returns:
        A `gradio.Blocks`; start it with `serve`.
    """
    picture_box = original_image()  # first of all: it imports gradio in its own way
    import gradio as gr

    private = [Path.cwd(), Path.home(), HERE]
    gr.set_static_paths(to_serve([*places(attributor), *attributor.absent], private=private))

    def part(name: str, value: Any = None, functions: Sequence[Callable[..., Any]] = ()) -> Any:
        """A slot that ``mount.name`` of assets/ui/page.js fills; ``functions`` can be called from there."""
        tools = "{ trigger, watch, upload" + (", server }" if functions else " }")
        return gr.HTML(
            value,
            elem_id=name,
            elem_classes=["part"],
            html_template='<div class="slot"></div>',
            js_on_load=f"{scripts.load()}.then(({{ mount }}) => mount.{name}(element, props, {tools}));",
            apply_default_css=False,
            server_functions=list(functions) or None,
        )

    first = attributor.examples[0] if attributor.examples else None
    boxed = None if first is None else attributor.queries[first].path
    opening = present.message("empty") if first is None else handlers.answer(attributor, "query", first, DEFAULT_K)

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 82800)) as demo:
        gr.HTML(MASTHEAD, elem_id="masthead", apply_default_css=False)
        part("nav")
        with gr.Column(elem_id="view-compare", min_width=0):
            with gr.Row(elem_id="stage"):
                with gr.Column(elem_id="ask", min_width=0):
                    image = picture_box(
                        str(boxed) if boxed and is_picture(boxed) else None,  # Gradio copies and serves whatever it is
                        type="filepath",
                        image_mode=None,
                        sources=["upload", "clipboard"],
                        buttons=[],
                        show_label=False,
                        label="A synthetic picture",
                        placeholder="Drop or paste a picture\nor click to choose a file",
                        elem_id="query-picture",
                    )
                    shelf = {**present.catalogue(attributor), "max_bytes": MAX_BYTES, "k_choices": K_CHOICES}
                    # as one text: Gradio wraps every entry of an object
                    strip = part("examples", json.dumps(shelf), handlers.functions(attributor))
                with gr.Column(elem_id="reply", min_width=0):
                    part("options")
                    shown = part("answer", opening)
            part("explain", explain.value(attributor), explain.functions(attributor))
            part("maps")
            part("details")
        with gr.Column(elem_id="view-inspect", min_width=0):
            part("inspect", inspection.value(attributor), inspection.functions(attributor))
        files = takeaway.functions(attributor)
        with gr.Column(elem_id="view-batch", min_width=0):
            part("batch", {**takeaway.value(attributor), "queries": present.own_queries(attributor)}, files)
        with gr.Column(elem_id="view-why", min_width=0):
            part("why", why.value(attributor))
        part("imprint", present.stamp(attributor))
        part("takeaway", takeaway.value(attributor), files)
        part("talk", functions=talk.functions(attributor))

        # However requests overtake each other, picture and answer belong together: the page drops an answer to anything but what
        # was asked last, and puts the picture of the one that it takes into the box itself. No reply of the server does so.
        # k and the filter, as JSON, come from the page's state: these are only their way in.
        k, wanted = gr.Number(DEFAULT_K, visible=False), gr.Textbox("{}", visible=False)

        def on_select(event: gr.SelectData) -> Any:
            asked = event.value if isinstance(event.value, dict) else {}
            kind = "reference" if asked.get("kind") == "reference" else "query"
            k = asked["k"] if asked.get("k") in K_CHOICES else DEFAULT_K
            return handlers.answer(attributor, kind, event.index, k, asked.get("filter"))

        def on_upload(path: str | None, k: int, wanted: str) -> Any:
            return handlers.answer(attributor, "upload", path, k, json.loads(wanted))

        def calls(function: str) -> str:
            return f"async (...given) => (await {scripts.load()}).{function}(...given)"

        here: dict[str, Any] = {"fn": None, "api_visibility": "private"}  # done in the browser, nothing is sent
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # Each is asked for by itself: of several examples Gradio would repeat the first, where it promises the last.
        each: dict[str, Any] = {"trigger_mode": "multiple"}
        # Two at once: one is decoded while the network has the other. Scripts wait in lanes of their own, see endpoints.py.
        slow = {**quiet, "concurrency_limit": 2, "concurrency_id": "uploads"}
        picture = [image, k, wanted]
        image.clear(js=calls("cleared"), **here)
        image.change(inputs=image, js=calls("boxFilled"), **here, **each)
        strip.example_select(outputs=image, js=calls("boxedPicture"), **here, **each)
        events = [
            strip.select(on_select, None, shown, queue=False, **quiet, **each),
            image.upload(on_upload, picture, shown, js=calls("sending"), **slow, **each),
            strip.apply(on_upload, picture, shown, js=calls("sendAgain"), trigger_mode="always_last", **slow),
        ]
        for event in events:
            event.failure(None, js=calls("fail"), api_visibility="private")
        add_endpoints(attributor)
    # The size is of all lanes together: a script's hundred waiting calls must not turn a visitor away, who waits in a short lane.
    return demo.queue(max_size=1000, default_concurrency_limit=2)
