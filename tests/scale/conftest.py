"""A gallery on disk, queries for it, and what was built of it."""

import numpy as np
import pytest

from aad.scale.building import build_index, open_index
from aad.scale.compressed import CompressedIndex
from aad.scale.stored import StoredRows
from tests.galleries import Built, asked, grouped, on_disk


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredRows:
    return on_disk(tmp_path_factory.mktemp("rows"), grouped())


@pytest.fixture(scope="session")
def queries() -> np.ndarray:
    return asked(grouped())


@pytest.fixture(scope="session")
def built(stored: StoredRows, queries: np.ndarray) -> Built:
    return build_index(stored, queries, method="compressed")


@pytest.fixture
def index(stored: StoredRows, built: Built) -> CompressedIndex:
    opened = open_index(stored, *built)
    assert isinstance(opened, CompressedIndex)
    return opened
