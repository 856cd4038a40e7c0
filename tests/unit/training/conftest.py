"""Every run here trains on a drive in memory."""

import pytest

from tests.helpers.memory_places import drive
from vprjax.training import loop


@pytest.fixture(autouse=True)
def places(monkeypatch):
    monkeypatch.setattr(loop.source, "load", lambda config, splits: drive())
