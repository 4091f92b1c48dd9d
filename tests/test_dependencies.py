"""What a Space installs: every package at one version and by its sha256, fit for what the app asks for."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LINUX = {"python_version": "3.11", "python_full_version": "3.11.9", "os_name": "posix", "sys_platform": "linux"}
LINUX |= {"platform_system": "Linux", "platform_machine": "x86_64"}
BLOCK = re.compile(
    r"([a-z0-9-]+)(?:\[([a-z,]+)\])?==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)(?:    #.*\n)*"
)


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "pre-requirements.txt").read_text("utf-8")


@pytest.fixture(scope="module")
def locked(text: str) -> dict[str, Version]:
    return {name: Version(version) for name, _, version, _ in BLOCK.findall(text)}


def asked(name: str) -> list[Requirement]:
    """What a file asks for, with the files that it names."""
    found = []
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if line.startswith("-r "):
            found += asked(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found.append(Requirement(line))
    return found


def test_every_line_is_a_version_with_its_hashes_and_no_address(text: str, locked: dict[str, Version]) -> None:
    rest = BLOCK.sub("", text)
    assert all(line.startswith("#") for line in rest.splitlines()), rest
    assert "://" not in text and "--index" not in text and "--find" not in text
    assert len(locked) == text.count("=="), "each package once"


def test_it_holds_what_the_app_asks_for_at_the_version_that_is_tested(locked: dict[str, Version]) -> None:
    pins = asked("requirements.txt")
    assert len(pins) > 10
    for pin in [*pins, *asked("requirements-space.txt")]:
        version = locked[canonicalize_name(pin.name)]
        assert pin.specifier.contains(version), f"pre-requirements.txt has {version} of {pin}: make it again"


def test_it_holds_all_that_its_packages_ask_for(locked: dict[str, Version]) -> None:
    """So pip, which takes nothing without a hash there, finds each; read from those packages that are installed here."""
    wanted, seen = [(pin.name, "") for pin in asked("requirements.txt")], set()
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen or Version(distribution(name).version) != locked[canonicalize_name(name)]:
            continue  # a Space's own packages hold a few back: what the newer ones here ask for is another matter
        seen.add((name, extra))
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            if needed.marker and not Marker(str(needed.marker)).evaluate(LINUX | {"extra": extra}):
                continue
            version = locked.get(canonicalize_name(needed.name))
            assert version and needed.specifier.contains(version, prereleases=True), f"{name} asks for {line}"
            wanted += [(needed.name, one) for one in ("", *needed.extras)]
    assert len(seen) > 40
