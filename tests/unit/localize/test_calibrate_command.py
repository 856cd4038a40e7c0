"""The command `calibrate`: where its calibration goes, and what it refuses before it writes one."""

import dataclasses
import json

import numpy as np
import pytest

from tests.helpers import made_up_model
from vprjax.localize import additions, answer, calibration, load
from vprjax.localize.__main__ import main
from vprjax.localize.map import Map

N = 40


class Doubled(made_up_model.Pixels):
    """The engine at twice the size."""

    def stream(self, pictures, batch, first):
        yield from super().stream(Halves(pictures), batch, first)


class Halves:
    """Pictures at half their size."""

    def __init__(self, pictures):
        self._pictures = pictures

    def __len__(self):
        return len(self._pictures)

    def images(self, indices):
        found = self._pictures.images(indices)
        return found.reshape(len(found), 8, 2, 10, 2, 3).mean(axis=(2, 4))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of a run, whose model `load` gives at 8x10 pixels or at another size; the folder."""
    workdir = tmp_path / "run"
    workdir.mkdir()

    def loaded(path, size=None, engine=None):
        assert str(path) == str(workdir)
        found = made_up_model.model()
        if size not in (None, made_up_model.SIZE):
            found.form = dataclasses.replace(found.form, height=size[0], width=size[1])
            found.engine = Doubled()
        file = workdir / calibration.FILE
        found.calibration = dataclasses.asdict(calibration.read(file)) if file.exists() else None
        found.source = str(workdir)
        return found

    monkeypatch.setattr(load, "load", loaded)
    return workdir


def test_a_map_of_another_size_keeps_its_calibration_to_itself(runs, tmp_path, capsys):
    file, queries = made_up_model.drive(tmp_path / "map", range(N)), tmp_path / "queries"
    made_up_model.drive_again(queries, 5.0, range(N))
    sized = load.load(runs, (16, 20))
    whole = Map.build(load.load(runs), file, tmp_path / "whole")
    large = Map.build(sized, file, tmp_path / "large")
    header = json.loads((large.folder / "map.json").read_text())
    assert header["model"]["id"] == sized.id != whole.model.id
    flags = ["--precision=99", "--radius=25", f"--queries={queries / 'positions.json'}"]
    assert main(["calibrate", f"--map={whole.folder}", *flags]) == 0
    before = (runs / calibration.FILE).read_bytes()
    lacking = Map.open(large.folder, load.load(runs, (16, 20)))
    assert [lacking.calibration, lacking.calibration] == [None, None]
    assert capsys.readouterr().err.count("does not count; calibrate this map") == 1
    assert main(["calibrate", f"--map={large.folder}", *flags]) == 0
    assert (runs / calibration.FILE).read_bytes() == before
    for at, model in ((whole.folder, load.load(runs)), (large.folder, sized)):
        assert Map.open(at, model).query(made_up_model.picture(3)).located is True


@pytest.fixture
def whole(runs, tmp_path):
    """A map of `N` pictures."""
    return Map.build(
        load.load(runs), made_up_model.drive(tmp_path / "map", range(N)), tmp_path / "whole"
    )


def refused(runs, capsys, places, *sources):
    """The sentence that `calibrate` ends with, nothing written, for its queries and its test."""
    names = [f"--{name}={file}" for name, file in zip(("queries", "test"), sources, strict=False)]
    assert main(["calibrate", f"--map={places.folder}", *names]) == 2
    assert not (runs / calibration.FILE).exists()
    assert not (places.folder / calibration.FILE).exists()
    return capsys.readouterr().err


def test_the_maps_own_pictures_do_not_calibrate_it(runs, whole, tmp_path, capsys):
    copies = made_up_model.drive(tmp_path / "copies", range(N))
    own = tmp_path / "map/positions.json"
    queries = made_up_model.drive_again(tmp_path / "queries", 5.0, range(N))
    for sources in ((own,), (queries, own)):
        said = refused(runs, capsys, whole, *sources)
        assert f"40 of 40 pictures of {own} are images of the map itself" in said
    said = refused(runs, capsys, whole, copies)
    assert "all 40 pictures of" in said and "at descriptor distance 0" in said
    frames = dataclasses.replace(whole.frames, paths=np.full(N, "", np.str_))
    header = {"parts": [{"source": "places_csv/mine:reference", "images": N}]}
    for name, count in (("places_csv/mine:reference", N), ("places_csv/other:reference", 0)):
        assert additions.held(header, frames, frames, name) == count


def test_what_cannot_be_tested_is_refused_before_anything_is_described(
    runs, whole, tmp_path, capsys, monkeypatch
):
    queries = made_up_model.drive_again(tmp_path / "queries", 5.0, range(N))
    flat = made_up_model.drive_again(tmp_path / "flat", 5.0, range(N), crs=None)
    few = made_up_model.drive_again(tmp_path / "few", 5.0, range(9))
    monkeypatch.setattr(made_up_model.Pixels, "stream", lambda *_: pytest.fail("describes"))
    assert "an unknown system" in refused(runs, capsys, whole, queries, flat)
    assert f"9 pictures of {few} have a position" in refused(runs, capsys, whole, queries, few)


def test_a_map_that_grew_asks_for_another_calibration(runs, whole, tmp_path, capsys):
    queries = made_up_model.drive_again(tmp_path / "queries", 5.0, range(N))
    assert main(["calibrate", f"--map={whole.folder}", f"--queries={queries}"]) == 0
    assert calibration.read(runs / calibration.FILE).images == N
    asking = ["query", f"--map={whole.folder}", f"--images={tmp_path / 'map/003.png'}"]
    assert main(asking) == 0 and "calibrate again" not in capsys.readouterr().err
    more = made_up_model.drive(tmp_path / "more", range(500, 530))
    adding = ["map", f"--model={runs}", f"--out={whole.folder}", f"--images={more}", "--add"]
    words = "made with a map of 40 images, and this one has 70: calibrate again"
    pairing = ["loops", f"--map={whole.folder}", f"--out={tmp_path / 'pairs'}"]
    for command in (adding, asking, pairing):
        assert main(command) == 0 and capsys.readouterr().err.count(words) == 1
    assert main(["calibrate", f"--map={whole.folder}", f"--queries={queries}"]) == 0
    assert main(asking) == 0 and "calibrate again" not in capsys.readouterr().err


def test_queries_of_another_town_do_not_calibrate_a_map(runs, whole, tmp_path, capsys):
    near = made_up_model.drive_again(tmp_path / "near", 5.0, range(N))
    far = made_up_model.drive_again(tmp_path / "far", 5e6, range(N))
    for sources in ((far,), (near, far)):
        said = refused(runs, capsys, whole, *sources)
        assert (
            f"no picture of {far} lies within 25 m of an image of the map, the nearest is" in said
        )
        assert "no answer can be right; check the positions and the radius" in said


@pytest.mark.parametrize(("typed", "meant"), [("0.99", "99"), ("1", "100"), ("0.5", "50")])
def test_a_share_as_percent_is_refused(runs, whole, capsys, typed, meant):
    assert main(["calibrate", f"--map={whole.folder}", "--queries=q", f"--precision={typed}"]) == 2
    said = capsys.readouterr().err
    assert f"--precision={typed} is in percent: write {meant} for that share" in said


@pytest.mark.parametrize("radius", ["0", "-1", "nan", "inf"])
def test_a_radius_that_means_nothing_is_refused(runs, whole, capsys, radius):
    assert main(["calibrate", f"--map={whole.folder}", "--queries=q", f"--radius={radius}"]) == 2
    assert "give position units above 0" in capsys.readouterr().err


def test_a_server_says_first_that_its_map_grew(runs, whole, tmp_path, monkeypatch, capsys):
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason="the extra serve is not installed")
    queries = made_up_model.drive_again(tmp_path / "queries", 5.0, range(N))
    assert main(["calibrate", f"--map={whole.folder}", f"--queries={queries}"]) == 0
    whole.add(made_up_model.drive(tmp_path / "more", range(500, 530)))
    monkeypatch.setattr("vprjax.localize.serve.serve", lambda *_: None)
    assert main(["serve", f"--map={whole.folder}", "--port=0"]) == 0
    assert capsys.readouterr().err.count("this one has 70: calibrate again") == 1


def test_maps_of_one_run_do_not_take_each_others_calibration(runs, whole, tmp_path):
    queries = made_up_model.drive_again(tmp_path / "queries", 5.0, range(N))
    few = Map.build(whole.model, made_up_model.drive(tmp_path / "f", range(30)), tmp_path / "few")
    for places in (whole, few):
        assert main(["calibrate", f"--map={places.folder}", f"--queries={queries}"]) == 0
    assert calibration.read(runs / calibration.FILE).images == N
    for places, count in ((whole, N), (few, 30)):
        found = Map.open(places.folder)
        assert found.calibration.images == count
        assert answer.doubts(found.calibration, found.frames.positions) == []
    (few.folder / calibration.FILE).unlink()
    (said,) = answer.doubts(Map.open(few.folder).calibration, few.frames.positions)
    assert f"by {queries} against whole was made with a map of 40 images" in said


def test_pictures_are_checked_once_and_before_any_is_described(runs, whole, tmp_path, monkeypatch):
    sides = [made_up_model.drive_again(tmp_path / name, 5.0, range(N)) for name in ("a", "b")]
    steps, held, describe = [], additions.held, made_up_model.Pixels.stream
    monkeypatch.setattr(additions, "held", lambda *x: steps.append("check") or held(*x))
    monkeypatch.setattr(
        made_up_model.Pixels, "stream", lambda *x: steps.append("describe") or describe(*x)
    )
    flags = [f"--queries={sides[0]}", f"--test={sides[1]}"]
    assert main(["calibrate", f"--map={whole.folder}", *flags]) == 0
    assert steps == ["check", "check", "describe", "describe"]
