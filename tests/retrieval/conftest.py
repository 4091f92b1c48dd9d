"""A gallery on disk, queries for it, and what was built of it."""

import numpy as np
import pytest

from aad.retrieval import CompressedIndex, StoredRows, build_index, open_index
from tests.retrieval.invented import Built, asked, grouped, on_disk


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredRows:
    return on_disk(tmp_path_factory.mktemp("rows"), grouped())


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return asked(grouped())


@pytest.fixture(scope="module", params=["compressed", "clustered"])
def built(request: pytest.FixtureRequest, stored: StoredRows, queries: np.ndarray) -> Built:
    return build_index(stored, queries, method=request.param)


@pytest.fixture(scope="module")
def in_cells(stored: StoredRows, queries: np.ndarray) -> Built:
    return build_index(stored, queries, method="clustered", target=0.5)


@pytest.fixture
def index(stored: StoredRows, built: Built) -> CompressedIndex:
    opened = open_index(stored, *built)
    assert isinstance(opened, CompressedIndex)
    return opened
