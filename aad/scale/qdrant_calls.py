"""Speaking with Qdrant: addresses and keys, names of collections, and what goes wrong in words."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aad.bundle import Bundle, BundleError
from aad.spaces import Space

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

TIMEOUT = 20  # seconds, of one request


class QdrantError(ConnectionError):
    """The server cannot be reached, refuses, or answers something else. The text says what to do."""


def collection_name(bundle: Bundle, space: Space) -> str:
    """Name of the collection of one space: of another table or other rows it would be another name.

    So a bundle never meets the vectors of another one, and a new version is loaded beside the one that is being served.
    """
    digests = ""
    for name in ("references.json", f"references_{space}.npy"):
        if not bundle.has(name):
            raise bundle.refusal(name, "has not been made yet")
        digests += bundle.manifest["files"][name]["sha256"]
    return f"{alias_name(bundle, space)}-{hashlib.sha256(digests.encode()).hexdigest()[:16]}"


def alias_name(bundle: Bundle, space: Space) -> str:
    """The name that always means the newest collection of a bundle's space, for other clients of the server."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(bundle.manifest.get("name", bundle.folder.name)))
    return f"aad-{name[:100]}-{space}"


def connect(address: str, timeout: int = TIMEOUT, create: bool = False) -> "QdrantClient":
    """A client of a server, or of a folder in the client's local mode, which is for tests and first steps.

    Args:
        address: ``http://host:port``, ``https://host:port``, or the folder.
        timeout: of one request, in seconds.
        create: make the folder where it is not yet.

    Raises:
        BundleError: qdrant-client is not installed, the address is of another form, or there is no such folder.
        QdrantError: the folder is in use.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise BundleError("Qdrant needs its client: pip install -r requirements-qdrant.txt") from None
    if address.startswith(("http://", "https://")):
        key = os.environ.get("QDRANT_API_KEY") or None
        try:
            return QdrantClient(url=address, timeout=timeout, api_key=key, check_compatibility=False)
        except (ImportError, ValueError) as error:  # a proxy of the environment that is none, or one of SOCKS
            raise QdrantError(f"cannot speak to {address} ({error}); correct HTTPS_PROXY and ALL_PROXY") from None
    if "://" in address or re.fullmatch(r"[^/\\]+:\d+", address):
        raise BundleError(
            f"an address of Qdrant is http://host:port or https://host:port, or a folder, got {address!r}"
        )
    if not create and not (Path(address) / "meta.json").is_file():
        load = f"python -m precompute.load_qdrant --url {address}"
        raise BundleError(f"there are no collections in the folder {address}; load them with: {load}")
    try:
        return QdrantClient(path=address)
    except RuntimeError as error:
        raise QdrantError(f"{error} Only one process at a time can use a folder") from None


def is_local(client: "QdrantClient") -> bool:
    """Whether a client is in local mode: brute force in Python, where indexes and settings of a search mean nothing."""
    return client.init_options["path"] is not None or client.init_options["location"] == ":memory:"


@contextmanager
def speaking(client: "QdrantClient") -> Iterator[None]:
    """Turn what goes wrong between here and the server into a ``QdrantError`` in words."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    address = client.init_options["url"] or client.init_options["path"]
    try:
        yield
    except UnexpectedResponse as error:
        said = error.content.decode("utf-8", "replace")[:200]
        if error.status_code in (401, 403):
            text = f"{address} refuses access: set QDRANT_API_KEY to a key that it accepts"
        else:
            text = f"{address} answered with status {error.status_code} ({said}); see the log of the server"
        raise QdrantError(text) from error
    except ResponseHandlingException as error:
        text = f"{address} does not answer as Qdrant does ({type(error.source).__name__}: {str(error.source)[:200]})"
        text += "; is the server running, is the address right, and is it reachable from here?"
        raise QdrantError(text) from error
    except (ApiException, QdrantException) as error:
        raise QdrantError(f"{address} is too busy or failed ({error}); try again in a while") from error
