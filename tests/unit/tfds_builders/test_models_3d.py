"""COLMAP and RobotCar Seasons through the command line: made-up rows in their forms, and real rows."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.helpers import raw_drives, raw_models
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, metadata, records
from tfds_builders.errors import RawDataError
from tfds_builders.poses import models

REAL = ROOT.parent / "shared/formats/colmap"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")
Y_DOWN = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # east-north-up to a camera's axes
Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, z backwards
NAMES = [f"db/{i:03d}.jpg" for i in range(40)] + [f"query/day/{i}.jpg" for i in range(10, 30)]


def counted(made):
    return made._replace(nanos=np.arange(len(made.nanos)) * 1000)


@pytest.mark.parametrize(
    ("world", "up", "comma", "home"),
    [(Y_DOWN, "-y", "", "sparse/0"), (np.eye(3), "z", ",", "."), (Y_UP, "y", "", "sparse")],
)  # fmt: skip
def test_colmap(tmp_path, world, up, comma, home):
    made = raw_drives.drive()
    raw_models.colmap(tmp_path / "raw", made, world, NAMES, comma, home)
    raw_drives.pictures(tmp_path / "raw/images/db", ["zzz.jpg"], 500)
    splits = {"reference": "db", "test01": "query"}
    assert raw_drives.build(tmp_path, "colmap", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    first, second = (
        type(made)(*(part[half] for part in made)) for half in (slice(40), slice(40, 60))
    )
    raw_drives.check(records(folder, "reference"), counted(first))
    raw_drives.check(records(folder, "test01"), counted(second))
    info = metadata(tmp_path, builder="places_csv")
    assert info["position_unit"] == "units" and "motion" not in info
    assert info["counts"]["reference"]["dropped"] == {"not in the model": 1}
    assert f"its axis {up} is taken for up" in info["warnings"][0]
    assert "images are in the order of their names, not of time" in info["warnings"][1]


def test_colmaps_folders_are_splits(tmp_path):
    raw_models.colmap(tmp_path / "raw", raw_drives.drive(), Y_DOWN, NAMES)
    assert raw_drives.build(tmp_path, "colmap", position_unit="m") == 0
    info = metadata(tmp_path, builder="places_csv")
    assert list(info["counts"]) == ["db", "query_day"] and info["position_unit"] == "m"


def test_colmaps_pictures_without_a_folder(tmp_path):
    """A single camera's pictures lie in `images` itself."""
    names = [f"{i:03d}.jpg" for i in range(60)]
    raw_models.colmap(tmp_path / "raw", raw_drives.drive(), Y_DOWN, names)
    assert raw_drives.build(tmp_path, "colmap") == 0
    assert list(metadata(tmp_path, builder="places_csv")["counts"]) == ["images"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no empty lines", "images.txt:3: no pair of an image's line and the line of its points"),
        ("binary", "write images.bin as text with colmap model_converter"),
        ("picture", "images.txt lists db/003.jpg, which is not below"),
        ("quaternion", "images.txt:3: the quaternion's length is 2, not 1"),
    ],
)
def test_colmap_read_wrongly_is_told(tmp_path, capsys, how, told):
    raw_models.colmap(tmp_path / "raw", raw_drives.drive(), Y_DOWN, NAMES)
    path = tmp_path / "raw/sparse/0/images.txt"
    lines = path.read_text().splitlines()
    if how == "no empty lines":
        path.write_text("\n".join(filter(None, lines)))
    elif how == "binary":
        path.rename(path.with_suffix(".bin"))
    elif how == "picture":
        (tmp_path / "raw/images/db/003.jpg").unlink()
    else:
        first = lines[2].split()
        first[1:5] = [str(2 * float(value)) for value in first[1:5]]
        path.write_text("\n".join([*lines[:2], " ".join(first), *lines[3:]]))
    assert raw_drives.build(tmp_path, "colmap", verb="validate") == 2
    assert told in capsys.readouterr().err


def rewritten(line, how):
    """A row of a model whose writer had another order of quaternions, or another direction of poses."""
    number, w, x, y, z, *rest = line.split()
    if how == "xyzw":
        return " ".join([number, x, y, z, w, *rest])
    turn = Rotation.from_quat([float(value) for value in (x, y, z, w)])
    centre = -turn.inv().apply([float(value) for value in rest[:3]])
    x, y, z, w = turn.inv().as_quat()
    return " ".join([number, *map(repr, map(float, (w, x, y, z, *centre))), *rest[3:]])


