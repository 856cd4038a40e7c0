"""Twelve maps read wrongly: `validate` names the cause of each, or the layout leaves no room for it.

The table in tests/reliability/README.md has a row per reading.
"""

import functools

import cv2
import numpy as np
import pyproj
import pytest

from tests.helpers import (
    raw_boreas,
    raw_drives,
    raw_fourseasons,
    raw_kitti,
    raw_models,
    raw_msls,
    raw_nclt,
    raw_photos,
    raw_trajectories,
)
from tests.helpers.raw_places import image
from tests.unit.tfds_builders.test_layouts import write, write_dbstruct
from tfds_builders import tracks

COUNT = 60
UTM = (623000.0, 4849000.0, 150.0)
MADE = raw_drives.drive(count=COUNT)
WEST = -122.42  # of San Francisco
SWAPPED = "headings do not follow the motion (agreement 0.", "axes are swapped"
MIRRORED = "headings do not follow the motion (agreement 0.", "east is mirrored"
ORDER = ("the quaternions have another order",)
BODY = ("a body's pose is taken for the camera's",)


def table(raw, places, headings=MADE.headings, times=None, columns="x,y"):
    """A places.csv of the made-up drive with other columns."""
    names = [f"{i:03d}.png" for i in range(len(places))]
    raw_drives.pictures(raw, names)
    lines = [f"sequence,image,{columns},heading" + (",time" if times is not None else "")]
    for i, (name, (x, y), heading) in enumerate(zip(names, places, headings, strict=True)):
        row = f"train,{name},{x:.9f},{y:.9f},{heading:.6f}"
        lines.append(row + (f",{times[i]:.3f}" if times is not None else ""))
    (raw / "places.csv").write_text("\n".join(lines) + "\n")
    return {"layout": "csv"}


def edit(path, change):
    """Rewrites a table's rows below its header, field by field."""
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(",".join(change(row.split(","))) for row in rows)]) + "\n")


def boreas(raw, change=None, header=str):
    raw_boreas.write(raw / "one", raw_drives.drive(count=COUNT, start=UTM))
    path = raw / "one/applanix/camera_poses.csv"
    path.write_text(path.read_text().replace(raw_boreas.HEADER, header(raw_boreas.HEADER)))
    if change:
        edit(path, change)
    return {"layout": "boreas"}


def nclt(raw, change):
    raw_nclt.write(raw, "one", MADE, MADE.nanos)
    path = raw / "groundtruth_one.csv"
    rows = [change(line.split(",")) for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(",".join, rows)) + "\n")
    return {"layout": "nclt"}


def degrees_of(fields, columns):
    return [repr(float(np.degrees(float(f)))) if i in columns else f for i, f in enumerate(fields)]


def trajectory(layout, **wrong):
    def made(raw):
        getattr(raw_trajectories, layout)(raw / "one", MADE, MADE.nanos[:-1], **wrong)
        return {"layout": layout}

    return made


def fourseasons(raw):
    raw_fourseasons.write(raw / "one", MADE)
    edit(raw / "one/GNSSPoses.txt", lambda f: [*f[:4], f[7], *f[4:7], *f[8:]])
    return {"layout": "4seasons"}


def kitti360(raw, rows=lambda lines, made: lines, count=COUNT):
    made = raw_drives.drive(count=count, start=raw_kitti.WORLD)
    raw_kitti.kitti360(raw, made, "one")
    path = raw / "data_poses/one/cam0_to_world.txt"
    path.write_text("\n".join(rows(path.read_text().splitlines(), made)) + "\n")
    return {"layout": "kitti360"}


def body_rows(lines, made):
    """The IMU's axes, x forward, y right, z down, in the camera's rows."""
    turns = made.turns @ np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    rows = raw_kitti.rows(turns, made.places)
    return [f"{i} {row} 0 0 0 1" for i, row in enumerate(rows)][1:]


def renumbered(lines, made):
    """Row numbers in place of frames, where the car stood still in 6 of them."""
    kept = [line for line in lines if int(line.split()[0]) not in range(20, 26)]
    return [" ".join([str(i), *line.split()[1:]]) for i, line in enumerate(kept)]


def euroc_body(raw):
    made = trajectory("euroc")(raw)
    path = raw / "one/mav0/cam0/sensor.yaml"
    eye = ", ".join(str(float(value)) for value in np.eye(4).ravel())
    path.write_text(f"sensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{eye}]\n")
    return made


def late(raw):
    """A weaving road with an image each 6 m; each heading is that of the image before."""
    headings = 1.2 * np.sin(np.linspace(0, 30, 200))
    middle = (headings[1:] + headings[:-1]) / 2
    steps = np.vstack([[0, 0], 6 * np.stack([np.sin(middle), np.cos(middle)], axis=1)])
    return table(raw, np.cumsum(steps, axis=0), np.roll(headings, 1))


