"""From raw RobotCar and COLD trees to results: `build`, then the shipped configs, as a user runs them."""

import json

import numpy as np
from analysis import baselines

from tests.helpers import grid_command, raw_town
from tests.helpers.commands import run
from tests.helpers.raw_places import decoded, records

SMALL = '{"name": "small", "height": 48, "width": 64, "image_format": "png"%s}'


def build(name, root, more=""):
    flags = (f"--manual_dir={root / 'raw'}", f"--data_dir={root / 'data'}")
    run("tfds_builders", "build", name, *flags, f"--config={SMALL % more}")
    return root / "data" / name / "small/1.0.0"


def train(name, cell, root, *flags):
    """Two steps of a shipped config on the built dataset; its results."""
    run(
        "vprjax.main", f"--config=configs/{name}.py:{cell}", f"--workdir={root / 'run'}",
        f"--config.dataset.name={name}/small", f"--config.dataset.data_dir={root / 'data'}",
        "--config.train.steps=2", "--config.train.log_every=1", "--config.train.checkpoint_every=2",
        *flags,
    )  # fmt: skip
    return json.loads((root / "run/results.json").read_text())


def baseline(monkeypatch, dataset, name, root, *changes):
    """FCM at the widest tolerance by query split, of a row of the grid's `--baselines`."""
    flags = [f"dataset.name={dataset}/small", f"dataset.data_dir={root / 'data'}", *changes]
    words = (f"--runs={root / 'grid'}", "--cells=none", f"--baselines={name}")
    sets = (word for flag in flags for word in ("--set", flag))
    assert grid_command.run(monkeypatch, f"--dataset={dataset}", *words, *sets) == 0
    (folder,) = (root / "grid").iterdir()
    found = {row.split: row.ladder for row in baselines.read(folder) if row.name == name}
    return {split: max(ladder.values()) for split, ladder in found.items()}


def check(results, count, queries=("test01", "test02")):
    for model in ("off_the_shelf", "fine_tuned"):
        assert set(results["results"][model]) == set(queries)
        for figures in results["results"][model].values():
            assert figures["queries"] == figures["references"] == count
            values = list(figures["fcm"].values())
            assert values == sorted(values, reverse=True) and 0 <= values[-1] <= values[0] <= 100


def test_robotcar(tmp_path, monkeypatch):
    count = 24
    raw_town.write_robotcar(tmp_path / "raw", count)
    traversals = raw_town.TRAVERSALS
    built = build("robotcar", tmp_path, f', "traversals": {json.dumps(traversals)}')
    for split in traversals:
        _, _, positions, headings, times, pictures = raw_town.lap(split, count)
        found = records(built, split)
        assert [r["timestamp"] for r in found] == times.tolist()
        there = np.stack([r["position"] for r in found]) - (raw_town.EAST, raw_town.NORTH)
        assert np.abs(there - positions).max() < 0.01
        turn = np.pi / 2 - np.array([r["heading"] for r in found]) - headings
        assert np.abs(np.angle(np.exp(1j * turn))).max() < np.radians(5)  # each pose shakes by 0.7
        for r, picture in zip(found, pictures, strict=True):
            pixels = decoded(r)
            for row, column, channel in ((0, 0, 2), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
                own = np.s_[2 + row : -2 : 2, 2 + column : -2 : 2, channel]  # the site's colour
                assert (pixels[own] == picture[own]).all()
    results = train("robotcar", "resnet50,gem,triplet", tmp_path, "--config.model.stage=conv1")
    assert results["tolerances_m"] == [25.0, 10.0, 5.0, 2.0]
    check(results, count)
    assert results["provenance"]["dataset"]["pose_source"] == "INS, interpolated"
    found = baseline(monkeypatch, "robotcar", "pixels", tmp_path)
    assert found.keys() == {"test01", "test02"} and min(found.values()) > 100 / count


def test_cold(tmp_path, monkeypatch):
    count = 60
    raw_town.write_cold(tmp_path / "raw", count)
    build("cold", tmp_path, f', "sequences": {json.dumps(raw_town.SEQUENCES)}')
    results = train(
        "cold", "mobilenetv2,gem,arcface", tmp_path, "--config.model.stage=expanded_conv",
        "--config.places.batch_places=2", "--config.dataset.query_splits=('test01','test02','sunny1')",
    )  # fmt: skip
    assert results["tolerances_m"] == [1.0, 0.75, 0.5, 0.25]
    check(results, count, ("test01", "test02", "sunny1"))
    change = "dataset.query_splits=('test01', 'sunny1')"
    found = baseline(monkeypatch, "cold", "hog", tmp_path, change)
    assert found.keys() == {"test01", "sunny1"} and min(found.values()) > 100 / count
