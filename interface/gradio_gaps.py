"""What gradio 6.31.0 leaves open, closed from outside: everything here that is not its public interface, in one place.

Each says which upstream thread (https://github.com/gradio-app/gradio) it waits for, or what would have to be offered there; "none
found" means that a search of its issues and pull requests found no thread. With a new version of gradio read this file first.
"""

import functools
import inspect
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

# Read by gradio when it is imported and when a queue is made.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # the page and the server stay offline
# Its statistics are shown to nobody (monitoring is off), but gone through after each answer: of few events, and never anew.
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**60)

SESSIONS = 500
#: lane -> how many may wait in it: those of a minute or less, where one answer takes 0.1 to 0.5 s, one of many files some seconds
WAITING = {"uploads": 100, "calls": 100, "batches": 8, "tables": 100}
#: what the one and the other kind of file, and a number, must be in a call
_FILE = 'uploaded and then named as {"path": ..., "meta": {"_type": "gradio.FileData"}}, in Python with handle_file'
_WANTED = {"single": f"a file ({_FILE})", "multiple": f"a list of files (each {_FILE})"}
LAST_ANSWERS = 20.0  # seconds that questions which were taken have, when the server is told to stop
DELIVERY = 4.0  # seconds that their answers have to reach who asked


@contextmanager
def no_proxy(hosts: str = "*") -> Iterator[None]:
    """In here these hosts are asked directly, whatever the environment says: gradio asks its own address. Waits for #4046."""
    usual = os.environ.get("no_proxy")
    os.environ["no_proxy"] = ",".join(filter(None, [hosts, usual or os.environ.get("NO_PROXY")]))
    try:
        yield
    finally:
        os.environ.pop("no_proxy") if usual is None else os.environ.update(no_proxy=usual)


@contextmanager
def without_stubs() -> Iterator[None]:
    """Import gradio, or define a component, in here, in much less time, and no file is written.

    For each component class gradio parses its source and writes a type stub beside it, at every start. It leaves out a class
    that has no file, so that is what it is told here of its own classes, and of nothing else. Waits for an import that writes
    nothing: #10121, #7791; since #13799 its wheels bring the stubs along.
    """
    getfile = inspect.getfile

    def no_file(found: Any) -> str:
        if type(found).__name__ == "ComponentMeta":
            raise OSError("no stub is wanted")
        return getfile(found)

    inspect.getfile = no_file  # type: ignore[assignment]
    try:
        with no_proxy():  # it makes a client as it is imported, which wants a package where the proxy is one of SOCKS
            yield
    finally:
        inspect.getfile = getfile


@functools.cache
def original_image() -> type[Any]:
    """gr.Image with the uploaded file as it came, where gr.Image would open it and fail without a word; made once.

    What is no picture is refused later, in words. Waits for #6489.
    """
    with without_stubs():
        import gradio as gr
        from gradio.data_classes import ImageData

        class OriginalImage(gr.Image):
            def preprocess(self, payload: Any) -> str | None:
                return payload.path if payload else None

            def postprocess(self, value: Any) -> Any:
                return ImageData(path=value, orig_name=Path(value).name) if value else None

            def get_block_name(self) -> str:
                return "image"  # drawn by the browser's part for images

    return OriginalImage


def close_gaps(demo: Any) -> None:
    """All of the below that a server needs before it starts."""
    refuse_addresses()
    explain_calls(demo)
    draw_no_plots()
    bound(demo)
    remember(demo)


