"""References in columns: what a tuple of them was, in less memory."""

from pathlib import Path

import pytest

from aad.answers import Reference
from aad.references import References

ENTRIES = [
    {
        "path": "a/one.png",
        "title": "One",
        "source": "s",
        "licence": "CC0",
        "group": "g",
        "unknown": {"kept": "nowhere"},
    },
    {"path": "./b//two.png", "title": "Zw\u00f6lf \ud83d\ude00", "source": "s", "licence": "CC0", "author": None},
    {"path": "a/three.png", "title": "One", "source": "t", "licence": "CC0", "split": "test"},
]


def test_each_is_what_its_entry_says():
    references = References(ENTRIES, Path("/pictures"))
    expected = [
        Reference(0, Path("/pictures/a/one.png"), "One", "s", "CC0", group="g"),
        Reference(1, Path("/pictures/b/two.png"), "Zw\u00f6lf \ud83d\ude00", "s", "CC0"),
        Reference(2, Path("/pictures/a/three.png"), "One", "t", "CC0", split="test"),
    ]
    assert list(references) == expected and len(references) == 3
    assert references[-1] == expected[2] and references[:2] == tuple(expected[:2]) and expected[1] in references
    assert references.words("source") == ["s", "s", "t"] and references.words("author") == ["", "", ""]
    with pytest.raises(IndexError):
        references[3]
