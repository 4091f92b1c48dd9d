"""What the server remembers of its visitors: bounded, and not taken from one who waits for an answer.

Gradio keeps unread messages of the 2,000 sessions that began last. So a visitor whose page has been open for longer than that loses
the answer that is on its way, and every later one, for a question that nobody answers any more holds the stream open. It
also keeps a copy of the page's settings for each of 10,000 sessions: every call of a script is one.
"""

from collections import OrderedDict
from typing import Any

SESSIONS = 500
ANALYTICS = 100  # events that gradio's own statistics go through after each answer; nobody is shown them


class Listeners(OrderedDict[str, Any]):
    """Session -> messages that it has not read. Those used last stay, and those that wait for an answer.

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
    """Let the server of a page remember no more than it needs."""
    queue = demo._queue
    queue.ANALYTICS_MAX_EVENTS = ANALYTICS
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
