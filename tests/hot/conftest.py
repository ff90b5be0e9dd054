"""Time for a hot tier whose speed a test is not about."""

import pytest

from tidings.storage.hot import line


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions take long: a busy machine is not a tier that is away."""
    monkeypatch.setattr(line, "OPERATION_SECONDS", 10.0)
