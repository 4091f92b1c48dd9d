"""What makes the page's start quick: gradio without the files that it writes for editors."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_stubs() -> Iterator[None]:
    """Import gradio, or define a component, in here, in much less time, and no file is written.

    For each component class gradio parses its source and writes a type stub beside it, at every start. It
    leaves out a class that has no file, so that is what it is told here of its own classes, and of nothing else.
    """
    getfile = inspect.getfile

    def no_file(found: Any) -> str:
        if type(found).__name__ == "ComponentMeta":
            raise OSError("no stub is wanted")
        return getfile(found)

    inspect.getfile = no_file  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = getfile
