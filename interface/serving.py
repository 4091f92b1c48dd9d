"""The server's settings: look, limits, and nothing that calls out."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interface import gradio_gaps, scripts
from interface.guard import Condition, Guard
from interface.page import MAX_BYTES
from interface.uploads import keep_swept


def serve(
    demo: Any, *, ready: Callable[[], bool] = lambda: True, uploads: Path | None = None, **options: Any
) -> tuple[str, Callable[[], None]]:
    """Start the server without blocking.

    Args:
        demo: From `build_app`.
        ready: What ``/readyz`` tells: whether an upload is answered without a wait.
        uploads: The folder of this server alone where uploads lie, see `interface.uploads`; None leaves it to gradio.
        **options: Passed to `gradio.Blocks.launch`, over the settings the page needs.

    Returns:
        The local address, and a function that stops the server when what it was asked is answered.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    condition, stopped = Condition(ready, live=lambda: gradio_gaps.is_alive(demo)), threading.Event()
    gradio_gaps.close_gaps(demo)
    font: list[Any] = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
    settings: dict[str, Any] = {
        "theme": gr.themes.Base(font=font, neutral_hue="stone", radius_size="none").set(
            body_background_fill="#fbfaf8", body_background_fill_dark="#161617"
        ),
        "css_paths": [
            scripts.UI / "page.css",
            *sorted(path for path in scripts.UI.glob("*.css") if path.name != "page.css"),
        ],
        "favicon_path": scripts.UI / "favicon.svg",
        "head": scripts.preloads(),
        "footer_links": [],
        "max_file_size": MAX_BYTES,
        "enable_monitoring": False,
        "state_session_capacity": gradio_gaps.SESSIONS,
        "run_history": False,
        "ssr_mode": False,
        "share": False,
        "prevent_thread_lock": True,
        "app_kwargs": {"routes": scripts.routes(), "middleware": [Middleware(Guard, condition=condition)]},
    }
    _, url, _ = demo.launch(**{**settings, **options})
    if uploads is not None:
        keep_swept(demo, uploads, stopped)

    def stop() -> None:
        condition.closing = True
        gradio_gaps.finish(demo)
        stopped.set()
        demo.close(verbose=False)

    return url, stop
