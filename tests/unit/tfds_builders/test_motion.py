"""The motion check: each wrong reading of a drive is named by its cause, and a right one brings nothing."""

import json

import numpy as np
import pytest

from tests.helpers import raw_drives
from tests.helpers.raw_places import built, command, metadata
from tfds_builders.__main__ import main
from tfds_builders.frame import Frame
from tfds_builders.poses import motion, route

MADE = raw_drives.drive(count=200)
EAST, NORTH = MADE.places[:, 0], MADE.places[:, 1]
HEADINGS = (MADE.headings + np.pi) % (2 * np.pi) - np.pi


def positions(east, north):
    return np.stack([east, north], axis=1)


def turned(degrees):
    a = np.radians(degrees)  # the map clockwise
    return positions(EAST * np.cos(a) + NORTH * np.sin(a), NORTH * np.cos(a) - EAST * np.sin(a))


RIGHT = positions(EAST, NORTH)
NOISE = np.random.default_rng(0).uniform(-2, 2, len(HEADINGS))
WRONG = {  # positions, headings, and what is said
    "swapped": (positions(NORTH, EAST), HEADINGS, "axes are swapped, or headings count "
    "counter-clockwise from east"),
    "counter-clockwise": (RIGHT, np.pi / 2 - HEADINGS, "axes are swapped, or headings count "
    "counter-clockwise from east"),
    "mirrored": (positions(-EAST, NORTH), HEADINGS, "east is mirrored"),
    "north mirrored": (positions(EAST, -NORTH), HEADINGS, "north is mirrored"),
    "degrees": (RIGHT, np.degrees(HEADINGS) % 360, "headings are degrees, taken for radians"),
    "radians": (RIGHT, np.radians(HEADINGS), "headings are radians, taken for degrees"),
    "turned": (turned(-114.6), HEADINGS, "a side camera, or a map turned by 115 degrees"),
    "rear": (RIGHT, HEADINGS + np.pi, "a rear camera, or a map turned by 180 degrees"),
    "late": (RIGHT, np.roll(HEADINGS, 5), "headings come 5 images late"),
    "twelve late": (RIGHT, np.roll(HEADINGS, 12), "headings come 12 images late"),
    "nine early": (RIGHT, np.roll(HEADINGS, -9), "headings come 9 images early"),
    "very late": (RIGHT, np.roll(HEADINGS, 30), "headings come 30 images late"),
    "another column": (RIGHT, NOISE, "the heading column is not the camera's"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reading_is_named(name):
    found = motion.measure(*WRONG[name][:2])
    assert found.cause.startswith(WRONG[name][2]) and found.moving == 198


def test_a_right_reading_brings_nothing():
    found = motion.measure(RIGHT, HEADINGS)
    assert found.agreement > 0.999 and abs(found.offset) < 0.1 and found.cause == ""
    side = motion.measure(RIGHT, HEADINGS + np.radians(73), look=73)
    assert side.offset == pytest.approx(73, abs=0.1) and side.cause == ""
    wrong_side = motion.measure(RIGHT, HEADINGS + np.radians(73), look=-73)
    assert wrong_side.cause == "a side camera, or a map turned by 146 degrees"


def test_the_figures_are_the_mean_vector_over_moving_images():
    """Against a loop over the images; one stands still for ten of them."""
    at = np.concatenate([RIGHT[:100], np.repeat(RIGHT[99:100], 10, axis=0), RIGHT[100:]])
    facing = np.concatenate([HEADINGS[:100], np.repeat(HEADINGS[99:100], 10), HEADINGS[100:]])
    facing = facing + np.radians(3) + 0.2 * np.sin(np.arange(len(facing)))
    total = []
    for i in range(1, len(at) - 1):
        before, after = (np.linalg.norm(at[i + 1 - k] - at[i - k]) for k in (1, 0))
        if before > 0.4 and after > 0.4:
            step = at[i + 1] - at[i - 1]
            total.append(np.exp(1j * (facing[i] - np.arctan2(step[0], step[1]))))
    found = motion.measure(at, facing)
    assert found.moving == len(total) == 197  # not the standing ones, nor those beside them
    assert found.agreement == pytest.approx(abs(np.mean(total)))
    assert found.offset == pytest.approx(np.degrees(np.angle(np.mean(total))))


def test_one_image_late_is_told_where_images_are_far_apart():
    """On a weaving road; below 4 m of travel a camera's place before the axle does the same."""
    headings = 1.2 * np.sin(np.linspace(0, 30, 200))
    middle = (headings[1:] + headings[:-1]) / 2
    steps = np.vstack([[0, 0], np.stack([np.sin(middle), np.cos(middle)], axis=1)])
    places = np.cumsum(steps, axis=0)
    assert motion.measure(6 * places, headings).cause == ""
    assert motion.measure(6 * places, np.roll(headings, 1)).cause.startswith(
        "headings come 1 image late"
    )
    assert motion.measure(6 * places, np.roll(headings, -1)).cause.startswith(
        "headings come 1 image early"
    )
    assert motion.measure(2 * places, np.roll(headings, 1)).cause == ""


def bicycle(lever, step, count=300):
    """Places and headings of a camera `lever` metres before the rear axle, on a weaving road."""
    fine = 50
    way = np.arange(count * fine) * step / fine
    headings = 1.1 * np.sin(way / 17)
    middle = (headings[1:] + headings[:-1]) / 2
    legs = step / fine * np.stack([np.sin(middle), np.cos(middle)], axis=1)
    axle = np.vstack([[0, 0], np.cumsum(legs, axis=0)])
    ahead = lever * np.stack([np.sin(headings), np.cos(headings)], axis=1)
    return (axle + ahead)[::fine], headings[::fine]


@pytest.mark.parametrize("lever", [2.0, -1.0])
def test_a_camera_before_the_axle_and_late_poses_are_told_alike(lever):
    """Below 4 m the motion cannot tell the two apart: the lag is told and not doubted."""
    places, headings = bicycle(lever, 1.0)
    for look in (0, 90, 180, -90):
        found = motion.measure(places, headings + np.radians(look), look=float(look))
        assert found.cause == "" and found.lag == pytest.approx((lever, lever), rel=0.1)
    places, headings = bicycle(0.0, 1.0)
    assert motion.measure(places, headings).lag == (0.0, 0.0)
    late = motion.measure(places, np.roll(headings, int(lever)))
    assert late.cause == "" and late.lag == pytest.approx((lever, lever), rel=0.1)
    noise = np.radians(np.random.default_rng(0).normal(0, 2, len(headings)))
    assert motion.measure(places, headings + noise).lag == (0.0, 0.0)  # no lag explains it


def test_what_is_no_drive_is_not_measured():
    mixed = np.random.default_rng(0).permutation(len(RIGHT))
    assert motion.measure(RIGHT[mixed], HEADINGS) is None  # photos of a town, in any order
    assert motion.measure(RIGHT[:15], HEADINGS[:15]) is None
    assert motion.measure(RIGHT, np.full(len(RIGHT), np.nan)) is None


def test_a_straight_road_tells_no_mirror():
    """East or west alone: a mirrored axis, a turned map and a rear camera look the same there."""
    north = np.arange(50.0)
    found = motion.measure(positions(0 * north, -north), np.zeros(50))
    assert found.cause == "a rear camera, or a map turned by 180 degrees"


def frames(places=RIGHT, headings=HEADINGS, micros=None, name="a"):
    micros = MADE.nanos // 1000 if micros is None else micros
    return [
        Frame(f"{name}/{i}", tuple(p), float(h), int(t), source=f"{name}{i}")
        for i, (p, h, t) in enumerate(zip(places, headings, micros, strict=True))
    ]


def said(splits, altitudes=(), **more):
    return route.check(splits, dict(altitudes), {}, **more)[1]


def test_speeds_and_zones():
    assert said({"a": frames()}) == []
    (text,) = said({"a": frames(micros=MADE.nanos // 1000 // 1000)})
    assert (
        "199 steps are faster than 60 m/s, up to 20000 m/s, first before a/1: times or pos" in text
    )
    leap = RIGHT.copy()
    leap[120:] += (40, 10)
    (text,) = said({"a": frames(leap)})
    assert (
        "1 steps are faster than 60 m/s" in text and "first before a/120: a pose is wrong" in text
    )
    leap[120:] -= (480_000, 0)
    (text,) = said({"a": frames(leap)})
    assert (
        "1 steps leap over 480 km east, first before a/120: the eastings of two UTM zones" in text
    )
    assert said({"a": frames(leap, micros=range(200))}) == [text]
    assert said({"a": frames(RIGHT * 100, micros=range(200))}) == []  # frame numbers are no times


def test_heights():
    named = [frame.image_id for frame in frames()]
    plan = np.ptp(RIGHT, axis=0).max()
    assert said({"a": frames()}, zip(named, np.linspace(0, 0.15 * plan, 200), strict=True)) == []
    tall = list(zip(named, np.linspace(0, 0.5 * plan, 200), strict=True))
    (text,) = said({"a": frames()}, tall)
    assert "heights span" in text and "another axis points up" in text
    assert said({"a": frames()}, tall, free=True) == []


def test_two_cameras_at_one_place():
    (text,) = said({"left": frames(), "right": frames(name="b")})
    assert text.startswith("left and right: two cameras have equal positions at the same times")
    assert said({"left": frames(), "right": frames(RIGHT + 0.3, name="b")}) == []
    assert said({"left": frames(), "again": frames()}) == []  # the same images
    counted = range(200)
    assert said({"left": frames(micros=counted), "right": frames(micros=counted, name="b")}) == []


@pytest.mark.parametrize(("name", "verb"), [("swapped", "validate"), ("turned", "build")])
def test_a_table_is_checked_too(tmp_path, capsys, name, verb):
    places, headings, cause = WRONG[name]
    raw_drives.pictures(tmp_path / "raw", [f"{i}.png" for i in range(60)])
    rows = [
        f"train,{i}.png,{x:.3f},{y:.3f},{heading:.4f}"
        for i, ((x, y), heading) in enumerate(zip(places[:60], headings[:60], strict=True))
    ]
    (tmp_path / "raw/places.csv").write_text("\n".join(["sequence,image,x,y,heading", *rows]))
    assert command(verb, "places_csv", tmp_path / "raw", tmp_path / "out",
                   '--config={"name": "mine"}') == 0  # fmt: skip
    said = capsys.readouterr()
    assert "warning: train: headings do not follow the motion (agree" in said.err
    if verb == "validate":
        assert "train: headings agree with the motion by 0." in said.out
        return
    info = metadata(tmp_path, builder="places_csv")
    assert info["motion"]["train"]["likely"] == cause
    offset = info["motion"]["train"]["offset_degrees"]
    told = f"by 1.000 (1 is best) at {offset:+.1f} degrees over 58 moving images: {cause}\n"
    assert f"train: headings agree with the motion {told}" in shown(tmp_path, capsys)
    del info["motion"]  # as in a dataset of an earlier version
    (built(tmp_path, builder="places_csv") / "metadata.json").write_text(json.dumps(info))
    assert f"train: headings agree with the motion {told}" in shown(tmp_path, capsys)


def test_a_lag_is_in_the_line_on_the_motion():
    told, doubts = route.check({"a": frames(headings=np.roll(HEADINGS, 1))}, {}, {})
    assert not doubts and told["a"]["lag_images"] == pytest.approx(1, abs=0.1)
    assert (
        ", 2.0 m (1.0 images) after it: right for a camera so far before the rear axle, else "
        in (route.line("a", told["a"]))
    )
    told, _ = route.check({"a": frames(headings=np.roll(HEADINGS, -1))}, {}, {})
    assert (
        " before it: right for a camera so far behind the rear axle, else poses come that early"
        in (route.line("a", told["a"]))
    )


def shown(root, capsys):
    assert main(["show", "places_csv", f"--data_dir={root / 'out'}", f"--out={root}"]) == 0
    return capsys.readouterr().out
