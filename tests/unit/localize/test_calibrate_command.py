"""The command `calibrate`: where its calibration goes, and what it refuses before it writes one."""

import dataclasses
import json

import pytest

from tests.helpers import made_up_model
from vprjax.localize import calibration, load
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
