"""The server's settings: look, limits, and nothing that calls out."""

from collections.abc import Callable
from typing import Any

from interface.page import MAX_BYTES, UI


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
        "css_paths": [UI / "page.css", *sorted(path for path in UI.glob("*.css") if path.name != "page.css")],
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
