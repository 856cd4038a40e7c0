"""DELF's command: a wrong first match comes behind one whose local features agree."""

import json
import sys
import types

import delf
import numpy as np
import pytest
from analysis.text_table import Table

from vprjax.errors import ConfigError
from vprjax.retrieval import geometric

COUNT = 6


class Places:
    """Images whose pixels hold their place's number; the global descriptors of two are exchanged."""

    def __init__(self, swapped):
        self.positions = np.stack([np.arange(COUNT) * 10.0, np.zeros(COUNT)], axis=1)
        self.located = np.arange(COUNT)
        self.swapped = swapped

    def __len__(self):
        return COUNT

    def images(self, indices):
        return np.stack([np.full((4, 4, 3), i, np.uint8) for i in indices])


def local(image):
    """Forty features of a place; the last place has none, as an image of one colour."""
    place = int(image[0, 0, 0])
    if place == COUNT - 1:
        return geometric.Local(np.empty((0, 2), np.float32), np.empty((0, 8), np.float32))
    rng = np.random.default_rng(place)
    found = rng.normal(size=(40, 8)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return geometric.Local(rng.uniform(0, 200, (40, 2)).astype(np.float32), found)


def stream(places):
    rows = np.eye(COUNT, dtype=np.float32) + 0.1
    if places.swapped:
        rows[[0, 1]] = rows[[1, 0]]
    yield rows


@pytest.fixture
def dataset(monkeypatch):
    found = {"reference": Places(False), "test01": Places(True)}
    made = types.SimpleNamespace(
        name="places_csv/mine", version="1.0.0", places=lambda splits: found[splits[0]]
    )
    monkeypatch.setattr(delf.source, "open_dataset", lambda config: made)
    model = types.SimpleNamespace(stream=stream, title="DELF")
    monkeypatch.setattr(delf, "model_for", lambda args, references: (model, local))


def run(monkeypatch, tmp_path, *flags):
    arguments = ["--weights=variables.index", "--dataset=places_csv/mine", f"--out={tmp_path}"]
    sets = ["--set", "dataset.query_splits=('test01',)", "--set", "dataset.tolerances=(5.0,)"]
    monkeypatch.setattr(sys, "argv", ["delf.py", *arguments, *sets, *flags])
    return delf.main()


def test_the_check_mends_what_the_global_descriptor_confuses(dataset, monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, "--first=3") == 0
    found = json.loads((tmp_path / "delf.json").read_text())
    figures = found["splits"]["test01"]
    assert figures["fcm_global"] == {"5": 66.67} and figures["fcm_checked"] == {"5": 100.0}
    assert figures["queries"] == COUNT and figures["without_features"] == 1
    text = (tmp_path / "delf.md").read_text()
    assert "| test01 | DELF, global | 66.7 |" in text and "| test01 | checked | 100.0 |" in text
    assert "1 queries of test01 have no local feature and keep their order." in text
    assert isinstance(delf.table(found), Table)


def test_more_matches_than_references_are_refused(dataset, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tmp_path, "--first=7") == 2
    assert "--first=7 must be from 1 to the 6 references" in capsys.readouterr().err
    assert not (tmp_path / "delf.json").exists()


def test_a_model_without_attention_is_refused(monkeypatch):
    module = types.SimpleNamespace(pooling=object())
    monkeypatch.setattr(delf, "load_released", lambda path: (module, {}))
    monkeypatch.setattr(
        delf.vprjax, "load", lambda path, size: types.SimpleNamespace(title="CosPlace")
    )
    args = types.SimpleNamespace(weights="a.pth", threshold=0.0)
    with pytest.raises(ConfigError, match=r"a\.pth is CosPlace: its head is no attention"):
        delf.model_for(args, Places(False))