def refuse_addresses() -> None:
    """Fetch nothing for a visitor: gradio takes an address where a file is asked for, and goes and gets it.

    Waits for a switch; #13596 made the fetching safer, not optional.
    """
    import gradio as gr
    from gradio import processing_utils

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("A file must be uploaded, got an address; this server fetches none.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


def explain_calls(demo: Any) -> None:
    """Say what a call must bring, where gradio would say ``null`` and log a traceback; what is left out at its end has its default.

    Waits for a ``show_error`` for each event: #11445.
    """
    import gradio as gr

    preprocess = demo.preprocess_data

    async def in_words(function: Any, inputs: list[Any], *rest: Any, **more: Any) -> Any:
        parts = function.inputs
        if len(inputs) < len(parts) and not isinstance(parts[len(inputs)], gr.File):
            inputs = [*inputs, *(part.value for part in parts[len(inputs) :])]
        try:
            if len(inputs) == len(parts):
                return await preprocess(function, inputs, *rest, **more)
        except gr.Error:
            raise
        except Exception:  # whatever its models and files let escape
            pass
        named = [f"{part.label}, {_WANTED.get(getattr(part, 'file_count', ''), 'a number')}" for part in parts]
        got = repr(inputs)[1:-1][:200] or "nothing"
        text = f"{function.api_name} takes {' and '.join(named)}, got {got}; docs/api.md has examples"
        raise gr.Error(text, print_exception=False)

    demo.preprocess_data = in_words


def draw_no_plots() -> None:
    """Answer without matplotlib, whose import is half a second of the first answer; gradio has it settle where plots are drawn.

    Waits for an import where there is a plot; none found.
    """
    from gradio import utils

    setattr(utils, "MatplotlibBackendMananger", nullcontext)  # noqa: B010


def bound(demo: Any) -> None:
    """Refuse a question at once where too many wait in its lane; gradio counts all lanes together, and does not say how long.

    Waits for a ``max_size`` for each ``concurrency_id``, as #6172 has for the limit; none found.
    """
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


class Listeners(OrderedDict[str, Any]):
    """Session -> messages that it has not read. Those used last stay, and those that wait for an answer.

    Gradio keeps those of the 2,000 sessions that began last. So a visitor whose page has been open for longer than that loses the
    answer that is on its way, and every later one, for a question that nobody answers any more holds the stream open. Waits for
    #13585; #13156 and #13756 bound what is kept beside it.

    Args:
        queue: gradio's, which knows the questions of each session.
    """

    def __init__(self, queue: Any) -> None:
        super().__init__()
        self.queue = queue

    def __getitem__(self, session: str) -> Any:
        self.move_to_end(session)
        return super().__getitem__(session)

    def __setitem__(self, session: str, messages: Any) -> None:
        super().__setitem__(session, messages)
        for other in [one for one in self if not self.waits(one)][: max(0, len(self) - SESSIONS)]:
            if other != session:
                del self[other]

    def __delitem__(self, session: str) -> None:
        """Also of a session that has been forgotten already, as of two streams of one session that break at once."""
        self.queue.pending_event_ids_session.pop(session, None)
        if session in self:
            super().__delitem__(session)

    def waits(self, session: str) -> bool:
        """Whether a question of this session is waiting, or being answered, and wanted still."""
        events = map(self.queue.event_ids_to_events.get, self.queue.pending_event_ids_session.get(session, ()))
        return any(event is not None and event.alive for event in events)


def remember(demo: Any) -> None:
    """Let a page's queue remember no more of its sessions than it needs, and survive one that left; waits as `Listeners` does."""
    queue = demo._queue
    listeners = queue.pending_messages_per_session = Listeners(queue)
    send, clean = queue.send_message, queue.clean_events

    def to_who_listens(event: Any, event_message: Any) -> None:
        # gradio would look for the ear that is gone, and end the queue of all others with it
        if event.session_hash in listeners:
            send(event, event_message)

    async def forgetting(*, session_hash: str | None = None, event_id: str | None = None) -> None:
        await clean(session_hash=session_hash, event_id=event_id)
        if session_hash is not None and not listeners.waits(session_hash):  # it may have asked again meanwhile
            del listeners[session_hash]

    queue.send_message, queue.clean_events = to_who_listens, forgetting


def is_alive(demo: Any) -> bool:
    """Whether the one task that hands questions to their handlers lives: without it, a page loads and nothing is answered."""
    return not demo._queue.stopped


def finish(demo: Any) -> None:
    """Wait for the answers to what was asked, and for them to arrive, so long as that takes no longer than it may.

    Waits for a ``close`` that does so; none found.
    """
    queue = demo._queue
    ends = time.monotonic() + LAST_ANSWERS
    while (len(queue) or queue.get_active_worker_count()) and time.monotonic() < ends:
        time.sleep(0.02)
    ends = time.monotonic() + DELIVERY
    while any(queue.pending_event_ids_session.values()) and time.monotonic() < ends:
        time.sleep(0.02)


def forget_deleted(demo: Any) -> None:
    """Forget the names of uploads that were deleted; gradio would keep each for as long as it runs. Nearest thread: #8098."""
    for names in demo.temp_file_sets:
        names.difference_update([name for name in list(names) if not Path(name).exists()])
