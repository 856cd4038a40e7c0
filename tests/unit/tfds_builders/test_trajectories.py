"""TUM and EuRoC through the command line: made-up rows in their forms, and real rows."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.helpers import raw_drives, raw_trajectories
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, metadata, records
from tfds_builders.places_csv.layouts import euroc, tum
from tfds_builders.poses import axes

REAL = ROOT.parent / "shared/formats"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")
FLIGHT, ROOM = "V1_02_medium", "rgbd_dataset_freiburg1_xyz"


def dense(first):
    made = raw_drives.drive(count=120, first=first, step=100_000_000)
    return made, made.nanos[1:-1:2] + 37_123_000


def test_tum(tmp_path):
    made, taken = dense(1_305_031_098_665_900_000)
    raw_trajectories.tum(tmp_path / "raw" / ROOM, made, taken)
    assert raw_drives.build(tmp_path, "tum", splits={"reference": ROOM}) == 0
    found = records(built(tmp_path, builder="places_csv"), "reference")
    raw_drives.check(found, raw_drives.between(made, taken))
    assert found[0]["image_id"].decode().startswith(f"{ROOM}/rgb/1305031098.")
    info = metadata(tmp_path, builder="places_csv")
    assert info["warnings"] == [] and info["motion"]["reference"]["agreement"] > 0.99


def test_a_camera_above_a_desk_is_no_map_in_degrees(tmp_path, capsys):
    """freiburg1_xyz spans half a metre; the extents are told."""
    made, taken = dense(1_305_031_098_665_900_000)
    made = made._replace(places=made.places / 200)
    raw_trajectories.tum(tmp_path / "raw" / ROOM, made, taken)
    assert raw_drives.build(tmp_path, "tum", verb="validate") == 0
    said = capsys.readouterr()
    plan = np.ptp(raw_drives.between(made, taken).places[:, :2], axis=0)
    assert "warning" not in said.err
    assert (
        f"rgbd_dataset_freiburg1_xyz: 59 images on {plan[0]:.1f} x {plan[1]:.1f} m (x, y), looking "
        in said.out
    )


def test_euroc(tmp_path):
    made, taken = dense(1_403_715_524_907_143_168)
    raw_trajectories.euroc(tmp_path / "raw" / FLIGHT, made, taken, ("cam0", "cam1"))
    splits = {"reference": FLIGHT, "upper": f"{FLIGHT}/cam1"}
    assert raw_drives.build(tmp_path, "euroc", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    seen = raw_drives.between(made, taken)
    raw_drives.check(found, seen)
    assert found[0]["image_id"].decode() == f"{FLIGHT}/mav0/cam0/data/{taken[0]}.png"
    # The second camera is 0.11 m along the body's x, which is the camera's -y.
    upper = seen._replace(places=seen.places - 0.11 * seen.turns[:, :, 1])
    raw_drives.check(records(folder, "upper"), upper)
    assert metadata(tmp_path, builder="places_csv")["warnings"] == []


@pytest.mark.parametrize(
    ("layout", "damage", "told"),
    [
        ("tum", {"order": "wxyz"}, "upright: the quaternions have another order"),
        ("euroc", {"order": "xyzw"}, "upright: the quaternions have another order"),
        ("tum", {"nanos": 10**6}, "time 1305031098665 has 13 digits (milliseconds), where seconds"),
        ("euroc", {"nanos": 1000}, "has 16 digits (microseconds), where nanoseconds"),
        ("euroc", {"yaml": "T_BS: [1, 0]"}, "sensor.yaml holds no T_BS of 16 numbers"),
        ("euroc", {"yaml": "body"}, "a body's pose is taken for the camera's"),
        ("tum", {"image": ""}, "groundtruth.txt; put the drives' folders there"),
    ],
)
def test_what_is_read_wrongly_is_told(tmp_path, capsys, layout, damage, told):
    made, taken = dense(
        {"tum": 1_305_031_098_665_900_000, "euroc": 1_403_715_524_907_143_168}[layout]
    )
    folder = tmp_path / "raw" / ROOM
    order = {"order": damage["order"]} if "order" in damage else {}
    getattr(raw_trajectories, layout)(folder, made, taken, **order)
    if "nanos" in damage:
        path = folder / {"tum": tum.TABLE, "euroc": f"mav0/{euroc.TABLE}"}[layout]
        between = " " if layout == "tum" else ","
        head, *rows = path.read_text().splitlines()
        rest = (row.partition(between)[2] for row in rows)
        cut = [f"{n // damage['nanos']}{between}{r}" for n, r in zip(made.nanos, rest, strict=True)]
        path.write_text("\n".join([head, *cut]))
    elif "yaml" in damage:
        text = damage["yaml"]
        if text == "body":
            text = "T_BS:\n  data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]"
        (folder / "mav0/cam0/sensor.yaml").write_text(text)
    elif "image" in damage:
        (folder / tum.TABLE).unlink()
    raw_drives.build(tmp_path, layout, verb="validate")
    assert told in capsys.readouterr().err


@real
def test_real_rows_of_tum():
    poses = tum.read_poses(REAL / "tum/freiburg1_xyz-groundtruth_head.txt")
    assert poses.times.tolist()[:2] == [1305031098665900000, 1305031098675800000]
    np.testing.assert_allclose(poses.places[0], [1.3563, 0.6305, 1.6380])
    wanted = Rotation.from_quat([0.6132, 0.5962, -0.3311, -0.3986]).apply([0, 0, 1])
    found = axes.headings(poses.turns)[0]
    assert abs(found - np.arctan2(wanted[0], wanted[1])) < 1e-6
    georeferenced = tum.read_poses(REAL / "tum/georeferenced_head.tum")
    assert georeferenced.times[0] == 1706282470098386526


@real
def test_real_rows_of_euroc():
    poses = euroc.read_poses(REAL / "euroc/V102_groundtruth_head.csv")
    assert poses.times[0] == 1403715524907143168  # a float would say ...116
    turn = Rotation.from_quat([0.789985, -0.205376, 0.554528, 0.161996])
    np.testing.assert_allclose(poses.turns[0], turn.as_matrix(), atol=1e-5)
    # The body's x axis points up, as far as the drone leans.
    assert poses.turns[:, 2, 0].min() > 0.9
