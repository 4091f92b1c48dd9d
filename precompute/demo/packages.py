"""The two Debian packages that hold the pictures, read without Qt; and who made each picture under which licence.

GCompris keeps its pictures in Qt resource files (`.rcc`): a tree of names in front of the bytes. Beside the pictures in each lies a
README, which names the pictures of *this* version. Debian's own copyright file is older than some pictures (it names photographs
that were since replaced), so it is not used.
"""

import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_DIRECTORY, _ZLIB, _ZSTD = 2, 1, 4  # flags of an rcc node
_FORBIDDEN = re.compile(r"\b(NC|ND|noncommercial|noderiv\w*)\b", re.IGNORECASE)
_SPDX = {
    "public domain": "public domain",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3 or later": "GPL-3.0-or-later",
}
_README_TYPOS = {"screDriver.webp": "screwDriver.webp", "audaPalatina.webp": "aulaPalatina.webp"}


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

    @property
    def source(self) -> str:
        """Name and version, as written beside every picture."""
        return f"{self.name} {self.version}"

    @property
    def command(self) -> str:
        """The shell command that downloads exactly this package into the current folder."""
        return f"apt-get download {self.name}={self.version}"


TUXPAINT = Package("tuxpaint-stamps-default", "2022.06.04-1", "usr/share/tuxpaint/stamps/")
GCOMPRIS = Package("gcompris-qt-data", "3.1-2", "usr/share/gcompris-qt/rcc/")


def unpack(package: Package, folder: Path) -> Path:
    """Unpack a package below `folder`, once, and return the folder of the wanted tree.

    Raises:
        PackageError: the `.deb` is not in `folder`, and the message names the command that fetches it; or it cannot be unpacked.
    """
    done = folder / package.name / ".complete"
    if not done.exists():
        deb = folder / package.file
        if not deb.exists():
            raise PackageError(f"{deb} is missing; fetch it with\n  cd {folder} && {package.command}")
        try:
            subprocess.run(["dpkg-deb", "--extract", deb, done.parent], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PackageError(f"{deb} cannot be unpacked ({error}); it takes dpkg-deb, of the package dpkg") from None
        done.touch()
    return done.parent / package.tree


def read_rcc(blob: bytes) -> dict[str, bytes]:
    """Read a Qt resource file.

    Args:
        blob: The whole file, format version 1 to 3, entries stored plainly or with zlib.

    Returns:
        Path inside the resource tree (no leading slash) -> content.

    Raises:
        PackageError: the bytes are no Qt resource file, or an entry is compressed with zstd.
    """
    if blob[:4] != b"qres":
        raise PackageError(f"a Qt resource file starts with b'qres', got {blob[:4]!r}")
    version, tree, data, names = struct.unpack_from(">4I", blob, 4)
    node_size = 14 if version < 2 else 22  # version 2 added a modification time of 8 bytes

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * node_size
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
        if flags & _ZSTD:
            raise PackageError(f"{path}: compressed with zstd, which this reader does not know")
        (offset,) = struct.unpack_from(">I", blob, at + 10)
        (size,) = struct.unpack_from(">I", blob, data + offset)
        content = blob[data + offset + 4 : data + offset + 4 + size]
        yield path, zlib.decompress(content[4:]) if flags & _ZLIB else content

    return dict(walk(0, ""))


@dataclass(frozen=True, slots=True)
class Credit:
    """Licence (SPDX identifier where there is one), author and address of the original; the last two may be empty."""

    licence: str
    author: str = ""
    url: str = ""

    @property
    def allows_derivatives(self) -> bool:
        """False where the licence forbids changes or commercial use."""
        return not _FORBIDDEN.search(self.licence.replace("-", " "))


TUXPAINT_CREDIT = Credit(
    "GPL-2.0-or-later", "Bill Kendrick and the Tux Paint stamp artists", "https://tuxpaint.org/stamps/"
)
WEBMUSEUM_CREDIT = Credit(
    "GPL-3.0-or-later", "Nicolas Pioch (WebMuseum); Bruno Coudoin", "http://www.ibiblio.org/wm/about/license.html"
)
GCOMPRIS_CREDIT = Credit("GPL-3.0-or-later", "the GCompris authors", "https://gcompris.net/")


def normalise_licence(text: str) -> str:
    """Write a README's licence the SPDX way.

    >>> normalise_licence("CC-BY-SA 4.0"), normalise_licence("GPLv3 or later")
    ('CC-BY-SA-4.0', 'GPL-3.0-or-later')
    """
    text = " ".join(text.split())
    return _SPDX.get(text.lower(), text.replace(" ", "-"))


def parse_readme(text: str) -> dict[str, Credit]:
    """Read a GCompris README: stanzas of `Copyright:`, `License:`, `Source:` or `Comment:` and a list of files.

    Returns:
        File name (below the README's folder) -> its credit. A stanza without a licence is left out.
    """
    credits: dict[str, Credit] = {}
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(License|Source|Comments?):[ \t]*(.+)$", stanza, re.MULTILINE))
        if "License" not in fields:
            continue
        notes = " ".join(fields.get(key, "") for key in ("Source", "Comment", "Comments"))
        address = re.search(r"https?://\S+", notes)
        original = re.search(r"based on (?:an original image|an original painting|a photo) by ([^,]+),", notes)
        holders = re.search(r"^Copyright:((?:[ \t]*.+)?(?:\n[ \t]+.+)*)", stanza, re.MULTILINE)
        author = "; ".join(
            _clean_holder(line) for line in (holders.group(1) if holders else "").split("\n") if line.strip()
        )
        if original:
            author = f"{original.group(1).strip()}; {author}"
        credit = Credit(
            normalise_licence(fields["License"]), author or "not named", address.group(0) if address else ""
        )
        for name in re.findall(r"^\s*(?:Files:\s*)?(\S+\.(?:webp|png|jpg))\s*$", stanza, re.MULTILINE):
            folder, base = str(PurePosixPath(name).parent), PurePosixPath(name).name
            base = _README_TYPOS.get(base, base)
            credits[base if folder == "." else f"{folder}/{base}"] = credit
    return credits


def _clean_holder(line: str) -> str:
    return re.sub(r"^((Copyright|©|\(c\))\s*)?(\d{4}[,\s]+)*", "", line.strip())


def collect_credits(tree: dict[str, bytes]) -> dict[str, Credit]:
    """Credits of every picture that a README inside a resource tree names, by the picture's path in the tree."""
    found: dict[str, Credit] = {}
    for path, content in tree.items():
        if PurePosixPath(path).name == "README":
            folder = PurePosixPath(path).parent
            for name, credit in parse_readme(content.decode("utf-8")).items():
                found[str(folder / name)] = credit
    return found
