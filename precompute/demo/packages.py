"""The two Debian packages that hold the pictures, read without Qt.

GCompris keeps its pictures in Qt resource files (`.rcc`): a tree of names in front of the bytes.
"""

import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY, _ZLIB = 2, 1  # flags of an rcc node
_NODE = 22  # bytes, in the format version of the package


class PackageError(OSError):
    """A package is missing, damaged, or of a form this reader does not know."""


@dataclass(frozen=True, slots=True)
class Package:
    """One Debian package, and the folder inside it that is read."""

    name: str
    version: str
    tree: str

    @property
    def file(self) -> str:
        """The `.deb`."""
        return f"{self.name}_{self.version}_all.deb"


BOTH = (
    Package("tuxpaint-stamps-default", "2022.06.04-1", "usr/share/tuxpaint/stamps/"),
    Package("gcompris-qt-data", "3.1-2", "usr/share/gcompris-qt/rcc/"),
)


def unpack(package: Package, folder: Path, download: bool = False) -> Path:
    """Unpack a package below `folder`, once, fetched first where allowed, and return the folder of the wanted tree.

    Raises:
        PackageError: the `.deb` is not in `folder`, and the message names the command that fetches it; or it cannot be unpacked.
    """
    done, deb = folder / package.name / ".complete", folder / package.file
    command = f"apt-get download {package.name}={package.version}"  # exactly this one, into the current folder
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)  # the command below begins there
        if download and not deb.exists():
            subprocess.run(command.split(), cwd=folder, check=False)
        if not deb.exists():
            raise PackageError(f"{deb} is missing; fetch it with\n  cd {folder} && {command}")
        try:
            subprocess.run(["dpkg-deb", "--extract", deb, done.parent], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PackageError(f"{deb} cannot be unpacked ({error}); it takes dpkg-deb, of the package dpkg") from None
        done.touch()
    return done.parent / package.tree


def read_rcc(blob: bytes) -> dict[str, bytes]:
    """Read a Qt resource file.

    Args:
        blob: The whole file, entries stored plainly or with zlib.

    Returns:
        Path inside the resource tree (no leading slash) -> content.

    Raises:
        PackageError: the bytes are no Qt resource file.
    """
    if blob[:4] != b"qres":
        raise PackageError(f"a Qt resource file starts with b'qres', got {blob[:4]!r}")
    tree, data, names = struct.unpack_from(">3I", blob, 8)

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * _NODE
        name_at, flags = struct.unpack_from(">IH", blob, at)
        (length,) = struct.unpack_from(">H", blob, names + name_at)
        start = names + name_at + 6  # behind the length and a hash
        name = blob[start : start + 2 * length].decode("utf-16-be") if index else ""
        path = f"{prefix}/{name}" if prefix else name
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (offset,) = struct.unpack_from(">I", blob, at + 10)
        (size,) = struct.unpack_from(">I", blob, data + offset)
        content = blob[data + offset + 4 : data + offset + 4 + size]
        yield path, zlib.decompress(content[4:]) if flags & _ZLIB else content

    return dict(walk(0, ""))