def colmap(raw):
    """A model whose writer put w last."""
    names = [f"{i:03d}.jpg" for i in range(COUNT)]
    raw_models.colmap(raw, MADE, raw_drives.NORTHWARD.T, names)
    path = raw / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    fields = [line.split() for line in lines[2::2]]
    lines[2::2] = [" ".join([f[0], *f[2:5], f[1], *f[5:]]) for f in fields]
    path.write_text("\n".join([*lines, ""]))
    return {"layout": "colmap"}


def kitti_row_less(raw, last=0):
    """The first row is lost; the last one is there twice or not."""
    raw_kitti.odometry(raw, MADE)
    path = raw / "poses/00.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[1:], *lines[-1:] * last]) + "\n")
    return {"layout": "kitti_odometry"}


def border(raw):
    """A drive that crosses a UTM border, with each image's own zone's easting."""
    places = MADE.places[:, :2] + (745_000.0, 5_735_000.0)
    places[30:, 0] -= 490_000
    return table(raw, places)


def named_zones(raw):
    for i, zone in ((0, 30), (1, 31)):
        write(raw / "database", f"@{[745000, 255000][i]}.5@5735000.5@{zone}@U@@.jpg", first=i)
    return {"layout": "utm"}


def radius(raw):
    """A dbStruct that counts within 10 m."""
    import scipy.io

    write(raw, "000/a.jpg", "queries_real/000/b.jpg")
    write_dbstruct(raw / "p.mat", ["000/a.jpg"], [[1, 2]], ["000/b.jpg"], [[5, 600]])
    held = scipy.io.loadmat(raw / "p.mat")["dbStruct"]
    held["posDistThr"][0, 0] = 10
    scipy.io.savemat(raw / "p.mat", {"dbStruct": held})
    return {"layout": "dbstruct"}


def msls(raw, **config):
    raw_msls.write(raw, "sf")
    return {"layout": "msls", "protocol": "msls_25m", **config}


def mislabelled_panorama(raw):
    """An equirectangular picture whose row says that it is none."""
    config = msls(raw)
    path = raw / "train_val/sf/database/images/db1_-1.jpg"
    assert cv2.imwrite(str(path), image(3, height=64, width=128))
    return {**config, "height": 12, "width": 16}


def photos_without_hemisphere(raw):
    gps = raw_photos.place(37.77, WEST)
    raw_photos.write_photo(raw / "a.jpg", raw_photos.place(37.77, WEST))
    raw_photos.write_photo(raw / "b.jpg", {tag: v for tag, v in gps.items() if v not in ("W", "N")})
    return {"layout": "photos"}


def unsigned(raw):
    """The degrees of EXIF data without their references, as a script writes them to a places.csv."""
    zone = pyproj.Proj("EPSG:32610")
    x, y = zone(WEST, 37.77)
    longitudes, latitudes = zone(*(MADE.places[:, :2] + (x, y)).T, inverse=True)
    return table(raw, np.stack([latitudes, np.abs(longitudes)], axis=1), columns="lat,lon")


