"""The page's scripts: ES modules as they lie in assets/ui, under an address that changes with them.

The version stands in the path, so that relative imports keep it: a browser may keep a module for good, and new modules never
meet old ones that it kept. Addresses are relative to the page and hold behind a proxy.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any

UI = Path(__file__).resolve().parent.parent / "assets" / "ui"
ENTRY = "page.js"


def modules() -> list[str]:
    """Every module, as a path relative to assets/ui."""
    return sorted(path.relative_to(UI).as_posix() for path in UI.rglob("*.js"))


@functools.cache
def folder() -> str:
    """Where the page finds them: ``ui/`` and a version made from their bytes."""
    digest = hashlib.sha256()
    for name in modules():
        digest.update(name.encode() + b"\0" + (UI / name).read_bytes())
    return f"ui/{digest.hexdigest()[:12]}"


def load() -> str:
    """JavaScript for a promise of the entry module; its functions are what Python's side of the page calls."""
    return f'import(new URL("{folder()}/{ENTRY}", document.baseURI).href)'


def preloads() -> str:
    """HTML that has every module fetched at once, where imports would be followed one by one."""
    return "".join(f'<link rel="modulepreload" href="{folder()}/{name}">' for name in modules())


def routes() -> list[Any]:
    """What serves them; any other version is not found."""
    from starlette.responses import Response
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    class Kept(StaticFiles):
        def file_response(self, *args: Any, **kwargs: Any) -> Response:
            answer = super().file_response(*args, **kwargs)
            answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            return answer

    return [Mount(f"/{folder()}", Kept(directory=UI))]
