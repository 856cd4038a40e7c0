"""Public sets of images from their raw form to results: build, show, evaluate or train."""

import numpy as np
import pytest

from configs import places_csv
from tests.end_to_end import test_drives
from tests.helpers import evaluations, raw_gsv_cities, raw_msls, raw_photos, raw_places
from tests.unit.tfds_builders import (
    test_dbstruct_sets,
    test_mapillary,
    test_msls_windows,
    test_nordland,
    test_sfxl,
    test_st_lucia,
    test_vpr_bench,
)
from tests.unit.tfds_builders.test_layouts import write, write_dbstruct
from tfds_builders.places_csv.layouts import LAYOUTS
from vprjax import run
from vprjax.errors import DataError

M, FRAMES = (25.0, 10.0), (10.0, 1.0)
SETS = {  # config of the build, references, queries, unit, tolerances
    "msls": ({"protocol": "msls_25m"}, "val_database", "val_query", "m", M),
    "sfxl": ({}, "val_database", "test_queries_night", "m", M),
    "nordland": ({"protocol": "nordland_10_frames"}, "database", "queries", "frames", FRAMES),
    "vpr_bench": ({}, "ref", "query", "frames", (0.0,)),
    "st_lucia": ({}, "190809_0845", "180809_1545", "m", M),
    "tokyo247": ({"protocol": "tokyo247_315"}, "database", "queries", "m", M),
    "dbstruct": ({}, "pitts_database", "pitts_queries", "m", M),
    "csv": ({}, "reference", "test01", "m", M),
    "utm": ({}, "database", "queries", "m", M),
    "aligned": ({}, "summer", "winter", "frames", FRAMES),
    "photos": ({}, "monday", "friday", "m", M),
    "mapillary": ({}, "ride", "second", "m", M),
}
PROTOCOLS = {name: f"{name}_25m" for name in ("msls", "sfxl", "st_lucia", "dbstruct")}
PROTOCOLS |= {"nordland": "nordland_10_frames", "vpr_bench": "vpr_bench"}
PROTOCOLS |= {"tokyo247": "tokyo247_315"}


def write_two_recordings(raw) -> None:
    test_st_lucia.write_recording(raw, "190809_0845")
    test_st_lucia.write_recording(raw, "180809_1545", first=50)


def write_pittsburgh(raw) -> None:
    write(raw, "000/a.jpg", "000/b.jpg", "queries_real/000/c.jpg")
    sides = ["000/a.jpg", "000/b.jpg"], [[1, 2], [31, 2]], ["000/c.jpg"], [[5, 6]]
    write_dbstruct(raw / "pitts.mat", *sides)


def write_photos(raw) -> None:
    for day, north in (("monday", 0.0), ("friday", 1e-5)):
        for i in range(3):
            place = raw_photos.place(51.5 + north + 1e-4 * i, -0.1)
            raw_photos.write_photo(raw / day / f"{day}{i}.jpg", place)


def write_rides(raw) -> None:
    again = [test_mapillary.entry(f"/x/second/{n}.jpg", n) for n in range(3)]
    test_mapillary.write_raw(raw, *again)
    write(raw, *(f"second/{n}.jpg" for n in range(3)), first=40)


WRITE = {
    "msls": lambda raw: raw_msls.write(raw, "cph", "sf"),
    "sfxl": test_sfxl.write_sfxl,
    "nordland": test_nordland.write_seasons,
    "vpr_bench": test_vpr_bench.make,
    "st_lucia": write_two_recordings,
    "tokyo247": test_dbstruct_sets.write_tokyo,
    "dbstruct": write_pittsburgh,
    "csv": lambda raw: raw_places.write_raw(raw, ("reference", "test01")),
    "utm": lambda raw: write(
        raw, *(f"{s}/@{i}0@5@.jpg" for s in ("database", "queries") for i in range(3))
    ),
    "aligned": lambda raw: write(
        raw, *(f"{s}/{i:03d}.png" for s in ("summer", "winter") for i in range(3))
    ),
    "photos": write_photos,
    "mapillary": write_rides,
}


def config_of(tmp_path):
    config = places_csv.get_config("mobilenetv2,gem,triplet")
    config.dataset.update(name="places_csv/mine", data_dir=str(tmp_path / "data"), tolerances=M)
    config.model.update(stage="expanded_conv")
    config.eval.update(recalls=(1, 2), batch=8)
    return config


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return evaluations.write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


@pytest.mark.parametrize("layout", SETS)
def test_evaluation_sets_without_training_data(tmp_path, layout, weights, monkeypatch, capsys):
    keys, reference, query, *counted = SETS[layout]
    WRITE[layout](tmp_path / "raw")
    counts = evaluations.build(tmp_path, layout, **keys)["counts"]
    shown = capsys.readouterr().out
    results, figures = evaluations.evaluate(
        tmp_path, monkeypatch, weights, reference, query, *counted
    )
    told = (tmp_path / "run/results.md").read_text()
    page = (tmp_path / "run/report.html").read_text()
    name = PROTOCOLS.get(layout)
    assert results["provenance"]["protocol"].get("name") == name
    if name:
        assert f"protocol {name}: " in shown
        assert f"- protocol: {name}: " in told and name in page
    assert figures["queries"] == counts[query]["kept"]
    assert figures["references"] == counts[reference]["kept"]
    assert "with_position" not in figures  # all count
    words = "one that the dataset lists as right"
    assert (words in told) == (words in page) == (layout == "vpr_bench")
    if layout == "vpr_bench":
        assert figures["oracle_fcm"] == {"0": 75.0}  # one of four queries has no right answer


def test_windows_of_frames_ask_and_answer(tmp_path, weights, monkeypatch):
    """MSLS's task seq2seq."""
    test_msls_windows.write(tmp_path / "raw")
    told = evaluations.build(tmp_path, "msls", protocol="msls_25m_seq2seq")
    splits = ("val_database", "val_query")
    results, figures = evaluations.evaluate(
        tmp_path, monkeypatch, weights, *splits, tolerances=(0.0,)
    )
    counted = [len(told["windows"][split]["middles"]) for split in splits]
    assert [figures["references"], figures["queries"]] == counted
    assert figures["oracle_fcm"] == {"0": 100.0} and figures["recall"]["1"] == figures["fcm"]["0"]
    assert results["provenance"]["protocol"]["name"] == "msls_25m_seq2seq"
    assert "the mean of theirs" in (tmp_path / "run/results.md").read_text()


def test_every_layout_is_evaluated_here_or_trained_on():
    assert set(LAYOUTS) == {*SETS, *test_drives.LAYOUTS, "gsv_cities"}


def test_a_training_set_without_queries(tmp_path, monkeypatch):
    """GSV-Cities trains; the model is then evaluated on another dataset."""
    raw_gsv_cities.write(tmp_path / "raw", {"London": raw_gsv_cities.grid(12)})
    evaluations.build(tmp_path, "gsv_cities")
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
    evaluations.build(tmp_path / "two", "utm")
    other = config_of(tmp_path / "two")
    other.dataset.update(reference_split="database", query_splits=("queries",))
    found = run.evaluate_checkpoint(str(tmp_path / "run"), other, tmp_path / "evaluated")
    assert set(found) == {"off_the_shelf", "fine_tuned"}
    assert np.isfinite([*found["fine_tuned"]["queries"].figures.fcm.values()]).all()