PLAN = MADE.places[:, :2]
CASES = {  # what is wrong, where: raw tree and config, exit status, words of the sentence
    "swapped, csv": (lambda raw: table(raw, PLAN[:, ::-1]), 0, SWAPPED),
    "swapped, boreas": (
        functools.partial(
            boreas, header=lambda h: h.replace("easting,northing", "northing,easting")
        ),
        0,
        SWAPPED,
    ),
    "swapped, nclt": (lambda raw: nclt(raw, lambda f: [f[0], f[2], f[1], *f[3:]]), 0, SWAPPED),
    "mirrored, csv": (lambda raw: table(raw, PLAN * (-1, 1)), 0, MIRRORED),
    "mirrored, nclt": (
        lambda raw: nclt(raw, lambda f: [*f[:2], str(-float(f[2])), *f[3:]]),
        0,
        MIRRORED,
    ),
    "unit of headings, csv": (
        lambda raw: table(raw, PLAN, np.degrees(MADE.headings) % 360),
        0,
        ("headings are degrees, taken for radians",),
    ),
    "unit of angles, boreas": (
        functools.partial(boreas, change=lambda f: degrees_of(f, (7, 8, 9))),
        2,
        ("roll, pitch and heading go up to", "degrees where the format has radians"),
    ),
    "unit of angles, nclt": (
        lambda raw: nclt(raw, lambda f: degrees_of(f, (4, 5, 6))),
        2,
        ("roll, pitch and heading go up to", "degrees where the format has radians"),
    ),
    "unit of times, boreas": (
        functools.partial(boreas, change=lambda f: [f[0] + "000", *f[1:]]),
        2,
        ("has 19 digits (nanoseconds), where microseconds since 1970 have 16",),
    ),
    "unit of positions, csv": (
        lambda raw: table(raw, 1000 * PLAN, times=0.1 * np.arange(COUNT)),
        0,
        ("steps are faster than 60 m/s", "times or positions are in another unit"),
    ),
    "quaternion order, tum": (trajectory("tum", order="wxyz"), 0, ORDER),
    "quaternion order, euroc": (trajectory("euroc", order="xyzw"), 0, ORDER),
    "quaternion order, 4seasons": (fourseasons, 0, ORDER),
    "quaternion order, colmap": (
        colmap,
        0,
        ("points of points3D.txt lie behind the cameras that see them: the quaternions of images",),
    ),
    "body for camera, kitti360": (functools.partial(kitti360, rows=body_rows), 0, BODY),
    "body for camera, kitti360's poses.txt": (
        functools.partial(
            kitti360, rows=lambda lines, _: [" ".join(x.split()[:13]) for x in lines]
        ),
        2,
        ("cam0_to_world.txt:1: 13 fields where the format has 17",),
    ),
    "body for camera, euroc": (euroc_body, 0, BODY),
    "late by one image, csv": (
        late,
        0,
        ("headings come 1 image late: poses and images are joined wrongly, or clocks differ",),
    ),
    "late by one image, kitti_odometry": (
        kitti_row_less,
        2,
        ("poses/00.txt has 59 rows where", "these are of two sequences, or a file is cut"),
    ),
    "late by one image, kitti_odometry of as many rows": (
        functools.partial(kitti_row_less, last=1),
        0,
        ("00.txt begins 2.00 m from the first image's place, or turned", "each image has a later"),
    ),
    "late by one image, boreas": (
        functools.partial(boreas, change=lambda f: [str(int(f[0]) + 50_000), *f[1:]]),
        2,
        ("none of 60 images of one has a pose (no pose of its time: 60)",),
    ),
    "two zones, csv": (border, 0, ("steps leap over 4", "the eastings of two UTM zones")),
    "two zones, utm": (named_zones, 0, ("in UTM zone 31 north are projected into zone 30",)),
    "wrong radius, dbstruct": (
        radius,
        0,
        ("its posDistThr is 10 m, where figures on these sets count 25 m",),
    ),
    "wrong radius, msls": (
        functools.partial(msls, protocol=""),
        2,
        ("'protocol' is missing", "'msls_25m' (a database image of the city within 25 m"),
    ),
    "panoramas kept, msls": (
        mislabelled_panorama,
        0,
        ("val_database: 1 of 6 images are twice as wide as high, as whole panoramas are",),
    ),
    "panoramas kept, sfxl": (
        lambda raw: write(raw / "raw", "@1@2@.jpg") or {"layout": "sfxl"},
        2,
        ("raw holds SF-XL's panoramas, whose headings mean their middle",),
    ),
    "row index for frame id, kitti360": (
        functools.partial(kitti360, rows=renumbered),
        0,
        ("counts its 53 poses on without a gap and ends 7 frames before the pictures: if row num",),
    ),
    "EXIF sign ignored, photos": (
        photos_without_hemisphere,
        0,
        ("1 of 2 photos are left out, with a GPS position that does not tell its hemisphere",),
    ),
    "EXIF sign ignored, csv": (unsigned, 0, MIRRORED),
}


@pytest.mark.parametrize("name", CASES)
def test_validate_names_the_cause(tmp_path, capsys, name):
    write_raw, status, words = CASES[name]
    config = write_raw(tmp_path / "raw")
    assert raw_drives.build(tmp_path, verb="validate", **config) == status
    said = capsys.readouterr().err
    assert not [word for word in words if word not in said], said


@pytest.mark.parametrize(
    ("z", "suffix"), [("", ".gpx"), ("Z", ".gpx"), ("", ".csv"), ("Z", ".csv")]
)
def test_a_track_without_its_zone_is_told(tmp_path, z, suffix):
    """A video's track is read by the command `positions`; no machine's zone decides."""
    clocks = [f"2024-02-29T11:00:0{second}{z}" for second in (0, 5)]
    if suffix == ".gpx":
        pytest.importorskip("gpxpy")
        rows = "".join(f'<trkpt lat="50" lon="5"><time>{clock}</time></trkpt>' for clock in clocks)
        head = (
            '<gpx version="1.1" creator="a" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        )
        text = f"{head}{rows}</trkseg></trk></gpx>"
    else:
        text = "time,lat,lon\n" + "".join(f"{clock},50,5\n" for clock in clocks)
    (tmp_path / f"ride{suffix}").write_text(text)
    warnings = []
    track = tracks.read_track(tmp_path / f"ride{suffix}", warnings)
    assert track.times.tolist() == [1_709_204_400, 1_709_204_405]
    told = f"ride{suffix}: 2 of 2 times have no Z and no offset from UTC, so they are taken as UTC"
    assert [warning.startswith(told) for warning in warnings] == ([] if z else [True])
