"""What every test stands on: fixed seeds, few threads, no network but this machine's own; and who runs which of them."""

import os
import tempfile

# Before numpy, torch or numba start their thread pools; gradio and the hub read theirs at import.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    NUMBA_NUM_THREADS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    HF_HUB_OFFLINE="1",
    GRADIO_TEMP_DIR=tempfile.mkdtemp(),  # of this process alone: the same picture has the same place for all servers
)
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling what makes a map takes minutes, a small map seconds

import atexit
import gc
import random
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.pages import attributor, bundle, page, picture, uploads  # noqa: F401 - fixtures

atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
gc.disable()  # until everything is imported
# A shell starts what runs in the background deaf to Ctrl-C, and so would be the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Nobody's certificate is looked at here; every client would read those of the whole world, which takes longer than its question.
ssl.SSLContext.load_verify_locations = lambda *_, **__: None

WORKERS = 2  # each comes to hold torch, servers and what every test imports: 2.4 GB, and a browser besides
ROOMS = {
    "browser": ("tests/browser/",),
    "page": ("tests/test_benchmarks.py", "tests/test_endpoints.py", "tests/test_privacy.py", "tests/test_serving.py"),
}
LONGEST = (
    *("browser", "tests/test_ray.py", "tests/test_projection.py", "tests/test_engines.py", "tests/test_precompute.py"),
    *("page", "tests/test_embed_shards.py", "tests/test_backbones_files.py", "tests/test_training.py"),
)
LOCAL_HOSTS = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", None}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """All tests go to two processes, each room to one of them; tests that are named run here, where they start at once.

    What the command line says about it (``-n``, ``--pdb``) holds.
    """
    options = config.option
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    free = getattr(options, "numprocesses", 0) is None and not options.usepdb and not hasattr(config, "workerinput")
    if everything and free and (os.cpu_count() or 1) >= WORKERS:
        options.numprocesses, options.dist, options.loadscopereorder = WORKERS, "loadfile", False


def room(nodeid: str) -> str:
    """Tests of one room run in one process, one after another, since they share a server; every other file is its own."""
    path = nodeid.partition("::")[0]
    return next((name for name, files in ROOMS.items() if path.startswith(files)), path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that both processes end together."""
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(room(item.nodeid), len(first)))
    gc.freeze()  # what is imported by now stays: to look through it again and again would take a tenth of the time
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out the rooms in the order of the tests.

    ``--dist loadgroup`` with marks would say the same, but xdist 3.8 sets a name that pytest 9 no longer reads.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByRoom(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return room(nodeid)

    return ByRoom(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in the last lines which browser tests were left out, and why."""
    left_out = [one for one in terminalreporter.stats.get("skipped", []) if one.nodeid.startswith("tests/browser/")]
    if left_out:
        reason = left_out[0].longrepr[2].removeprefix("Skipped: ")
        terminalreporter.write_line(f"{len(left_out)} browser tests were left out: {reason}", yellow=True)


class NetworkBlockedError(RuntimeError):
    """A test reached for another machine. Not an OSError, so that no retry or fallback can swallow it."""


def _refuse_remote(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in LOCAL_HOSTS:
        raise NetworkBlockedError(f"tests may reach this machine only, got {name!r}; use a fake or a bundled file")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse names and addresses of other machines, for the whole session, so in session-wide fixtures too."""

    def guard_address(original: Any) -> Any:
        def guarded(self: socket.socket, *args: Any) -> Any:
            address = args[-1]  # last for connect, connect_ex and sendto alike
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _refuse_remote(address[0])
            return original(self, *args)

        return guarded

    def guarded_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_remote(host)
        return lookup(host, *args, **kwargs)

    lookup = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, method, guard_address(getattr(socket.socket, method)))
        patch.setattr(socket, "getaddrinfo", guarded_lookup)
        yield


@pytest.fixture(scope="session")
def shipped() -> Any:
    """The attributor of the bundle that ships, to be left as it is; whoever embeds a picture with it keeps its network."""
    from aad import Attributor

    return Attributor.load()


@pytest.fixture(scope="module", autouse=True)
def _own_litter(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module's servers leave open is found here, under its own rules for warnings, not in a later module."""
    yield
    if request.node.get_closest_marker("filterwarnings"):
        gc.collect()
        gc.freeze()  # what is left is there to stay


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed every generator a test may draw from. torch only where a test module has imported it: it takes seconds."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
