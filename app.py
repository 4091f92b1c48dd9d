"""The page: a synthetic image in, its closest training sources in three spaces out.

    python app.py                       # the bundle that ships with the project
    python app.py --bundle FOLDER       # your own, built with `python -m precompute.run`
    python app.py --bundle hf://owner/name@revision         # one from the hub
    python app.py --qdrant http://host:6333                 # its references searched on a Qdrant server: docs/serving.md

A Space on the hub runs it bare: there, and anywhere else, the variable AAD_BUNDLE names the bundle.

The page itself is in `interface/`, what it draws with in assets/ui.
"""

import argparse
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from PIL import Image

# Before numpy, faiss and torch start their threads. A query is one row: its products gain nothing from threads, and waiting
# threads that spin take the cores from the network and from the server.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from aad.backbones import BackboneError
from aad.bundle import BundleError
from interface.outcomes import outcomes_of
from interface.page import build_app
from interface.serving import serve
from interface.uploads import own_folder

if TYPE_CHECKING:
    from aad.attribution import Attributor

__all__ = ["build_app", "main", "serve"]

# Importing torch holds the interpreter: begun at once, the first page's scripts and the first example come twice as late.
QUIET_SECONDS = 2.0  # an upload in this time does not wait for it to pass


def warm_up(attributor: "Attributor") -> None:
    """What the first visitor would wait for, done while nobody does; what fails here the page says when it is asked for."""
    # A whole answer, not the network alone: the first search reads its references, too.
    for work in (lambda: attributor.attribute(Image.new("RGB", (32, 32))), lambda: outcomes_of(attributor)):
        try:
            work()
        except (BackboneError, ConnectionError) as error:
            print(f"app.py: {error}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted or told to stop; what was asked until then is answered.

    Args:
        argv: Command line without the program's name; None reads `sys.argv`.

    Returns:
        0 when stopped, 2 when the bundle, or the server that holds its references, is missing, damaged or out of reach.
    """
    from aad import Attributor

    parser = argparse.ArgumentParser(description="Serve the attribution page.")
    parser.add_argument(
        "--bundle",
        default=os.environ.get("AAD_BUNDLE") or None,
        help="folder made by precompute, or hf://owner/name@revision (default: $AAD_BUNDLE, else the one in assets/)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="weights of the bundle's backbone, where it is not the one that ships"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "auto"), help="where the backbone runs")
    parser.add_argument(
        "--qdrant",
        metavar="URL",
        help="search the bundle's references on this Qdrant server, loaded with python -m precompute.load_qdrant",
    )
    parser.add_argument("--host", help="address to listen on (default: this machine only; 0.0.0.0 for all)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also open a public gradio.live link")
    options = parser.parse_args(argv)
    try:
        attributor = Attributor.load(options.bundle, options.weights, options.device, options.qdrant)
    except (BundleError, ConnectionError) as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    with own_folder() as uploads:  # named before the page is built, which reads it
        address = {"server_name": options.host, "server_port": options.port, "share": options.share}
        _, stop = serve(build_app(attributor), ready=lambda: attributor.ready, uploads=uploads, **address)
        later = threading.Timer(QUIET_SECONDS, warm_up, args=(attributor,))
        later.daemon = True
        later.start()
        wait_for_the_end()
        stop()
    return 0


def wait_for_the_end() -> None:
    """Return at the first SIGINT or SIGTERM; the next one ends the process as it usually does."""
    told = threading.Event()
    usual = {kind: signal.signal(kind, lambda *_: told.set()) for kind in (signal.SIGINT, signal.SIGTERM)}
    told.wait()
    for kind, handler in usual.items():
        signal.signal(kind, handler)


if __name__ == "__main__":
    sys.exit(main())
