"""What every test leaves as it was."""

from collections.abc import Iterator

import pytest

from tests import stores


@pytest.fixture(autouse=True)
def _no_databases_left() -> Iterator[None]:
    yield
    stores.forget()
