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
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if __name__ == "__main__":  # what follows is imported for a second, in which nobody has asked anything
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

# Before numpy, faiss and torch start their threads. A query is one row: its products gain nothing from threads, and waiting
# threads that spin take the cores from the network and from the server.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from aad.backbones import BackboneError
from aad.bundle import BundleError
from aad.hub import open_bundle
from interface.decoder import decoded
from interface.network import network
from interface.outcomes import outcomes_of
from interface.page import build_app
from interface.pictures import places
from interface.serving import Stop, serve
from interface.uploads import own_folder

if TYPE_CHECKING:
    from aad.attribution import Attributor

__all__ = ["build_app", "main", "serve"]

QUIET_SECONDS = 2.0  # for who comes first
ALONE = 5.0  # the same where the network's import has no processor of its own, and would hold up the first page


def warm_up(attributor: "Attributor", stop: Stop) -> None:
    """What the first visitor would wait for, done while nobody does; what fails here the page says when it is asked for."""

    def look() -> None:
        pictures = places(attributor)
        if gone := [path for path in pictures if not Path(path).is_file()]:
            told = f"{len(gone)} of {len(pictures)} pictures are not where the bundle says, {gone[0]} first, and show as grey"
            print(f"app.py: {told}: move them back, or make the bundle again", file=sys.stderr)

    try:
        attributor.opened()
    except (BundleError, OSError) as error:
        return stop.fail(error)
    # Not the network alone: the first search reads its references, too.
    first: Callable[[], object] = partial(attributor.attribute_reference, 0)
    for work in attributor.warm_up, first, look, partial(outcomes_of, attributor):
        if work == first:
            time.sleep(QUIET_SECONDS)
        try:
            work()
        except (BackboneError, ConnectionError) as error:
            if not stop.told:
                print(f"app.py: {error}", file=sys.stderr)


def n_processors() -> int:
    """Of those of this machine what this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted or told to stop; what was asked until then is answered.

    Args:
        argv: Command line without the program's name; None reads `sys.argv`.

    Returns:
        0 when stopped, 2 when the bundle, or the server that holds its references, is missing, damaged or out of reach, or the
        address or the folder of uploads cannot be had.
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
    # Gradio reads these two when it is imported; the first it can only take for an IPv4 address.
    host, port = os.environ.pop("GRADIO_SERVER_NAME", None), os.environ.get("GRADIO_SERVER_PORT")
    parser.add_argument(
        "--host",
        default=host,
        help="address to listen on (default: this machine only; 0.0.0.0 for all, :: for all of IPv6)",
    )
    parser.add_argument("--port", default=port, type=int, help="port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also open a public gradio.live link")
    options = parser.parse_args(argv)
    stop = Stop()
    try:
        with stop:
            if not (wait := 0.0 if n_processors() > 1 else ALONE):
                network.start()  # beside this process's own start
            bundle = open_bundle(options.bundle)
            attributor = Attributor(bundle, options.weights, options.device, options.qdrant, network.load)
            if options.qdrant:
                attributor.opened()  # soon, and a server that is out of reach is told at once
            (warming := threading.Timer(wait, warm_up, args=(attributor, stop))).daemon = True
            warming.start()
            with own_folder() as uploads:  # named before the page is built, which reads it
                address = {"server_name": options.host, "server_port": options.port, "share": options.share}
                demo, stop.serving = build_app(attributor), True
                _, close = serve(demo, ready=lambda: attributor.ready, uploads=uploads, **address)
                decoded.start()  # the first picture does not wait for its libraries
                stop.wait()
                close()
    except (BundleError, OSError) as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    finally:
        stop.told = True  # who warms up says nothing more
        network.stop()
    return 0


def run(program: Callable[[], int]) -> NoReturn:
    """End with the program's code, whatever still runs: a library's thread that outlives the interpreter aborts the process."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a console of Windows has not every sign
    try:
        code = program()
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run(main)
