"""Loop closures: which pairs, and files that other tools read as documented."""

import csv
import dataclasses

import cv2
import h5py
import numpy as np
import pytest

from tests.helpers import made_up_model
from tests.helpers.made_up_model import drive
from vprjax.errors import ConfigError, DataError
from vprjax.localize import loop_files, loops
from vprjax.localize.calibration import Calibration
from vprjax.localize.loops import Window
from vprjax.localize.map import Map
from vprjax.localize.pair_formats import FORMATS

ROUTE = [*range(8), *range(3, 7)]  # pictures 3 to 6 are passed again, 5 to 8 frames later


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map") / "deep/monday"
    source = drive(folder, [*range(12)])
    for place, number in enumerate(ROUTE):
        cv2.imwrite(str(folder / f"{place:03d}.png"), made_up_model.picture(number)[..., ::-1])
    return Map.build(made_up_model.model(), source)


def couples(pairs):
    return [*zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)]


AGAIN = [(8, 3), (9, 4), (10, 5), (11, 6)]


def test_places_passed_again(places):
    pairs = loops.find(places, Window.parse("4s"), 1, 0.99)
    assert couples(pairs) == AGAIN
    assert (pairs.distances == 0).all() and (pairs.confidences == 1).all()


def test_the_window_hides_what_is_near_in_time(places):
    for text in ("5s", "5f", "7.5s"):
        assert couples(loops.find(places, Window.parse(text), 1, 0.99)) == []
    everything = loops.find(places, Window.parse("5s"), 1, None)
    assert len(everything) and (everything.later - everything.earlier > 5).all()
    assert (everything.distances > 0).all()


def test_each_pair_is_there_once_and_is_what_a_full_comparison_gives(places):
    pairs = loops.find(places, Window.parse("3f"), 3, None)
    rows = np.asarray(places.descriptors[:], np.float64)
    full = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    number = np.arange(12)
    full[np.abs(number[:, None] - number[None]) <= 3] = np.inf
    wanted = set()
    for i in range(12):
        for j in np.argsort(full[i], kind="stable")[:3]:
            if np.isfinite(full[i, j]):
                wanted.add((max(i, int(j)), min(i, int(j))))
    assert set(couples(pairs)) == wanted and len(pairs) == len(wanted)
    np.testing.assert_allclose(pairs.distances, full[pairs.later, pairs.earlier], atol=1e-6)
    assert (np.diff(pairs.later) >= 0).all()


def test_another_drive_is_never_too_near_in_time(places, tmp_path):
    both = Map.build(made_up_model.model(), drive(tmp_path / "a", range(4)))
    both.add(drive(tmp_path / "b", range(4)))
    both.add(drive(tmp_path / "c", range(4), split="other"))
    pairs = loops.find(both, Window.parse("100s"), 2, 0.99)
    assert len(pairs) == 12 and (pairs.later % 4 == pairs.earlier % 4).all()


def test_a_calibration_sets_the_threshold(places):
    facts = {"model": "m", "data": "d", "queries": 9, "radius": 5.0, "precision": 0.9}
    facts |= {"threshold": 0.1, "reached": 1.0, "answered": 0.5}
    own = Calibration(**facts, distances=(0.0, 2.0), shares=(0.9, 0.1))
    pairs = loops.find(places, Window.parse("4s"), 1, None, own)
    assert couples(pairs) == AGAIN and pairs.confidences == pytest.approx(0.9)
    assert len(loops.find(places, Window.parse("4s"), 1, 0.0, own)) > 4


def test_a_calibration_by_ratios_drops_what_looks_like_two_places(places, tmp_path):
    facts = {"model": "m", "data": "d", "queries": 9, "radius": 15.0, "precision": 0.9}
    facts |= {"threshold": 0.5, "reached": 1.0, "answered": 0.5, "measure": "ratio"}
    own = Calibration(**facts, distances=(0.0, 1.0), shares=(0.9, 0.1))
    pairs = loops.find(places, Window.parse("4s"), 2, None, own)
    assert couples(pairs) == AGAIN and pairs.confidences == pytest.approx(0.9, abs=1e-3)
    every = loops.find(places, Window.parse("4s"), 2, 0.0, own)
    assert len(every) > 4 and every.confidences.min() >= 0.1 - 1e-9
    assert (np.diff(every.later) >= 0).all()
    # The picture of frame 0 is at 50 m and at 100 m too: nothing tells which is the place.
    source = drive(tmp_path / "alike", range(12))
    for place, number in enumerate([7, 1, 2, 3, 4, 7, 1, 8, 9, 10, 7, 11]):
        picture = made_up_model.picture(number)[..., ::-1]
        cv2.imwrite(str(tmp_path / f"alike/{place:03d}.png"), picture)
    alike = Map.build(made_up_model.model(), source)
    assert couples(loops.find(alike, Window.parse("3s"), 1, None, own)) == [(6, 1)]
    by_distance = dataclasses.replace(own, measure="distance")
    assert len(loops.find(alike, Window.parse("3s"), 1, None, by_distance)) > 1


