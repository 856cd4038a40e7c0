"""Every run here trains on a drive in memory."""

import pytest
from memory_places import drive

from vprjax import train


@pytest.fixture(autouse=True)
def places(monkeypatch):
    monkeypatch.setattr(train.source, "load", lambda config, splits: drive())
