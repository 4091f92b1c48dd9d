"""An image input that hands on the uploaded file untouched, where gr.Image would open it and fail without a word."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


class OriginalImage(gr.Image):
    """gr.Image with the file as it came: what is no picture is refused later, in words."""

    def preprocess(self, payload: Any) -> str | None:
        """The path of what was uploaded."""
        return payload.path if payload else None

    def postprocess(self, value: Any) -> Any:
        """A path as what the browser shows."""
        return ImageData(path=value, orig_name=Path(value).name) if value else None

    def get_block_name(self) -> str:
        """Drawn by the browser's part for images."""
        return "image"