def test_without_positions_pairs_go_by_distances(tmp_path):
    facts = {"model": "m", "data": "d", "queries": 9, "radius": 15.0, "precision": 0.9}
    facts |= {"reached": 1.0, "answered": 0.5, "distances": (0.0, 1.0), "shares": (0.9, 0.1)}
    plain = Calibration(**facts, threshold=0.1)
    own = Calibration(**facts, threshold=0.5, measure="ratio", plain=plain)
    shown = [0, 1, 2, 3, 4, 5, 0, 0, 1, 1, 2, 2]  # each place twice in a row, on the way back
    source = drive(tmp_path / "lost", range(12), x=None, y=None)
    for place, number in enumerate(shown):
        picture = made_up_model.picture(number)[..., ::-1]
        cv2.imwrite(str(tmp_path / f"lost/{place:03d}.png"), picture)
    lost = Map.build(made_up_model.model(), source)
    closed = [(6, 0), (7, 0), (8, 1), (9, 1), (10, 2), (11, 2)]
    assert couples(loops.find(lost, Window.parse("4s"), 1, None, own)) == closed
    by_ratio_alone = dataclasses.replace(own, plain=None)
    every = loops.find(lost, Window.parse("4s"), 1, None, by_ratio_alone)
    assert len(every) == len(loops.find(lost, Window.parse("4s"), 1, None)) > len(closed)


def test_what_cannot_be_asked(places, tmp_path):
    for text in ("30", "s", "3.5f", "-1s", ""):
        with pytest.raises(DataError, match="give seconds such as 30s or frames such as 50f"):
            Window.parse(text)
    with pytest.raises(DataError, match="k is 0"):
        loops.find(places, Window.parse("4s"), 0, None)
    timeless = Map.build(made_up_model.model(), drive(tmp_path / "a", time=None))
    with pytest.raises(DataError, match=r"knows no time of 12 images, such as 000\.png; give"):
        loops.find(timeless, Window.parse("4s"), 1, None)
    assert len(loops.find(timeless, Window.parse("4f"), 1, None))


def written(places, folder, ending):
    path = folder / f"out{ending}"
    FORMATS[ending].check(places)
    FORMATS[ending].write(path, places, loops.find(places, Window.parse("4s"), 1, 0.99))
    assert [p.name for p in folder.iterdir()] == [path.name]
    return path


def test_hlocs_pairs(places, tmp_path):
    """hloc splits each line at white space into a query and a database image."""
    text = written(places, tmp_path, "-pairs.txt").read_text()
    found = [tuple(line.split()) for line in text.rstrip("\n").split("\n")]
    assert found == [(f"{i:03d}.png", f"{j:03d}.png") for i, j in AGAIN]


def test_hlocs_global_descriptors(places, tmp_path):
    with h5py.File(written(places, tmp_path, "-descriptors.h5"), "r") as file:
        rows = np.stack([file[f"{i:03d}.png"]["global_descriptor"][()] for i in range(12)])
        assert len(file) == 12
    assert rows.dtype == np.float32 and (rows == places.descriptors[:]).all()


def test_colmaps_match_list(places, tmp_path):
    """COLMAP takes what stands before the first space and what stands before the next."""
    lines = written(places, tmp_path, "-colmap.txt").read_text().splitlines()
    assert [line.split(" ") for line in lines] == [
        [f"{i:03d}.png", f"{j:03d}.png"] for i, j in AGAIN
    ]


