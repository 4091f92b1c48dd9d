"""What stands before the page on the network: health, headers, and everything that it does not need closed.

Gradio has more doors than this page: it fetches addresses for whoever asks (``file=http://…``), relays to other Spaces, keeps
histories on the hub, edits code. Here the few that the page and its API use are named; all others are not found. A request must
come in reasonable time and size, and every answer carries the same headers.
"""

import json
import re
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from aad.images import ImageError
from interface.pictures import REPORT, rendition
from interface.requests import Refused, uploaded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_UPLOAD = 100_000_000  # bytes of one request: five of the largest files
MAX_QUESTION = 5_000_000  # bytes of one request that brings no file
MAX_SILENCE = 30.0  # seconds between two parts of a request
MAX_ARRIVAL = 300.0  # seconds from its first part to its last

UPLOAD, FILE = "/gradio_api/upload", "/gradio_api/file="
#: method -> what may be asked, as the whole path
OPEN = {
    "GET": (
        r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(/\d{1,3})?|/(assets|static|ui)/.+"
        r"|/gradio_api/(info/?|openapi\.json|app_id/?|startup-events|theme\.css|upload_progress|queue/data|heartbeat/\w+"
        r"|file=(?!\w\w+:).+|call/\w+/\w+)"
    ),
    "POST": r"/gradio_api/(upload|queue/join|cancel|reset/?|component_server/?|(run|api|call|call/v2)/\w+/?)",
}
OPEN["HEAD"] = OPEN["GET"]
ASKING = re.compile(r"/gradio_api/(upload|queue/join|component_server|(run|api|call)/.+)")

#: Who may show the page inside its own: a Space is shown by the hub.
EMBEDDERS = "'self' https://huggingface.co https://*.hf.space"
#: Gradio's page holds scripts and styles in its own text and makes functions from text; nothing is loaded from elsewhere.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    f"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {EMBEDDERS}"
)
#: A served file that is opened by itself: a picture is drawn, nothing runs.
FILE_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(slots=True)
class Condition:
    """Of the server: whether uploads are answered without a wait, and whether it takes questions still.

    Attributes:
        ready: Asked anew each time.
        live: Likewise: whether what was asked can be answered at all.
        closing: Set when it has been told to stop: what was asked is answered, nothing new is taken.
    """

    ready: Callable[[], bool] = field(default=lambda: True)
    live: Callable[[], bool] = field(default=lambda: True)
    closing: bool = False


