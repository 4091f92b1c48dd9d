"""Who made each picture and under which licence, as the packages themselves say.

GCompris keeps a README beside its pictures inside each resource file; those name the pictures of *this* version.
Debian's own copyright file is older than some pictures (it names photographs that were since replaced),
so it is not used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_FORBIDDEN = re.compile(r"\b(NC|ND|noncommercial|noderiv\w*)\b", re.IGNORECASE)
_SPDX = {
    "public domain": "public domain",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3 or later": "GPL-3.0-or-later",
}
_README_TYPOS = {"screDriver.webp": "screwDriver.webp", "audaPalatina.webp": "aulaPalatina.webp"}


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
    """Write a README's licence the SPDX way, such as `CC-BY-SA 4.0` as `CC-BY-SA-4.0`.

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