@pytest.mark.parametrize("world", [Y_DOWN, np.eye(3), Y_UP])
@pytest.mark.parametrize("how", ["xyzw", "camera to world", ""])
def test_colmaps_points_lie_before_the_cameras(tmp_path, capsys, how, world):
    """They tell another reading, where a scene without an up and a scale tells none."""
    raw_models.colmap(tmp_path / "raw", raw_drives.drive(), world, NAMES)
    path = tmp_path / "raw/sparse/0/images.txt"
    lines = path.read_text().splitlines()
    if how:
        lines[2::2] = [rewritten(line, how) for line in lines[2::2]]
    path.write_text("\n".join([*lines, ""]))
    assert raw_drives.build(tmp_path, "colmap", verb="validate") == 0
    said = capsys.readouterr().err
    assert ("of 118 points of points3D.txt lie behind the cameras that see them" in said) == bool(
        how
    )
    (path.parent / "points3D.txt").unlink()
    assert raw_drives.build(tmp_path, "colmap", verb="validate") == 0
    assert "points3D" not in capsys.readouterr().err


def backwards(made):
    """The rear camera of the same car: turned by 180 degrees."""
    turns = made.turns @ np.diag([-1.0, 1, -1])
    return made._replace(turns=turns)


def test_robotcar_seasons(tmp_path):
    raw = tmp_path / "raw"
    first = 1_417_176_458_999_821_000
    dawn = backwards(raw_drives.drive(first=first))
    reference = backwards(raw_drives.drive(count=50, first=first + 10**15))
    raw_models.seasons(raw, dawn, "dawn", unposed=range(45, 60))
    raw_models.nvm(raw, reference, first=100)
    splits = {"reference": "overcast-reference", "dawn": "dawn/rear"}
    assert raw_drives.build(tmp_path, "robotcar_seasons", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    raw_drives.check(records(folder, "reference"), reference)
    raw_drives.check(records(folder, "dawn"), dawn, slice(45))
    info = metadata(tmp_path, builder="places_csv")
    assert info["counts"]["dawn"]["dropped"] == {"a test image: no pose is published": 15}
    (warning,) = info["warnings"]  # a rear camera is none
    assert warning.startswith("dawn: 15 of 60 images have no pose")
    assert abs(info["motion"]["dawn"]["offset_degrees"]) == pytest.approx(180, abs=0.5)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("world to camera", "headings do not follow the motion"),
        ("quaternions", "robotcar_v2_train.txt:1: 8 fields where the format has 17"),
        ("none", "holds no robotcar_v2_train.txt"),
    ],
)
def test_robotcar_seasons_read_wrongly_is_told(tmp_path, capsys, how, told):
    made = backwards(raw_drives.drive(count=90, first=1_417_176_458_999_821_000))
    if how == "world to camera":
        there = made.turns.transpose(0, 2, 1)
        places = -(there @ made.places[:, :, None])[:, :, 0]
        made = made._replace(turns=there, places=places)
    raw_models.seasons(tmp_path / "raw", made, "dawn")
    path = tmp_path / "raw/robotcar_v2_train.txt"
    if how == "quaternions":
        path.write_text("dawn/rear/1417176458999821.png 1 0 0 0 1 2 3\n")
    elif how == "none":
        path.unlink()
    raw_drives.build(tmp_path, "robotcar_seasons", verb="validate")
    assert told in capsys.readouterr().err


def test_a_cut_nvm_is_told(tmp_path):
    (tmp_path / "a.nvm").write_text("NVM_V3\n\n3\n./a/rear/1.jpg 400 1 0 0 0 1 2 3 0 0\n")
    with pytest.raises(RawDataError, match="the list of 3 images is cut"):
        models.read_nvm(tmp_path / "a.nvm")
    (tmp_path / "a.nvm").write_text("NVM_V2\n\n3\n")
    with pytest.raises(RawDataError, match="no text of NVM_V3"):
        models.read_nvm(tmp_path / "a.nvm")


@real
def test_real_rows_of_colmap():
    names, poses = models.read_images_txt(REAL / "images_points_cut_at_200_chars.txt")
    assert names == ["03.jpg", "02.jpg", "00.jpg", "01.jpg"]
    np.testing.assert_allclose(poses.places[0], [9.64, -2.71, 2.66], atol=0.005)
    names, poses = models.read_images_txt(REAL / "t265_images_comma_variant_head.txt")
    assert names == ["rightraw/frame_000000001.jpg", "leftraw/frame_000000001.jpg"]
    assert np.linalg.norm(poses.places[0] - poses.places[1]) == pytest.approx(0.064)
