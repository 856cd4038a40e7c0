"""The pose engine: units of time, quaternion orders, directions of poses, axes, interpolation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from tests.helpers import raw_drives
from tfds_builders.errors import RawDataError
from tfds_builders.poses import axes, between, rigid, tables, times

RANDOM = Rotation.from_quat(np.random.default_rng(0).normal(size=(30, 4)))
PLACES = np.random.default_rng(1).normal(0, 50, (30, 3))


def poses(nanos=None):
    nanos = np.arange(30) * 10**8 + 1_600_000_000_123_456_789 if nanos is None else nanos
    return rigid.Poses(np.asarray(nanos, np.int64), PLACES, RANDOM.as_matrix())


@pytest.mark.parametrize(
    ("text", "unit", "nanos"),
    [
        ("1547120789", "seconds", 1547120789 * 10**9),
        ("1547120789012", "milliseconds", 1547120789012 * 10**6),
        ("1547120789012345", "microseconds", 1547120789012345000),
        ("1403715524907143168", "nanoseconds", 1403715524907143168),  # a float would change it
    ],
)
def test_whole_times_are_exact(text, unit, nanos):
    assert times.whole(text, unit) == nanos
    others = [other for other in times.UNITS if other != unit]
    for other in others:
        with pytest.raises(ValueError, match=rf"digits \({unit}\), where {other} since 1970 have"):
            times.whole(text, other)


@pytest.mark.parametrize(
    "text", ["", "12.5", "-1547120789", "1e9", "nan", "15471207890", "\u0661" * 10]
)
def test_what_is_no_whole_time(text):
    with pytest.raises(ValueError, match="time"):
        times.whole(text, "seconds")


def test_decimal_seconds_keep_every_digit():
    assert times.seconds("1305031098.6659") == 1305031098665900000
    assert times.seconds("1.706282470098386526e+09") == 1706282470098386526
    assert times.seconds("1.037359e-01", since_1970=False) == 103735900
    assert times.seconds("0.000000e+00", since_1970=False) == 0
    for bad in ("1305031098665.9", "abc", "nan", "1e400"):
        with pytest.raises(ValueError, match="time"):
            times.seconds(bad)
    with pytest.raises(ValueError, match="after the start"):
        times.seconds("1305031098.6", since_1970=False)


def test_a_moment_is_utc():
    assert times.moment("2013-05-28 08:46:02.904626123") == 1369730762904626123
    assert times.moment("2013-05-28 08:46:02.5") == 1369730762500000000
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        times.moment("28.05.2013 08:46:02")


def test_orders_of_quaternions():
    xyzw = RANDOM.as_quat()
    wxyz = xyzw[:, [3, 0, 1, 2]]
    for values, order in ((xyzw, "xyzw"), (wxyz, "wxyz"), (-wxyz, "wxyz")):
        np.testing.assert_allclose(
            rigid.of_quaternions(values, order, str), RANDOM.as_matrix(), atol=1e-12
        )
    with pytest.raises(ValueError, match=r"a.txt:2: the quaternion's length is 2, not 1"):
        rigid.of_quaternions(
            xyzw * [[1]] * (1 + (np.arange(30) == 2))[:, None], "xyzw", "a.txt:{}".format
        )


def test_matrices_must_be_rotations():
    rows = np.concatenate([RANDOM.as_matrix(), PLACES[:, :, None]], axis=2).reshape(30, 12)
    turns, places = rigid.of_matrices(rows, str)
    np.testing.assert_array_equal(turns, RANDOM.as_matrix())
    np.testing.assert_array_equal(places, PLACES)
    for damage in (
        {4: 3.0},
        {i: -rows[7, i] for i in (0, 4, 8)},
        {0: np.nan},
    ):  # the second mirrors
        bad = rows.copy()
        bad[7, list(damage)] = list(damage.values())
        with pytest.raises(ValueError, match="f:7: its 3x3 part is no rotation"):
            rigid.of_matrices(bad, "f:{}".format)


def test_world_to_camera_and_back():
    there = rigid.inverse(poses())
    points = np.random.default_rng(2).normal(size=(30, 3))
    world = RANDOM.apply(points) + PLACES
    np.testing.assert_allclose(np.einsum("nij,nj->ni", there.turns, world) + there.places, points)
    np.testing.assert_allclose(rigid.inverse(there).places, PLACES)


def test_a_sensor_on_a_body_and_a_world_in_another():
    sensor = rigid.matrix(Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix(), [1, 2, 3])
    found = rigid.mounted(poses(), sensor)
    for i in (0, 11):
        whole = rigid.matrix(RANDOM[i].as_matrix(), PLACES[i]) @ sensor
        np.testing.assert_allclose(rigid.matrix(found.turns[i], found.places[i]), whole)
        other = rigid.moved(poses(), sensor)
        whole = sensor @ rigid.matrix(RANDOM[i].as_matrix(), PLACES[i])
        np.testing.assert_allclose(rigid.matrix(other.turns[i], other.places[i]), whole)


@pytest.mark.parametrize("world", [*axes.WORLDS, *axes.UPWARD])
def test_worlds_are_right_handed(world):
    matrix = (axes.WORLDS | axes.UPWARD)[world]
    assert np.linalg.det(matrix) == 1
    if world in axes.UPWARD:
        level = rigid.Poses(
            np.zeros(1, np.int64), np.zeros((1, 3)), matrix.T @ raw_drives.NORTHWARD[None]
        )
        assert axes.upward(level.turns) == world
        assert axes.headings(axes.to_enu(level, matrix).turns)[0] == 0


def test_headings_are_clockwise_from_north():
    degrees = np.array([0, 90, 180, -90, 37.0])
    turns = raw_drives.turned(np.radians(degrees), pitch=0.1 + np.zeros(5), roll=0.2 + np.zeros(5))
    found = np.degrees(axes.headings(turns))
    np.testing.assert_allclose((found - degrees + 180) % 360 - 180, 0, atol=1e-9)
    steep = raw_drives.turned(np.zeros(1), pitch=np.radians([89.0]), roll=np.zeros(1))
    assert np.isnan(axes.headings(steep)[0])  # it looks into the sky


def test_interpolation_is_linear_and_slerp():
    log = poses()
    asked = log.times[:-1] + np.arange(29) * 3_000_000
    found, reasons = between.interpolate(log, asked, 0.2)
    assert (reasons == "").all() and found.times.dtype == np.int64
    seconds = (log.times - log.times[0]) / 1e9
    at = (asked - log.times[0]) / 1e9
    expected = np.stack([np.interp(at, seconds, column) for column in PLACES.T], axis=1)
    np.testing.assert_allclose(found.places, expected, atol=1e-5)
    slerp = Slerp(seconds, RANDOM)(at)
    assert (Rotation.from_matrix(found.turns) * slerp.inv()).magnitude().max() < 1e-6


def test_no_pose_outside_the_log_and_across_a_gap():
    log = poses(np.concatenate([np.arange(15), 20 + np.arange(15)]) * 10**8 + 10**18)
    asked = 10**18 + np.array(
        [-1, 0, 14 * 10**8, 14 * 10**8 + 1, 2 * 10**9, 34 * 10**8, 34 * 10**8 + 1]
    )
    found, reasons = between.interpolate(log, asked, 0.3)
    assert reasons.tolist() == [
        between.OUTSIDE, "", "", between.GAP, "", "", between.OUTSIDE,
    ]  # fmt: skip
    np.testing.assert_array_equal(found.places[[1, 2, 4, 5]], PLACES[[0, 14, 15, 29]])


def test_tables_name_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# head\n\n1,2, 3\n4,nan,6\n")
    table = tables.rows(path, ",", [3])
    assert [row.line for row in table] == [3, 4]
    np.testing.assert_array_equal(tables.numbers(path, table, 0, 3), [[1, 2, 3], [4, np.nan, 6]])
    with pytest.raises(RawDataError, match=r"a.txt:3: 3 fields where the format has 4 or 5"):
        tables.rows(path, ",", [4, 5])
    path.write_text("1,x\n")
    with pytest.raises(RawDataError, match=r"a.txt:1: could not convert"):
        tables.numbers(path, tables.rows(path, ","), 0, 2)
    with pytest.raises(RawDataError, match=r"a.txt:1: time 'x' is no whole .* check the file"):
        tables.column(path, tables.rows(path, ","), 1, lambda text: times.whole(text, "seconds"))
    for text, told in ((b"\xff", "no UTF-8"), (b"# only\n", "holds no rows")):
        path.write_bytes(text)
        with pytest.raises(RawDataError, match=told):
            tables.rows(path)
    with pytest.raises(RawDataError, match="cannot be read"):
        tables.rows(tmp_path / "none.txt")
