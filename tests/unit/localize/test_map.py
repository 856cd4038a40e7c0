"""Maps: built, saved, opened, asked and added to; what does not fit is named."""

import argparse
import json
import os
import pathlib

import numpy as np
import PIL.Image
import pytest

from tests.helpers import made_up_model, short_run
from tests.helpers.made_up_model import drive, picture
from vprjax import retrieval
from vprjax.data import source as datasets
from vprjax.errors import ConfigError, DataError
from vprjax.localize import load
from vprjax.localize.calibration import Calibration
from vprjax.localize.commands.map import COMMAND
from vprjax.localize.map import Map


@pytest.fixture
def model():
    return made_up_model.model()


def contents(folder):
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_from_pictures_to_an_answer(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"))
    assert len(places) == 12 and places.unit == "m" and places.crs == "EPSG:32631"
    built_in = places.folder
    places.save(tmp_path / "maps/monday")
    assert not built_in.exists() and places.folder == tmp_path / "maps/monday"
    answer = Map.open(tmp_path / "maps/monday", model).query(tmp_path / "monday/003.png", k=3)
    assert answer.image_ids[0] == "003.png" and answer.distances[0] == 0
    assert answer.positions[0].tolist() == [500030.0, 5700000.0]
    assert answer.image_ids.shape == answer.distances.shape == (3,)
    assert answer.positions.shape == (3, 2)
    assert (np.diff(answer.distances) > 0).all()
    assert answer.confidence == 1 and answer.located is None
    assert places.frames.times.tolist() == list(range(12))
    assert (places.frames.headings == 0.5).all() and (places.frames.altitudes == 40).all()
    assert pathlib.Path(places.frames.paths[4]) == tmp_path / "monday/004.png"


def test_one_picture_or_several(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"))
    path, pixels = tmp_path / "monday/005.png", picture(5)
    for one in (path, str(path), pixels, PIL.Image.open(path)):
        assert places.query(one).image_ids[0] == "005.png"
    for several in ([path], [path, pixels], np.stack([pixels] * 3), (p for p in [path])):
        answers = places.query(several, k=1)
        assert [a.image_ids.tolist() for a in answers] == [["005.png"]] * len(answers)
    assert places.query([]) == []
    assert len(places.query(path, k=100).image_ids) == 12
    with pytest.raises(DataError, match="k is 0; give a whole number, 1 or more"):
        places.query(path, k=0)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_neighbours_are_the_evaluations(model, tmp_path, count):
    places = Map.build(model, drive(tmp_path / "monday"))
    places.add(drive(tmp_path / "tuesday", range(20, 50)))
    queries = model.describe([picture(100 + i) for i in range(count)])
    found = retrieval.search(queries, np.array(places.descriptors[:]), 5)
    for number, answer in enumerate(places.query_descriptors(queries)):
        assert (answer.numbers == found.indices[number]).all()
        assert (answer.distances == found.distances[number]).all()
    with pytest.raises(DataError, match=r"descriptors \(1, 3\) do not fit the map's \(42, 24\)"):
        places.query_descriptors(np.zeros((1, 3), np.float32))


def test_a_calibration_says_what_is_located(model, tmp_path):
    facts = {"model": model.id, "data": "d", "queries": 9, "radius": 5.0, "precision": 0.9}
    facts |= {"threshold": 0.1, "reached": 1.0, "answered": 0.5}
    model.calibration = {**facts, "distances": [0.0, 2.0], "shares": [0.9, 0.1]}
    places = Map.build(model, drive(tmp_path / "monday"))
    assert isinstance(places.calibration, Calibration)
    known, strange = places.query([picture(3), picture(99)])
    assert known.located is True and known.confidence == pytest.approx(0.9)
    assert strange.located is False and strange.confidence < 0.9


def test_descriptors_are_judged_as_pictures_are(model, tmp_path):
    facts = {"model": model.id, "data": "d", "queries": 9, "radius": 5.0, "precision": 0.9}
    facts |= {"threshold": 0.1, "reached": 1.0, "answered": 0.5}
    model.calibration = {**facts, "distances": [0.0, 2.0], "shares": [0.9, 0.1]}
    places = Map.build(model, drive(tmp_path / "monday"))
    (asked,), rows = places.query([picture(3)]), model.describe(picture(3))
    (own,), (plain,) = places.query_descriptors(rows), places.query_descriptors(rows, 5, None)
    assert (own.confidence, own.located, own.rule) == (asked.confidence, True, "distance")
    assert (plain.confidence, plain.located, plain.rule) == (1, None, None)


def test_descriptors_of_no_use_are_named(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"))
    rows = np.ones((3, 24), np.float32)
    rows[1, 5] = np.nan
    for wrong, words in (
        (rows[:1].tolist(), r"are a list: give a float array \(q, d\)"),
        (rows[0], r"float32 \(24,\): give a float array \(q, d\), one descriptor as"),
        (np.ones((2, 24), int), r"int64 \(2, 24\): give a float array"),
        (rows, "1 of 3 descriptors hold NaN or infinity, the first at row 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            places.query_descriptors(wrong)


@pytest.mark.parametrize("k", [-1, 2.5, "5", True, None])
def test_a_number_of_places_is_checked_before_anything_is_described(model, tmp_path, k):
    places = Map.build(model, drive(tmp_path / "monday"))
    with pytest.raises(DataError, match=f"k is {k!r}; give a whole number"):
        places.query("absent.jpg", k)
    with pytest.raises(DataError, match="give a whole number"):
        places.query_descriptors(np.asarray(places.descriptors[:1]), k)


def test_another_model_is_refused(model, tmp_path):
    Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    other = made_up_model.model(1)
    both = r"is a map of Pixels 0 \(8x10, id \w{12}\), not of Pixels 1 \(8x10, id \w{12}\)"
    with pytest.raises(DataError, match=both):
        Map.open(tmp_path / "map", other)
    with pytest.raises(DataError, match=both):
        Map.build(other, tmp_path / "monday/positions.json", tmp_path / "map")


def test_the_model_is_loaded_from_where_it_was(model, tmp_path, monkeypatch):
    Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    asked = []

    def loading(path, size):
        asked.append((path, size))
        return model

    monkeypatch.setattr(load, "load", loading)
    places = Map.open(tmp_path / "map")
    assert not asked
    assert places.query(picture(2)).image_ids[0] == "002.png"
    assert asked == [("nowhere/model", (8, 10))]
    monkeypatch.undo()
    with pytest.raises(
        DataError, match=r"nowhere/model is not there.*pass the model that built it"
    ):
        Map.open(tmp_path / "map").query(picture(2))


def test_add_skips_what_is_there_and_names_apart_what_is_not(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    assert places.add(tmp_path / "monday/positions.json") == 0
    assert places.add(drive(tmp_path / "monday", range(14))) == 2
    assert len(places) == 14 and places.frames.image_ids[-1] == "013.png"
    more = drive(tmp_path / "tuesday", range(5, 8))
    assert places.add(more) == 3
    assert places.frames.image_ids[-3:].tolist() == [f"tuesday/00{i}.png" for i in (5, 6, 7)]
    again = Map.open(tmp_path / "map", model)
    assert (again.frames.image_ids == places.frames.image_ids).all() and len(again) == 17
    assert (again.drives[:14] == again.drives[0]).all() and (
        again.drives[14:] != again.drives[0]
    ).all()
    answer = again.query(picture(6), k=2)
    assert answer.image_ids.tolist() == ["006.png", "tuesday/006.png"]  # ties to the first
    header = json.loads((tmp_path / "map/map.json").read_text())
    assert [part["images"] for part in header["parts"]] == [12, 2, 3]


@pytest.fixture
def prepared(monkeypatch):
    """Every dataset is the drive in memory."""
    dataset = short_run.Dataset()
    dataset.metadata = {"position_unit": "m"}
    monkeypatch.setattr(datasets, "open_dataset", lambda config: dataset)


def test_records_of_other_datasets_are_other_images(model, tmp_path, prepared):
    places = Map.build(model, "synthetic/tiny:test01", tmp_path / "map")
    assert places.add("synthetic/tiny:test01") == 0
    assert places.add("synthetic/default:test01") == 80
    assert places.frames.image_ids[80] == "default:test01/train/0"
    assert places.add("synthetic/default:test01") == 0 and len(places) == 160
    assert places.add("synthetic/tiny:test01", str(tmp_path)) == 80
    with pytest.raises(DataError, match="from elsewhere; build a map of its own"):
        places.add("synthetic/tiny:test01", str(tmp_path / "third"))


def test_an_addition_takes_the_maps_size(model, tmp_path, monkeypatch):
    Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    asked = []
    monkeypatch.setattr(load, "load", lambda path, size: asked.append(size) or model)
    command = ["map", "--model=mine", f"--out={tmp_path / 'map'}", "--add"]
    command.append(f"--images={drive(tmp_path / 'tuesday', range(20, 23))}")
    for more in ([], ["--size=16x16"]):
        parser = argparse.ArgumentParser()
        COMMAND.arguments(parser)
        COMMAND.run(parser.parse_args([*command[1:], *more]))
    assert asked == [(8, 10), (16, 16)] and len(Map.open(tmp_path / "map", model)) == 15


def test_changed_pictures_and_positions_are_told(model, tmp_path, capsys):
    source = drive(tmp_path / "monday")
    places = Map.build(model, source, tmp_path / "map")
    os.utime(tmp_path / "monday/002.png", ns=(1, 1))
    document = json.loads(source.read_text())
    document["splits"]["drive"][5]["x"] += 1
    source.write_text(json.dumps(document))
    words = "2 pictures have changed since it was built: build a new map"
    with pytest.raises(DataError, match=words):
        Map.build(model, source, tmp_path / "map")
    assert places.add(source) == 0 and words in capsys.readouterr().err


def test_pictures_that_have_moved_are_told(model, tmp_path, capsys):
    places = Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    assert places.add(drive(tmp_path / "tuesday", range(20, 25))) == 5
    assert "warning" not in capsys.readouterr().err
    (tmp_path / "monday").rename(tmp_path / "moved")
    assert places.add(tmp_path / "moved/positions.json") == 12
    assert "warning: 12 pictures to add have size and time of change" in capsys.readouterr().err


def test_a_map_of_an_earlier_version_has_no_stamps(model, tmp_path, capsys):
    source = drive(tmp_path / "monday")
    Map.build(model, source, tmp_path / "map")
    file = tmp_path / "map/part-0000/frames.npz"
    with np.load(file) as found:
        columns = {name: found[name] for name in found if name != "stamps"}
    np.savez(file, **columns)
    os.utime(tmp_path / "monday/002.png", ns=(1, 1))
    places = Map.open(tmp_path / "map", model)
    assert places.add(source) == 0 and "changed" not in capsys.readouterr().err
    assert places.query(picture(2)).image_ids[0] == "002.png"


def test_one_name_for_two_images_is_refused(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    twice = drive(tmp_path / "tuesday", range(20, 23), id="q")
    for made in (places.add, lambda name: Map.build(model, name, tmp_path / "other")):
        with pytest.raises(DataError, match="q names two images of one source; rename one"):
            made(twice)
    assert not (tmp_path / "other").exists()
    assert len(Map.open(tmp_path / "map", model)) == 12


def test_positions_of_another_zone_are_brought_to_the_maps(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "west"))
    east = drive(tmp_path / "east", range(30, 33), crs="EPSG:32632")
    places.add(east)
    # The zones' middles lie 6 degrees apart, and both drives begin on the middle of theirs.
    apart = places.frames.positions[12] - places.frames.positions[0]
    assert 410_000 < apart[0] < 430_000 and 15_000 < apart[1] < 30_000
    flat = drive(tmp_path / "flat", range(40, 42), crs=None)
    with pytest.raises(DataError, match="in m of an unknown system, the map in m of EPSG:32631"):
        places.add(flat)
    places.add(drive(tmp_path / "nowhere", range(50, 52), crs=None, x=None, y=None))
    assert np.isnan(places.query(picture(50)).positions[0]).all() and places.crs == "EPSG:32631"


def test_a_map_without_positions_takes_the_system_of_the_first_that_come(model, tmp_path):
    unknown = {"x": None, "y": None}
    places = Map.build(model, drive(tmp_path / "nowhere", range(3), crs=None, **unknown))
    places.add(drive(tmp_path / "monday", range(20, 23)))
    assert places.crs == "EPSG:32631"
    assert places.query(picture(21)).positions[0].tolist() == [500010.0, 5700000.0]


def test_a_folder_is_not_written_over(model, tmp_path):
    places = Map.build(model, drive(tmp_path / "monday"), tmp_path / "map")
    before = contents(tmp_path / "map")
    again = Map.build(model, tmp_path / "monday/positions.json", tmp_path / "map")
    assert len(again) == 12 and contents(tmp_path / "map") == before
    with pytest.raises(
        DataError, match=r"holds a map of .*monday/positions\.json already; add to it"
    ):
        Map.build(model, drive(tmp_path / "tuesday", range(3)), tmp_path / "map")
    with pytest.raises(DataError, match=r"map holds something already; name a new folder"):
        places.save(tmp_path / "map")
    pictures = contents(tmp_path / "monday")
    with pytest.raises(
        DataError, match=r"monday holds something else \(000.png\); name a new folder"
    ):
        Map.build(model, tmp_path / "absent.json", tmp_path / "monday")
    assert contents(tmp_path / "monday") == pictures  # no lock lies among them
    assert contents(tmp_path / "map") == before


def test_a_folder_without_a_name_is_not_the_one_at_hand(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = Map.build(model, drive(tmp_path / "monday"))
    for wrong in (Map.open, places.save, lambda at: Map.build(model, "monday/positions.json", at)):
        with pytest.raises(DataError, match="the map's folder has no name"):
            wrong("")
    with pytest.raises(DataError, match="no images are named"):
        Map.build(model, "")


class Stop(Exception):
    pass


def stopping(at):
    """A model that stops before image `at`."""

    def before(first):
        if first >= at:
            raise Stop

    return made_up_model.model(before=before)


def test_a_stopped_build_goes_on_and_leaves_the_same_bytes(model, tmp_path):
    source = drive(tmp_path / "monday", range(15))
    Map.build(model, source, tmp_path / "whole")
    for at in (4, 8, 12):
        with pytest.raises(Stop):
            Map.build(stopping(at), source, tmp_path / "map")
        with pytest.raises(DataError, match=r"holds no map .*run the same command again"):
            Map.open(tmp_path / "map")
    cut = tmp_path / "map/.map.json.123.partial"  # of a build that was killed at its end
    cut.write_text("{")
    seen = []
    Map.build(made_up_model.model(before=seen.append), source, tmp_path / "map")
    assert seen == [12]
    cut.unlink()
    assert contents(tmp_path / "map") == contents(tmp_path / "whole")


def test_a_stopped_addition_leaves_the_map_as_it_was(model, tmp_path):
    first, second = drive(tmp_path / "monday"), drive(tmp_path / "tuesday", range(20, 35))
    Map.build(model, first, tmp_path / "whole").add(second)
    Map.build(model, first, tmp_path / "map")
    with pytest.raises(Stop):
        Map.open(tmp_path / "map", stopping(8)).add(second)
    assert len(Map.open(tmp_path / "map", model)) == 12
    places = Map.open(tmp_path / "map", model)
    assert places.add(second) == 15 and len(places) == 27
    assert contents(tmp_path / "map") == contents(tmp_path / "whole")


def test_a_changed_picture_begins_a_stopped_build_anew(model, tmp_path):
    source = drive(tmp_path / "monday", range(15))
    with pytest.raises(Stop):
        Map.build(stopping(8), source, tmp_path / "map")
    drive(tmp_path / "monday", [99])
    (tmp_path / "monday/099.png").replace(tmp_path / "monday/000.png")
    drive(tmp_path / "monday", range(1, 15))  # writes the positions again
    source = drive(tmp_path / "monday", range(15))
    places = Map.build(model, source, tmp_path / "map")
    assert places.query(picture(0)).distances[0] == 0


def test_what_is_damaged_is_named(model, tmp_path):
    source = drive(tmp_path / "monday")
    Map.build(model, source, tmp_path / "map")
    header, frames = tmp_path / "map/map.json", tmp_path / "map/part-0000/frames.npz"
    whole = header.read_text()
    header.write_text(whole.replace("Pixels 0", "Pixels 1"))
    again = rf"delete {tmp_path / 'map'} and build the map again"
    with pytest.raises(DataError, match=rf"map\.json cannot be read .*{again}"):
        Map.open(tmp_path / "map", model)
    header.write_text(whole)
    frames.write_bytes(frames.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"frames\.npz cannot be read .*{again}"):
        Map.open(tmp_path / "map", model)
    rows = tmp_path / "map/part-0000/rows"
    rows.write_bytes(rows.read_bytes()[:-5])
    opening = (
        lambda: Map.open(tmp_path / "map"),
        lambda: Map.build(model, source, tmp_path / "map"),
    )
    for opened in opening:
        with pytest.raises(DataError, match=rf"part-0000 is incomplete: .* bytes of .*; {again}$"):
            opened()
    for other in ("nothing", "monday", "monday/000.png"):
        with pytest.raises(DataError, match=f"{other} holds no map; build one with"):
            Map.open(tmp_path / other, model)
    (tmp_path / "monday/005.png").write_text("no picture")
    with pytest.raises(DataError, match=r"005\.png is .*not an image of a format"):
        Map.build(model, source, tmp_path / "other")
    (tmp_path / "monday/005.png").unlink()
    with pytest.raises(DataError, match=r"005\.png cannot be read \(No such file"):
        Map.build(model, source, tmp_path / "third")


def test_no_room_on_the_disk_is_said_first(model, tmp_path, monkeypatch):
    source = drive(tmp_path / "monday")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match=r"needs 1,152 more bytes, but only 100 are free"):
        Map.build(model, source, tmp_path / "map")
