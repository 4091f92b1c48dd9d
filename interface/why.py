"""Why it works: the theory, measured on this collection, and a small toy."""

from collections.abc import Callable, Sequence
from typing import Any


def value(attributor: Any) -> Any:
    """What the part is given when the page opens."""
    return None


def functions(attributor: Any) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for."""
    return ()
