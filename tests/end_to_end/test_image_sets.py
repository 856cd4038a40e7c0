"""Public sets of images from their raw form to results: build, show, evaluate or train."""

import json

import numpy as np
import pytest

from configs import places_csv
from tests.helpers import raw_gsv_cities, raw_msls
from tests.helpers.raw_places import command
from tests.unit.tfds_builders import (
    test_dbstruct_sets,
    test_nordland,
    test_sfxl,
    test_st_lucia,
    test_vpr_bench,
)
from tests.unit.tfds_builders.test_layouts import write
from tfds_builders.__main__ import main
from vprjax import run
from vprjax.errors import DataError
from vprjax.training import preflight

M, FRAMES = (25.0, 10.0), (10.0, 1.0)
SETS = {  # config of the build, references, queries, unit, tolerances and positions that count
    "msls": ({"protocol": "msls_25m"}, "val_database", "val_query", "m", M),
    "sfxl": ({}, "val_database", "test_queries_night", "m", M),
    "nordland": ({"protocol": "nordland_10_frames"}, "database", "queries", "frames", FRAMES),
    "vpr_bench": ({}, "ref", "query", "frames", (0.0,)),
    "st_lucia": ({}, "190809_0845", "180809_1545", "m", M),
    "tokyo247": ({"protocol": "tokyo247_315"}, "database", "queries", "m", M),
}


def write_raw(layout: str, raw) -> None:
    if layout == "msls":
        raw_msls.write(raw, "cph", "sf")
    elif layout == "sfxl":
        test_sfxl.write_sfxl(raw)
    elif layout == "nordland":
        test_nordland.write_seasons(raw)
    elif layout == "vpr_bench":
        test_vpr_bench.make(raw)
    elif layout == "st_lucia":
        test_st_lucia.write_recording(raw, "190809_0845")
        test_st_lucia.write_recording(raw, "180809_1545", first=50)
    elif layout == "tokyo247":
        test_dbstruct_sets.write_tokyo(raw)


def build(tmp_path, layout, **keys) -> None:
    values = {"name": "mine", "layout": layout, "height": 32, "width": 48, **keys}
    option = f"--config={json.dumps(values)}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "data", option) == 0
    shown = ["show", "places_csv", f"--data_dir={tmp_path}/data", f"--out={tmp_path}/shown"]
    assert main(shown) == 0


def config_of(tmp_path, unit="m", tolerances=M):
    config = places_csv.get_config("mobilenetv2,gem,triplet")
    config.dataset.update(name="places_csv/mine", data_dir=str(tmp_path / "data"))
    config.dataset.update(position_unit=unit, tolerances=tolerances)
    config.model.update(stage="expanded_conv")
    config.eval.update(recalls=(1, 2), batch=8)
    return config


@pytest.mark.parametrize("layout", SETS)
def test_evaluation_sets_without_training_data(tmp_path, layout, monkeypatch, capsys):
    keys, reference, query, unit, tolerances = SETS[layout]
    write_raw(layout, tmp_path / "raw")
    build(tmp_path, layout, **keys)
    name = keys.get("protocol", {"vpr_bench": "vpr_bench"}.get(layout, f"{layout}_25m"))
    assert f"protocol {name}: " in capsys.readouterr().out
    config = config_of(tmp_path, unit, tolerances)
    config.dataset.update(reference_split=reference, query_splits=(query,))
    config.model.weights = "made up"
    monkeypatch.setattr(preflight, "_weights", lambda *_: (None, "random", []))
    run.evaluate_checkpoint(None, config, tmp_path / "run")
    results = json.loads((tmp_path / "run/results.json").read_text())
    (figures,) = results["results"]["off_the_shelf"].values()
    assert results["provenance"]["protocol"]["name"] == name
    assert f"- protocol: {name}: " in (tmp_path / "run/results.md").read_text()
    assert name in (tmp_path / "run/report.html").read_text()
    counts = json.loads((tmp_path / "data/places_csv/mine/1.0.0/metadata.json").read_text())[
        "counts"
    ]
    assert figures["queries"] == counts[query]["kept"]
    assert figures["references"] == counts[reference]["kept"]
    assert "with_position" not in figures  # all count
    found = list(figures["fcm"].values())
    assert found == sorted(found, reverse=True) and 0 <= found[-1] <= found[0] <= 100
    words = "one that the dataset lists as right"
    assert (words in (tmp_path / "run/results.md").read_text()) == (layout == "vpr_bench")
    assert (words in (tmp_path / "run/report.html").read_text()) == (layout == "vpr_bench")
    if layout == "vpr_bench":
        assert figures["oracle_fcm"] == {"0": 75.0}  # one of four queries has no right answer


def test_a_training_set_without_queries(tmp_path, monkeypatch):
    """GSV-Cities trains; the model is then evaluated on another dataset."""
    raw_gsv_cities.write(tmp_path / "raw", {"London": raw_gsv_cities.grid(12)})
    build(tmp_path, "gsv_cities")
    config = config_of(tmp_path)
    config.tuples.update(batch=8, negatives=1, mining="random", heading_degrees=0.0)
    config.train.update(steps=1, log_every=1, checkpoint_every=1)
    with pytest.raises(DataError, match=r"to train alone, set dataset\.query_splits=\(\)"):
        run.train_and_evaluate(config, tmp_path / "run")
    config.dataset.query_splits = ()
    said = []
    monkeypatch.setattr(run, "log", said.append)
    assert run.train_and_evaluate(config, tmp_path / "run") == {}
    assert any("so nothing is evaluated; evaluate the model on another dataset" in x for x in said)
    assert not (tmp_path / "run/results.json").exists()
    write(tmp_path / "two/raw/database", *(f"@{i}@0@.jpg" for i in range(0, 60, 20)), first=500)
    write(tmp_path / "two/raw/queries", "@1@0@.jpg", first=600)
    build(tmp_path / "two", "utm")
    other = config_of(tmp_path / "two")
    other.dataset.update(reference_split="database", query_splits=("queries",))
    found = run.evaluate_checkpoint(str(tmp_path / "run"), other, tmp_path / "evaluated")
    assert set(found) == {"off_the_shelf", "fine_tuned"}
    assert np.isfinite([*found["fine_tuned"]["queries"].figures.fcm.values()]).all()
