"""The server's settings: look, limits, and nothing that calls out."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interface import scripts
from interface.guard import Condition, Guard
from interface.page import MAX_BYTES
from interface.sessions import SESSIONS, remember
from interface.uploads import keep_swept

#: lane -> how many may wait in it: those of a minute or less, where one answer takes 0.1 to 0.5 s, one of many files some seconds
WAITING = {"uploads": 100, "calls": 100, "batches": 8, "tables": 100}
LAST_ANSWERS = 20.0  # seconds that questions which were taken have, when the server is told to stop
DELIVERY = 2.0  # seconds that their answers have to reach who asked


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

    # gradio hands questions to their handlers in one task: without it, the page would load and nothing be answered
    condition, stopped = Condition(ready, live=lambda: not demo._queue.stopped), threading.Event()
    refuse_addresses()
    bound(demo)
    remember(demo)
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
        "state_session_capacity": SESSIONS,
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
        finish(demo)
        stopped.set()
        demo.close(verbose=False)

    return url, stop


def bound(demo: Any) -> None:
    """Refuse a question at once where too many wait in its lane; gradio counts all lanes together, and does not say how long."""
    queue = demo._queue
    push = queue.push

    async def bounded(body: Any, request: Any, username: str | None) -> Any:
        function = demo.fns.get(body.fn_index)
        lane = None if function is None else queue.event_queue_per_concurrency_id.get(function.concurrency_id)
        if lane is not None and len(lane.queue) >= WAITING.get(function.concurrency_id, 100):
            text = f"The server is busy: {len(lane.queue)} questions are waiting. Please try again in a minute."
            return False, text, "queue_full"
        return await push(body=body, request=request, username=username)

    queue.push = bounded


def finish(demo: Any) -> None:
    """Wait for the answers to what was asked, and for them to arrive, so long as that takes no longer than it may."""
    queue = demo._queue
    ends = time.monotonic() + LAST_ANSWERS
    while (len(queue) or queue.get_active_worker_count()) and time.monotonic() < ends:
        time.sleep(0.02)
    ends = time.monotonic() + DELIVERY
    while any(queue.pending_event_ids_session.values()) and time.monotonic() < ends:
        time.sleep(0.02)


def refuse_addresses() -> None:
    """Fetch nothing for a visitor: gradio takes an address where a file is asked for, and goes and gets it."""
    import gradio as gr
    from gradio import processing_utils

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("A file must be uploaded, got an address; this server fetches none.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse
