"""HTML built as a tree: a caption is text wherever it stands, and never markup."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET


def make(tag: str, attributes: Mapping[str, str], *children: ET.Element | str | None) -> ET.Element:
    """An element with texts and elements in it; None is left out."""
    element = ET.Element(tag, dict(attributes))
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
            last = child
        elif child and last is None:
            element.text = (element.text or "") + child
        elif child and last is not None:
            last.tail = (last.tail or "") + child
    return element


def percent(share: float) -> str:
    """A share as the page writes it.

    >>> percent(0.004), percent(0.42), percent(0.999)
    ('<1%', '42%', '>99%')
    """
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{100 * share:.0f}%"
