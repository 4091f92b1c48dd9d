"""The server's settings: look, limits, and nothing that calls out; and how it is told to stop."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from interface import gradio_gaps, scripts
from interface.decoder import decoded
from interface.guard import Condition, Guard
from interface.page import MAX_BYTES
from interface.uploads import keep_swept


class Stop:
    """Told by the first SIGINT or SIGTERM while it is entered; the next one ends the process as it usually does.

    Attributes:
        serving: Whether anybody may have asked something: until then that signal ends the program at once.
        told: Whether it came.
    """

    serving = told = False

    def __init__(self) -> None:
        # The signal may come into `wait` itself, and would wait there for an event's lock.
        self._came = SimpleQueue[Exception | None]()

    def wait(self) -> None:
        """Until it is told, or raises the error that it is told."""
        if error := self._came.get():
            raise error

    def fail(self, error: Exception) -> None:
        """Tell of an error after which there is nothing to serve."""
        self._came.put(error)

    def __enter__(self) -> Self:
        self._usual = {kind: signal.signal(kind, self._tell) for kind in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> bool:
        for kind, handler in self._usual.items():
            signal.signal(kind, handler)
        return self.told and not self.serving  # whatever the end has become in the code it came into

    def _tell(self, *_: object) -> None:
        self.__exit__()
        self.told = True
        self._came.put(None)
        if not self.serving:
            sys.exit(0)


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

    Raises:
        OSError: Nobody can listen at the address that the options name.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    host = _checked(options.get("server_name"), options.get("server_port"))
    sys.setswitchinterval(0.0005)  # a tenth: replies and pictures do not wait for an answer's arithmetic
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
    settings |= options | {"server_name": host}
    with gradio_gaps.no_proxy("127.0.0.1,localhost,::1" if settings["share"] else "*"):
        _, url, _ = demo.launch(**settings)
    if uploads is not None:
        keep_swept(demo, uploads, stopped)

    def stop() -> None:
        condition.closing = True
        gradio_gaps.finish(demo)
        stopped.set()
        demo.close(verbose=False)
        decoded.stop()

    return url, stop


def _checked(host: str | None, port: int | None) -> str | None:
    """The host as gradio takes it, once it is known that somebody can listen there: gradio does not say why not."""
    bare, named = (
        (host or "127.0.0.1").strip("[]"),
        "--host and --port must name an address of this machine that is free",
    )
    try:
        if not 0 < (1 if port is None else port) < 65_536:
            raise OSError("a port is from 1 to 65535")
        for family, kind, _, _, place in socket.getaddrinfo(bare, port or 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        text = f"{named}, got {bare} and {port} ({reason}); give another, or stop what listens there"
        raise OSError(text) from None
    return f"[{bare}]" if ":" in bare else host
