"""Inspect: every evaluated query, what each space made of it, and where a space fails."""

from collections.abc import Callable, Sequence
from typing import Any


def value(attributor: Any) -> Any:
    """What the part is given when the page opens."""
    return None


def functions(attributor: Any) -> Sequence[Callable[..., Any]]:
    """What the part may ask the server for."""
    return ()
