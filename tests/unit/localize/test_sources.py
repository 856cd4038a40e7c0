"""Sources of a map: positions files, folders that tfds_builders reads, splits of prepared datasets."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import memory_places, short_run
from tests.helpers.made_up_model import SIZE, drive, picture
from vprjax.data import source
from vprjax.data.pictures import Form
from vprjax.data.together import Windows
from vprjax.errors import DataError
from vprjax.localize import sources

FORM = Form(*SIZE)


def test_a_positions_file(tmp_path):
    found = sources.read(drive(tmp_path / "monday", range(5)))
    frames = found.frames
    assert frames.image_ids.tolist() == [f"00{i}.png" for i in range(5)]
    assert (frames.unit, frames.crs, frames.drives[0]) == ("m", "EPSG:32631", "drive")
    assert frames.positions[2].tolist() == [500020.0, 5700000.0]
    assert (found.pictures(FORM).images([3])[0] == picture(3)).all()


def changed(file, **values):
    document = json.loads(file.read_text()) | values
    file.write_text(json.dumps(document))
    return document


def test_unknown_values_are_nan_and_paths_start_at_the_root(tmp_path, capsys):
    file = drive(tmp_path / "monday", range(2), time=None, x=None, heading=None)
    file = file.rename(tmp_path / "moved.json")
    left_out = [{"split": "a", "image": f"{i}.jpg", "reason": "no GPS position"} for i in range(25)]
    changed(file, root=str(tmp_path / "monday"), warnings=["mind the gap"], left_out=left_out)
    frames = sources.read(file).frames
    assert np.isnan(frames.times).all() and np.isnan(frames.positions[:, 0]).all()
    assert frames.paths[0] == str(tmp_path / "monday/000.png")
    said = capsys.readouterr().err
    assert "warning: mind the gap" in said and "left out: 19.jpg: no GPS position" in said
    assert "left out: 5 more" in said


def test_one_split_of_several(tmp_path):
    file = drive(tmp_path / "monday", range(4))
    rows = changed(file)["splits"]["drive"]
    changed(file, splits={"a": rows[:1], "b": rows[1:]})
    assert sources.read(file).frames.drives.tolist() == ["a", "b", "b", "b"]
    assert len(sources.read(f"{file}:b").frames) == 3
    with pytest.raises(DataError, match="has no split 'c'; it has a, b"):
        sources.read(f"{file}:c")


def test_the_key_changes_with_images_and_what_is_known(tmp_path):
    file = drive(tmp_path / "monday", range(4))
    keys = {sources.read(file).key, sources.read(file).key}
    assert len(keys) == 1
    document = changed(file)
    for name, value in (
        ("x", 1.0),
        ("heading", None),
        ("time", 9.0),
        ("altitude", 3.0),
        ("id", "b"),
    ):
        row = {**document["splits"]["drive"][0], name: value}
        changed(file, splits={"drive": [row, *document["splits"]["drive"][1:]]})
        keys.add(sources.read(file).key)
    changed(file, splits=document["splits"])
    os.utime(tmp_path / "monday/002.png", ns=(1, 1))
    keys.add(sources.read(file).key)
    some = sources.read(file).subset(np.array([1, 3]))
    assert some.frames.image_ids.tolist() == ["001.png", "003.png"]
    assert (some.pictures(FORM).images([1])[0] == picture(3)).all()
    keys.add(some.key)
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no positions file"),
        ("[]", "is no positions file"),
        ('{"splits": {}}', "no images"),
    ],
)
def test_other_json_is_named(tmp_path, text, words):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        sources.read(file)


def test_what_is_no_source_is_named(tmp_path):
    for name in ("missing", tmp_path / "a.csv"):
        with pytest.raises(DataError, match="is no source of images: give a folder"):
            sources.read(name)
    with pytest.raises(
        DataError, match=r"ride\.mp4 is a video.*positions \S+ --track=TRACK --fps=2 --frames"
    ):
        sources.read(tmp_path / "ride.mp4")
    with pytest.raises(
        DataError, match=r"no folder pics/monday, .*dataset 'pics/monday' is not built under"
    ):
        sources.read("pics/monday:train", str(tmp_path))


def test_a_folder_is_read_by_tfds_builders(tmp_path, monkeypatch):
    made, asked = drive(tmp_path / "monday", range(3)), []

    def ran(command, **options):
        asked.append(command)
        file = command[-1].removeprefix("--out=")
        with open(file, "w") as out:
            out.write(made.read_text())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", ran)
    (tmp_path / "monday/places.csv").touch()
    for name in (tmp_path / "monday", tmp_path / "monday/places.csv", f"{tmp_path}/monday:drive"):
        assert len(sources.read(name).frames) == 3
    start = [sys.executable, "-m", "tfds_builders", "positions"]
    assert [command[:4] for command in asked] == [start] * 3
    folder = str(tmp_path / "monday")
    assert [command[4] for command in asked] == [folder, f"{folder}/places.csv", folder]
    failed = subprocess.CompletedProcess([], 2, "", "error: places.csv has no column 'x'\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **b: failed)
    with pytest.raises(DataError, match=r"cannot be read: places\.csv has no column 'x'"):
        sources.read(tmp_path / "monday")


def test_a_prepared_split(monkeypatch):
    dataset = short_run.Dataset()
    dataset.metadata = {"position_unit": "frames", "crs": "EPSG:32631"}
    asked = []

    def opened(config):
        asked.append((config.dataset.name, config.dataset.data_dir))
        return dataset

    monkeypatch.setattr(source, "open_dataset", opened)
    found = sources.read("places_csv/mine:1.0.0:reference", "somewhere")
    assert asked == [("places_csv/mine:1.0.0", "somewhere")]
    places = memory_places.drive()
    assert (found.frames.positions == places.positions).all()
    assert (found.frames.times == places.timestamps / 1e6).all()
    assert set(found.frames.drives.tolist()) == {"reference"}
    assert (found.frames.unit, found.frames.crs, found.frames.paths[0]) == (
        "frames",
        "EPSG:32631",
        "",
    )
    assert (found.pictures(FORM).images([7, 3]) == places.images([7, 3])).all()
    smaller = found.pictures(Form(4, 5)).images([7])
    assert smaller.shape == (1, 4, 5, 3) and (smaller == 7).all()


def test_windows_of_frames_are_no_single_images(monkeypatch):
    dataset = short_run.Dataset()
    places = dataset.places(("train",))
    numbers = np.arange(3)[None]
    dataset.places = lambda splits: dataclasses.replace(places, windows=Windows(places, numbers))
    monkeypatch.setattr(source, "open_dataset", lambda config: dataset)
    with pytest.raises(DataError, match=r"places_csv/mine:reference asks .* windows of frames"):
        sources.read("places_csv/mine:reference")


def test_numbers_of_frames_are_no_times(monkeypatch):
    places = memory_places.standing(np.zeros((5, 2)))
    dataset = short_run.Dataset()
    dataset.places = lambda splits: places
    monkeypatch.setattr(source, "open_dataset", lambda config: dataset)
    monkeypatch.setattr(type(places), "contents", "made up")
    assert np.isnan(sources.read("places_csv/mine:reference").frames.times).all()
