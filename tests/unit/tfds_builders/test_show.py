"""`show` on a built dataset: the figures it prints and the pictures it draws."""

import re

import cv2
import numpy as np
import pytest

from tests.helpers.raw_places import command, write_raw
from tfds_builders import discover
from tfds_builders.__main__ import main
from tfds_builders.show import find_built, route
from tfds_builders.show_plots import nearest_image, spread_along


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    raw = folder / "raw"
    write_raw(raw, ["train", "reference"], count=5)
    rows = ["sequence,image,x,y,heading,label"]
    rows += [f"train,train/{i:03d}.png,{3 * i},{4 * i},0.5,hall" for i in range(5)]
    rows += [f"reference,reference/{i:03d}.png,{3 * i},{4 * i + 1},,room{i}" for i in range(5)]
    (raw / "places.csv").write_text("\n".join(rows))
    assert command("build", "places_csv", raw, folder / "out") == 0
    return folder / "out"


def test_show_prints_and_draws(built, tmp_path, capsys):
    assert main(["show", "places_csv", f"--data_dir={built}", f"--out={tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert "places_csv/default/1.0.0" in text and "images: 16x12 pixels" in text
    assert "pose source: places.csv; position unit: m" in text
    # Four steps of 5 m; the headings of one split only; labels counted without the empty one.
    train, reference = (
        next(r for r in text.splitlines() if r.startswith(n)) for n in ("tra", "ref")
    )
    assert train.split() == ["train", "5", "0", "20.0", "m", "5.000", "m", "5.00", "m", "100%", "1"]
    assert reference.split()[-2:] == ["0%", "5"]
    for name in ("routes", "places"):
        picture = cv2.imread(str(tmp_path / f"places_csv_default_{name}.png"))
        assert picture.shape[0] > 200 and picture.std() > 10


def test_contact_sheet_shows_the_nearest_facing_image():
    positions = np.array([[0.0, 0], [1, 0], [2, 0]])
    split = type("S", (), {"positions": positions, "headings": np.array([0.0, np.pi, np.nan])})
    assert nearest_image(split, np.array([1.1, 0]), 0.1) == (2, pytest.approx(0.9))
    assert nearest_image(split, np.array([1.1, 0]), 3.1) == (1, pytest.approx(0.1))
    assert nearest_image(split, np.array([1.1, 0]), np.nan) == (1, pytest.approx(0.1))


def test_places_are_evenly_spaced_along_the_route():
    # Standing still for half of the images must not show one place eight times.
    x = np.concatenate([np.zeros(100), np.arange(1, 101)])
    indices, reach = spread_along(np.stack([x, 0 * x], axis=1))
    np.testing.assert_allclose(np.diff(x[indices]), 12.5, atol=1)
    assert reach == pytest.approx(6.25)


def test_route():
    assert route(np.array([[0.0, 0], [3, 4], [3, 4], [3, 14]])) == (15.0, 5.0, 10.0)
    assert route(np.zeros((1, 2)))[0] == 0


def test_show_of_nothing(tmp_path, capsys):
    assert main(["show", "places_csv", f"--data_dir={tmp_path}"]) == 2
    assert "places_csv is not built under" in capsys.readouterr().err
    assert main(["show", "robotcar", f"--data_dir={tmp_path}", "--config=rear"]) == 2
    told = f"build robotcar --manual_dir=RAW --config=rear --data_dir={tmp_path}"
    assert told in capsys.readouterr().err
    assert main(["build", *told.replace("RAW", str(tmp_path)).split()[1:]]) == 2
    assert 'JSON, --config=\'{"name": "rear", ...}\', of the keys in ' in capsys.readouterr().err
    assert main(["show", "synthetic", f"--data_dir={tmp_path}"]) == 2
    assert "build synthetic --data_dir" in capsys.readouterr().err


def test_find_built_wants_a_choice_and_the_newest(tmp_path):
    for name in (
        "a/1.0.0",
        "a/1.10.0",
        "a/1.9.0",
        "b/1.0.0",
        "a/1.10.0_old",
        "a/x",
        "c/1.0.0.work",
    ):
        (tmp_path / "places_csv" / name).mkdir(parents=True)
        (tmp_path / "places_csv" / name / "dataset_info.json").write_text("{}")
    with pytest.raises(discover.RawDataError, match="is built with a, b; choose one"):
        find_built("places_csv", None, tmp_path)
    assert find_built("places_csv", "a", tmp_path).name == "1.10.0"
    assert find_built("places_csv", '{"name": "b"}', tmp_path).parent.name == "b"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{name: mine}", "error: --config={name: mine} is not JSON (Expecting property name"),
        ('{"height": 3}', '--config needs a "name" of letters, digits, _ and -'),
        ("/mine", "(it names the folder); it is '/mine'"),
    ],
)
def test_a_config_that_names_none(tmp_path, capsys, config, says):
    assert main(["show", "places_csv", f"--data_dir={tmp_path}", f"--config={config}"]) == 2
    assert says in capsys.readouterr().err


def test_show_leaves_out_positions_that_are_unknown(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train", "test01"], count=5)
    lines = (raw / "places.csv").read_text().splitlines()
    lines = [",".join([*x.split(",")[:2], "", ""]) if x[:4] == "test" else x for x in lines]
    lines[2] = ",".join([*lines[2].split(",")[:2], "", ""])
    (raw / "places.csv").write_text("\n".join(lines))
    option = '--config={"name": "mine"}'
    assert command("build", "places_csv", raw, tmp_path / "out", option) == 0
    shown = [f"--data_dir={tmp_path / 'out'}", f"--out={tmp_path / 'shown'}"]
    assert main(["show", "places_csv", *shown]) == 0
    text = capsys.readouterr().out
    assert "warning: train: 1 of 5 images have no position" in text
    assert re.search(r"train +5 +0 +5\.7 m", text) and re.search(r"test01 +5 +0 +0\.0 m", text)
    assert len(list((tmp_path / "shown").glob("*.png"))) == 2
