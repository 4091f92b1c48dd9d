"""The public API: named endpoints, for gradio_client and curl."""

from typing import Any

from interface.handlers import attribute_file


def add_endpoints(attributor: Any) -> None:
    """Add the public endpoints to the page that is being built.

    Their parts are not in the page; a file, not an image, so that the bytes stay as sent.
    """
    import gradio as gr

    def attribute(image: str, k: float = 10) -> dict[str, Any]:
        """The k closest pictures of the collection to an image file, in each of the three spaces, with weights."""
        return attribute_file(attributor, image, k)

    file = gr.File(type="filepath", label="image", visible=False)
    k = gr.Number(10, label="k", visible=False)
    reply = gr.JSON(label="attribution", visible=False)
    gr.Button(visible=False).click(
        attribute, [file, k], reply, api_name="attribute", concurrency_limit=2, concurrency_id="uploads"
    )
