"""Pose logs: true linear interpolation on a curved route, headings, drops, odometry, malformed files."""

import numpy as np
import pytest

from tests.helpers.raw_robotcar import (
    START,
    gps_rows,
    image_times,
    ins_rows,
    odometry_rows,
    pose_times,
    route,
)
from tfds_builders.errors import RawDataError
from tfds_builders.robotcar import poses


def log(times, **more):
    times = np.asarray(times, np.int64)
    count = len(times)
    values = {
        "times": times,
        "positions": np.zeros((count, 2)),
        "headings": np.zeros(count),
        "good": np.ones(count, bool),
    }
    return poses.PoseLog(**(values | more))


def test_positions_on_a_curve_are_within_a_centimetre():
    times = image_times(300)
    ins = poses.read_ins(ins_rows(pose_times(times[-1])).encode(), "ins.csv")
    posed = poses.interpolate(ins, times, 1.0)
    east, north, yaw = route(times)
    assert (posed.reasons == "").all()
    assert np.abs(posed.positions - np.stack([east, north], 1)).max() < 0.01
    assert np.abs(poses.wrap(posed.headings - yaw)).max() < 1e-3
    # The previous pose, which the SDK's Python port returns, is far outside that bound.
    previous = ins.positions[np.searchsorted(ins.times, times, side="right") - 1]
    assert np.linalg.norm(previous - np.stack([east, north], 1), axis=1).mean() > 0.05


def test_interpolation_between_two_poses():
    two = log(
        [1000, 2000], positions=np.array([[0.0, 10], [4, 20]]), headings=np.array([3.0, -3.0])
    )
    posed = poses.interpolate(two, np.array([1000, 1250, 1500, 2000]), 1.0)
    np.testing.assert_allclose(posed.positions, [[0, 10], [1, 12.5], [2, 15], [4, 20]])
    turn = 2 * np.pi - 6.0  # the short way, through pi
    np.testing.assert_allclose(
        posed.headings, poses.wrap(3.0 + turn * np.array([0, 0.25, 0.5, 1])), atol=1e-12
    )
    assert posed.headings[2] == pytest.approx(np.pi)


def test_why_images_have_no_pose():
    good = np.array([True, True, False, True, True])
    five = log([0, 1_000_000, 2_000_000, 3_000_000, 9_000_000], good=good)
    times = [-1, 0, 500_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000, 5_000_000,
             9_000_000, 9_000_001]  # fmt: skip
    reasons = poses.interpolate(five, np.array(times), 1.0).reasons
    assert reasons.tolist() == [
        poses.OUTSIDE, "", "", "", poses.BAD_STATUS, poses.BAD_STATUS, poses.BAD_STATUS, "",
        poses.GAP, "", poses.OUTSIDE,
    ]  # fmt: skip


def test_status_and_columns_by_name():
    rows = ins_rows(pose_times(START + 100_000), bad={1}).splitlines()
    # The same table with its columns turned round and a stray space: read by name, not by index.
    turned = "\n".join(",".join(f" {x}" for x in row.split(",")[::-1]) for row in rows)
    one, two = (poses.read_ins(text.encode(), "a") for text in ("\n".join(rows), turned))
    np.testing.assert_array_equal(one.positions, two.positions)
    assert one.positions[0, 0] == pytest.approx(
        620_080.25
    )  # easting first, though northing is in the file
    assert one.good.tolist() == [True, False] + [True] * (len(one.times) - 2) == two.good.tolist()


def test_gps_has_no_heading():
    gps = poses.read_gps(gps_rows(pose_times(START + 100_000)).encode(), "gps.csv")
    assert np.isnan(gps.headings).all() and gps.good.all()
    posed = poses.interpolate(gps, gps.times[:1] + 5, 1.0)
    assert np.isnan(posed.headings).all() and posed.reasons[0] == ""


def test_odometry_aligned_to_ins_is_the_route():
    until = START + 20_000_000
    radar = pose_times(until, 0.25)[12:]  # the car has turned by then: north is not where it starts
    odometry = poses.read_radar_odometry(odometry_rows(radar).encode(), "radar_odometry.csv")
    np.testing.assert_array_equal(odometry.times, radar)
    np.testing.assert_array_equal(odometry.positions[0], [0, 0])
    steps = np.linalg.norm(np.diff(odometry.positions, axis=0), axis=1)
    east, north, yaw = route(radar)
    np.testing.assert_allclose(steps, np.hypot(np.diff(east), np.diff(north)), atol=1e-6)
    ins = poses.read_ins(ins_rows(pose_times(until + 10_000_000)).encode(), "ins.csv")
    aligned = poses.align(odometry, ins, 1.0)
    np.testing.assert_allclose(aligned.positions, np.stack([east, north], 1), atol=0.01)
    assert np.abs(poses.wrap(aligned.headings - yaw)).max() < 1e-3


def test_align_needs_shared_poses():
    with pytest.raises(ValueError, match="fewer than two"):
        poses.align(log([0, 1]), log([10, 20]), 1.0)


def test_repeated_times_are_left_out():
    rows = ins_rows(pose_times(START + 100_000)).splitlines()
    repeated = poses.read_ins("\n".join([*rows[:3], rows[2], *rows[3:]]).encode(), "a")
    assert repeated.repeats == 1 and (np.diff(repeated.times) > 0).all()


@pytest.mark.parametrize("kind", poses.READERS)
@pytest.mark.parametrize("seed", range(3))
def test_rows_in_any_order_and_repeated_give_the_same_log(kind, seed):
    times = pose_times(START + 2_000_000)
    header, *rows = {"ins": ins_rows, "gps": gps_rows, "radar_odometry": odometry_rows}[kind](
        times
    ).splitlines()
    order = np.random.default_rng(seed).permutation(len(rows) + 9) % len(rows)
    whole, other = (
        poses.READERS[kind]("\n".join([header, *lines]).encode(), "a")
        for lines in (rows, [rows[i] for i in order])
    )
    for name in ("times", "positions", "headings", "good"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(other, name))
    assert (whole.unsorted, whole.repeats, other.repeats) == (0, 0, 9)
    assert other.unsorted == sum(order[i] < order[:i].max() for i in range(1, len(order)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: [r[0].replace("ins_status,", ""), *r[1:]], r"a:1: no column ins_status"),
        (lambda r: [r[0].replace("northing", "north"), *r[1:]], r"a:1: no column northing"),
        (lambda r: [], r"a:1: no column timestamp.*the header is empty"),
        (lambda r: r[:1], r"a has a header but no rows"),
        (
            lambda r: [*r[:2], r[2][:40], *r[3:]],
            r"a:3: 3 fields where the header has 15; the file is truncated",
        ),
        (
            lambda r: [*r[:2], r[2].replace("5735", "57x5"), *r[3:]],
            r"a:3: northing is '57x5\d+\.\d+', not a number",
        ),
    ],
)
def test_malformed_logs(change, says):
    rows = change(ins_rows(pose_times(START + 200_000)).splitlines())
    with pytest.raises(RawDataError, match=says):
        poses.read_ins("\n".join(rows).encode(), "a")


def test_thinning_measures_from_the_last_kept():
    x = np.array([0, 0.4, 0.9, 1.1, 1.2, 2.05, 2.2, 9])
    keep = poses.thin(np.stack([x, 0 * x], 1), 1.0)
    np.testing.assert_array_equal(x[keep], [0, 1.1, 2.2, 9])
