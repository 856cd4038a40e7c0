"""DELF's command: a wrong first match comes behind one whose local features agree."""

import dataclasses
import json
import sys
import types

import delf
import numpy as np
import pytest
from analysis.text_table import Table
from grid import baselines

from tests.helpers import memory_places
from vprjax.errors import ConfigError
from vprjax.retrieval import geometric
from vprjax.storage import checksum

COUNT = 6


def places(split):
    """Images whose pixels hold their place's number."""
    return dataclasses.replace(memory_places.drive(COUNT, laps=1), split_names=(split,))


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
    """Global descriptors; the queries' first two are exchanged."""
    rows = np.eye(COUNT, dtype=np.float32) + 0.1
    if places.split_names == ("test01",):
        rows[[0, 1]] = rows[[1, 0]]
    yield rows


@pytest.fixture
def dataset(monkeypatch, tmp_path):
    made = types.SimpleNamespace(
        name="places_csv/mine",
        version="1.0.0",
        metadata={},
        counts={"reference": COUNT, "test01": COUNT},
        folder=tmp_path / "mine",
        places=lambda splits: places(*splits),
    )
    monkeypatch.setattr(delf.source, "open_dataset", lambda config: made)
    model = types.SimpleNamespace(stream=stream, title="DELF", digest="12ab")
    monkeypatch.setattr(delf, "model_for", lambda args, references: (model, local))


def run(monkeypatch, tmp_path, *flags):
    arguments = ["--weights=variables.index", "--dataset=places_csv/mine", f"--out={tmp_path}"]
    sets = ["--set", "dataset.query_splits=('test01',)", "--set", "dataset.tolerances=(5.0,)"]
    sets += ["--set", "eval.recalls=(1, 2)"]
    monkeypatch.setattr(sys, "argv", ["delf.py", *arguments, *sets, *flags])
    return delf.main()


def test_the_check_mends_what_the_global_descriptor_confuses(dataset, monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, "--first=3") == 0
    found = checksum.unseal((tmp_path / "results.json").read_text())
    plain, checked = (found["results"][way]["test01"] for way in ("delf", "delf_checked"))
    assert plain["fcm"] == {"5": 66.6667} and checked["fcm"] == {"5": 100.0}
    assert checked["queries"] == COUNT and checked["recall"] == {"1": 100.0, "2": 100.0}
    assert checked["average_precision"] == 100.0
    text = (tmp_path / "delf.md").read_text()
    assert "| test01 | DELF | 66.7 |" in text
    assert "| test01 | DELF, checked by geometry | 100.0 |" in text
    assert "1 queries of test01 have no local feature and keep their order." in text
    assert isinstance(delf.table(found), Table)
    cost = found["provenance"]["cost"]
    assert cost["delf"]["bytes_per_image"] == 4 * COUNT
    assert cost["delf_checked"]["bytes_per_image"] == 4 * COUNT + 4 * 5 * 40 * (8 + 2) // COUNT


def test_features_on_the_disk_are_those_in_memory_to_the_bit(tmp_path):
    every = [local(np.full((1, 1, 3), place)) for place in (0, COUNT - 1, 3)]
    stored = delf.Stored(iter(every), tmp_path)
    for number in (2, 0, 1, 2):
        for name in ("points", "descriptors"):
            found, wanted = getattr(stored[number], name), getattr(every[number], name)
            np.testing.assert_array_equal(found, wanted, strict=True)
    assert stored.counts == [40, 0, 40] and stored.bytes == 2 * 4 * 40 * (8 + 2)
    assert not list(tmp_path.iterdir())  # a kill leaves nothing


def test_both_ways_are_rows_of_the_field(dataset, monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path / "baselines/delf/seed0", "--first=3") == 0
    rows, made = baselines.write(tmp_path, None)
    assert [row.name for row in rows] == ["delf", "delf_checked"]
    assert [line[0] for line in made.rows[:2]] == ["DELF", "DELF, checked by geometry"]
    assert json.loads(rows[1].settings)["first"] == 3 and rows[0].recall_1 == "66.6667"
    assert (
        "- DELF, checked by geometry: The first matches" in (tmp_path / "baselines.md").read_text()
    )


def test_more_matches_than_references_are_refused(dataset, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tmp_path, "--first=7") == 2
    assert "--first=7 must be from 1 to the 6 references" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("eval.pca=8", "eval.pca=8 is for models that vprjax.main evaluates: set it to 0"),
        ("eval.rerank=4", "eval.rerank=4 is for models that vprjax.main evaluates: set it to 0"),
        (
            "eval.other_datasets=('places_csv/x',)",
            "is for models that vprjax.main evaluates: set it to ()",
        ),
        ("baseline.name=hog", "--set baseline.name=hog: a grid has several; choose with"),
        ("eval.recalls=(0,)", "eval.recalls=(0,) must be"),
        ("eval.recalls=(1, 7)", "eval.recalls=(1, 7) must not go over the 6 images"),
        ("eval.query_expansion=7", "eval.query_expansion=7 must not go over the 6 images"),
        ("eval.standardise=set", "eval.standardise='set' must be"),
        ("dataset.query_splits=('test02',)", "has no images in split 'test02'"),
        ("dataset.query_splits=()", "dataset.query_splits is empty"),
    ],
)
def test_a_config_that_cannot_be_evaluated_is_refused(
    dataset, monkeypatch, tmp_path, capsys, change, words
):
    monkeypatch.setattr(delf, "model_for", lambda *_: pytest.fail("the model was read"))
    assert run(monkeypatch, tmp_path, "--first=3", "--set", change) == 2
    assert words in capsys.readouterr().err


def test_a_model_without_attention_is_refused(monkeypatch):
    module = types.SimpleNamespace(pooling=object())
    monkeypatch.setattr(delf, "load_released", lambda path: (module, {}))
    monkeypatch.setattr(
        delf.vprjax, "load", lambda path, size: types.SimpleNamespace(title="CosPlace")
    )
    args = types.SimpleNamespace(weights="a.pth", threshold=0.0)
    with pytest.raises(ConfigError, match=r"a\.pth is CosPlace: its head is no attention"):
        delf.model_for(args, places("reference"))
