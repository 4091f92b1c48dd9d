"""Command-line steps that make a bundle; README.md lists them in order. The steps meet only through files."""

import sys
from types import TracebackType

_shown = sys.excepthook


def _without_a_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C in the first second, while modules are loaded, meets no step that could answer it."""
    if issubclass(kind, KeyboardInterrupt):
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
    else:
        _shown(kind, error, trace)


sys.excepthook = _without_a_trace