class TooMuchError(Exception):
    """A request that is too long, or comes too slowly; the status says which."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """ASGI middleware around the page.

    Args:
        app: What answers the requests that are let through.
        condition: What ``/healthz`` and ``/readyz`` tell.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], condition: Condition) -> None:
        self.app = app
        self.condition = condition

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection: a request is looked at, anything else but the start and the end of the server is refused."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: the page has none
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False
        # A proxy may keep the path that the page is below, or cut it: here it is cut, and behind this kept, as mounted files ask.
        below = f"/{scope.get('root_path', '')}".replace("//", "/").rstrip("/")
        if scope["path"].startswith(f"{below}/"):
            scope = {**scope, "path": scope["path"].removeprefix(below)}
        headers = _headers(scope["path"])

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                ours = {name for name, _ in headers}
                message["headers"] = [pair for pair in message.get("headers", []) if pair[0].lower() not in ours]
                message["headers"] += headers
            await send(message)

        try:
            if (refusal := self._look(scope)) is not None:
                await _tell(answer, *refusal)
            else:
                shown = await _shown(scope["path"]) if scope["path"].startswith(FILE) else scope["path"]
                placed = {**scope, "root_path": below, "path": below + shown}
                await self.app(placed, _patient(scope, receive), answer)
        except ImageError:  # why not, the answer to it says
            await answer({"type": "http.response.start", "status": 204, "headers": []})
            await answer({"type": "http.response.body", "body": b""})
        except TooMuchError as error:
            if not started:
                await _tell(answer, error.status, {"detail": str(error)})
        except Exception as error:
            if not started and _is_wrong_name(error) and ASKING.match(scope["path"]):
                text = "There is no such endpoint, or parameter of it; /gradio_api/info names all."
                await _tell(answer, 404, {"detail": text})
                return
            if not started:  # the server's own words for it would come without the headers
                await _tell(answer, 500, {"detail": "The server has failed at this. Please try again."})
            raise  # it is logged there

    def _look(self, scope: Message) -> tuple[int, dict[str, Any]] | None:
        """Status and body of the answer to what is not for the page; None for what is."""
        method, path = scope["method"], scope["path"]
        if path in ("/healthz", "/readyz") and method in ("GET", "HEAD"):
            live = self.condition.live()
            ready = live and self.condition.ready() and not self.condition.closing
            return 200 if (live if path == "/healthz" else ready) else 503, {"live": live, "ready": ready}
        if method == "OPTIONS":  # whether a browser may ask: answered before this is reached, where it may
            return None
        if method not in OPEN or re.fullmatch(OPEN[method], path) is None:
            return 404, {"detail": "Not Found"}
        if self.condition.closing and method == "POST" and ASKING.match(path):
            return 503, {"detail": "The server is stopping. Please try again in a minute."}
        limit, size = _limit(path), dict(scope["headers"]).get(b"content-length", b"")
        if size.isdigit() and int(size) > limit:
            return 413, {"detail": f"a request must have at most {limit:,} bytes, got {int(size):,}; send less at once"}
        return None


def _is_wrong_name(error: BaseException) -> bool:
    """Whether gradio did not find what a call names; the same kinds of error from code of ours are faults of the server."""
    last = list(traceback.walk_tb(error.__traceback__))[-1][0]
    kinds = ("FnIndexInferError", "KeyError", "TypeError")
    return type(error).__name__ in kinds and last.f_globals.get("__name__", "").startswith("gradio")


def _limit(path: str) -> int:
    return MAX_UPLOAD if path == UPLOAD else MAX_QUESTION


def _headers(path: str) -> list[tuple[bytes, bytes]]:
    policy = FILE_POLICY if path.startswith(FILE) else PAGE_POLICY
    rows = HEADERS | {"Content-Security-Policy": policy}
    return [(name.lower().encode(), value.encode()) for name, value in rows.items()]


def _patient(scope: Message, receive: Receive) -> Receive:
    """`receive` that gives up on a request which comes too slowly or has no end."""
    if scope["method"] != "POST":
        return receive
    import asyncio  # loaded with the server, not with the app

    clock = asyncio.get_running_loop().time
    began, size, limit, there = clock(), 0, _limit(scope["path"]), False

    async def patient() -> Message:
        nonlocal size, there
        if there:  # from here on this waits for the visitor to leave
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), min(MAX_SILENCE, max(began + MAX_ARRIVAL - clock(), 0)))
        except TimeoutError:
            raise TooMuchError(408, "a request must come without long pauses; please send it once more") from None
        size += len(message.get("body", b""))
        there = not message.get("more_body", False)
        if size > limit:
            raise TooMuchError(413, f"a request must have at most {limit:,} bytes; send less at once")
        return message

    return patient


async def _shown(path: str) -> str:
    """The path to send a file from: of an upload that of its rendition, so that nothing is told of who made it.

    Raises:
        ImageError: It cannot be shown.
    """
    import asyncio

    try:
        upload = uploaded(path.removeprefix(FILE))
    except Refused:  # not a visitor's
        return path
    if upload.name == REPORT:
        return path
    return FILE + (await asyncio.to_thread(rendition, upload)).as_posix()


async def _tell(send: Send, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
    if status in (408, 413):
        headers["connection"] = "close"  # the rest of the request is not wanted
    if status == 503:
        headers["retry-after"] = "10"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
