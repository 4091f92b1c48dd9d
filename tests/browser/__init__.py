"""The page in a real browser."""

import sys
from importlib.util import find_spec
from unittest.mock import MagicMock

HAS_PLAYWRIGHT = find_spec("playwright") is not None
if not HAS_PLAYWRIGHT:  # the files are read all the same, so that the tests that are left out can be counted
    sys.modules["playwright"] = sys.modules["playwright.sync_api"] = MagicMock()