def test_colmap_itself_reads_it(places, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    path = written(places, tmp_path, "-colmap.txt")
    database = pycolmap.Database.open(tmp_path / "colmap.db")
    camera = pycolmap.Camera.create_from_model_name(0, "SIMPLE_PINHOLE", 50.0, 10, 8)
    camera = database.write_camera(camera)
    numbers = {}
    for i in range(12):
        image = pycolmap.Image(name=f"{i:03d}.png", camera_id=camera)
        numbers[database.write_image(image)] = i
    options = pycolmap.ImportedPairingOptions()
    options.match_list_path = path
    found = pycolmap.ImportedPairGenerator(options, database).all_pairs()
    assert [(numbers[one], numbers[other]) for one, other in found] == AGAIN


def test_pairs_for_g2o(places, tmp_path):
    with written(places, tmp_path, "-g2o.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [(int(row["i"]), int(row["j"])) for row in rows] == AGAIN
    first = rows[0]
    assert (first["x_i"], first["y_i"], first["x_j"]) == ("500080.0", "5700000.0", "500030.0")
    assert (first["distance"], first["confidence"]) == ("0.0", "1.0")
    assert (first["image_i"], first["image_j"]) == ("008.png", "003.png")


def test_names_are_files_below_one_folder(places, tmp_path):
    both = Map.build(made_up_model.model(), drive(tmp_path / "a/x", range(4)))
    both.add(drive(tmp_path / "a/y", range(4)))
    out = tmp_path / "out"
    out.mkdir()
    FORMATS["-descriptors.h5"].write(out / "d.h5", both, None)
    with h5py.File(out / "d.h5", "r") as file:
        names = []
        file.visititems(
            lambda _, found: (
                names.append(found.parent.name.strip("/"))
                if isinstance(found, h5py.Dataset)
                else None
            )
        )
    assert sorted(names) == sorted(f"{drive}/00{i}.png" for drive in "xy" for i in range(4))


@pytest.mark.parametrize("name", ["a b.png", "#a.png"])
def test_a_name_that_breaks_a_line_of_two_is_refused_first(tmp_path, name):
    source = drive(tmp_path / "monday", range(3))
    (tmp_path / "monday/001.png").rename(tmp_path / "monday" / name)
    source.write_text(source.read_text().replace("001.png", name))
    spaced = Map.build(made_up_model.model(), source)
    for ending in ("-pairs.txt", "-colmap.txt"):
        with pytest.raises(DataError, match=r"png' holds a space or begins with #"):
            FORMATS[ending].check(spaced)
    FORMATS["-g2o.csv"].check(spaced)


def files(folder):
    """The bytes of each file that the command wrote below a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ending", FORMATS)
def test_files_of_others_are_refused_before_the_search(places, tmp_path, ending):
    pairs, prefix = loops.find(places, Window.parse("4s"), 1, 0.99), tmp_path / "out"
    loop_files.write(prefix, places, pairs)
    path = tmp_path / f"out{ending}"
    foreign = b"8.png 3.png\n"
    if ending.endswith(".h5"):  # hloc's own file of the same pictures
        with h5py.File(path, "w") as file:
            file.create_group("008.png").create_dataset("global_descriptor", data=np.ones(4))
        foreign = path.read_bytes()
    for text in (foreign, b"notes", path.read_bytes() + b"more"):
        if ending.endswith((".h5", ".csv")) and text.endswith(b"more"):
            continue  # what follows an own beginning is not looked at
        path.write_bytes(text)
        with pytest.raises(
            ConfigError, match=rf"--out=.*out{ending} is a file that this command did"
        ):
            loop_files.check_own(prefix)
        assert path.read_bytes() == text
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=rf"out{ending} is a folder; name a file"):
        loop_files.check_own(prefix)


def test_lists_without_their_table_may_be_anyones(places, tmp_path):
    loop_files.write(tmp_path / "out", places, loops.find(places, Window.parse("4s"), 1, 0.99))
    table = tmp_path / "out-g2o.csv"
    for damage in (lambda: table.write_bytes(table.read_bytes() + b"\xff"), table.unlink):
        damage()
        with pytest.raises(
            ConfigError, match=r"out-pairs\.txt is a file that this command did not"
        ):
            loop_files.check_own(tmp_path / "out")


def test_own_files_are_written_again(places, tmp_path):
    prefix = tmp_path / "out"
    for name in FORMATS:
        (tmp_path / f"out{name}").touch()  # an empty one is nobody's
    for window in ("4s", "100s", "3s"):  # the second finds no pair, and leaves empty lists
        loop_files.check_own(prefix)
        loop_files.write(prefix, places, loops.find(places, Window.parse(window), 1, 0.99))
    assert sorted(files(tmp_path)) == sorted(f"out{ending}" for ending in FORMATS)
    assert (tmp_path / "out-pairs.txt").read_text() == (tmp_path / "out-colmap.txt").read_text()


def test_a_failure_leaves_the_earlier_files(places, tmp_path, monkeypatch):
    pairs = loops.find(places, Window.parse("4s"), 1, 0.99)
    loop_files.write(tmp_path / "out", places, pairs)
    before = files(tmp_path)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setitem(FORMATS, "-g2o.csv", dataclasses.replace(FORMATS["-g2o.csv"], write=full))
    fewer = loops.find(places, Window.parse("5s"), 1, 0.99)
    with pytest.raises(OSError, match="no space"):
        loop_files.write(tmp_path / "out", places, fewer)
    assert files(tmp_path) == before
