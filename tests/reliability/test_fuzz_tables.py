"""Timestamps, pose logs, names, lists and tables that others wrote: read, or refused in a sentence."""

import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest
import scipy.io
from hypothesis import strategies as st

from tests.helpers import raw_cold, raw_places, raw_robotcar
from tests.reliability import fuzzing
from tfds_builders import discover, schema
from tfds_builders.archives import Source
from tfds_builders.cold import sequence
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_frames
from tfds_builders.places_csv.layouts import aligned, dbstruct, table, utm
from tfds_builders.places_csv.layouts.variant import Told
from tfds_builders.robotcar import camera, poses, traversal

TIMES = raw_robotcar.pose_times(raw_robotcar.START + 300_000)
LOGS = {
    "ins": raw_robotcar.ins_rows(TIMES, bad=(3,)).encode(),
    "gps": raw_robotcar.gps_rows(TIMES).encode(),
    "radar_odometry": raw_robotcar.odometry_rows(TIMES).encode(),
}
STAMPS = "".join(f"{time} {1 + i // 4}\n" for i, time in enumerate(TIMES)).encode()
FEATURES = schema.features()


@pytest.fixture(scope="module")
def outcomes():
    """Counts by parser; each is told, and must have both read and refused, at the end."""
    found = {}

    def of(name):
        return found.setdefault(name, fuzzing.Outcomes(name, RawDataError))

    yield of
    for counted in found.values():
        counted.tell()


def records(frames):
    """What is not refused must fit into records: finite positions, times of 64 bits, UTF-8 names."""
    check_frames(frames)
    for frame in frames:
        FEATURES.encode_example(schema.record(frame, b""))
        assert np.isfinite(frame.position).all() and not np.isinf(frame.heading)
        assert frame.image_id.encode().decode() == frame.image_id
    return frames


@fuzzing.fuzz(raw=fuzzing.files([STAMPS]))
def test_timestamps(outcomes, raw):
    read = outcomes("RobotCar timestamps").of(lambda: traversal.read_timestamps(raw, "t"))
    if read is not None:
        assert (np.diff(np.array(read[0], np.int64)) > 0).all()


@pytest.mark.parametrize("kind", LOGS)
def test_pose_logs(outcomes, kind):
    @fuzzing.fuzz(raw=fuzzing.files([LOGS[kind]]))
    def check(raw):
        log = outcomes(f"RobotCar {kind} CSV").of(lambda: poses.READERS[kind](raw, "log"))
        if log is None:
            return
        assert (np.diff(log.times) > 0).all() and len(log.times) == len(log.good)
        posed = poses.interpolate(log, TIMES, 1.0)
        usable = posed.reasons == ""
        assert np.isfinite(posed.positions[usable]).all()
        assert kind == "gps" or np.isfinite(posed.headings[usable]).all()

    check()


def one_image(name: bytes):
    """The frame of a COLD file name."""
    file = name.decode("utf-8", "surrogateescape").replace("/", "_")
    source = Source(pathlib.Path("a"), file, 0, 0, "file", 0, "")
    image = sequence.parse_image(file, source)
    return records([Frame(file, image.position, image.heading, image.time, "", source)])


@fuzzing.fuzz(name=fuzzing.files([name.encode() for name in raw_cold.names(9)]))
def test_cold_image_names(outcomes, name):
    outcomes("COLD image names").of(lambda: one_image(name))


@fuzzing.fuzz(
    text=st.one_of(
        st.text(),
        fuzzing.files([b"cold-saarbruecken/part_b/seq4_cloudy1"]).map(
            lambda raw: raw.decode("utf-8", "surrogateescape")
        ),
    )
)
def test_cold_sequence_ids(outcomes, text):
    name = outcomes("COLD sequence ids").of(lambda: sequence.parse_id(text))
    if name is not None:
        assert sequence.parse_id(str(name)) == name


@fuzzing.fuzz(raw=fuzzing.files([raw_cold.run(12)["localization/places.lst"]]))
def test_cold_rooms(outcomes, raw):
    rooms = outcomes("COLD places.lst").of(lambda: sequence.read_rooms(raw, "places.lst"))
    for room in (rooms or {}).values():
        assert room.encode().decode() == room and not any(c.isspace() for c in room)


@fuzzing.fuzz(raw=fuzzing.files([np.arange(2 * 6 * 8.0).tobytes()]))
def test_distortion_tables(outcomes, tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "lut.bin"
    path.write_bytes(raw)
    lut = outcomes("distortion tables").of(lambda: camera.read_lut(str(path), 6, 8))
    if lut is not None:
        assert camera.undistort(np.ones((6, 8, 3), np.uint8), lut).shape == (6, 8, 3)


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory):
    columns = "heading,time,label"
    return raw_places.write_raw(tmp_path_factory.mktemp("places") / "raw", columns=columns)


@pytest.mark.parametrize("columns", ["", "heading,time,label"])
def test_places_csv(outcomes, raw_folder, columns):
    valid = raw_places.write_raw(raw_folder.parent / f"valid{columns}", columns=columns)
    valid = (valid / "places.csv").read_bytes()

    @fuzzing.fuzz(
        raw=fuzzing.files([valid, valid.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + valid])
    )
    def check(raw):
        (raw_folder / "places.csv").write_bytes(raw)
        outcomes("places.csv").of(
            lambda: [
                records(f) for f in table.read_table(raw_folder / "places.csv", Told()).values()
            ]
        )

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("name", ["places_csv", "robotcar", "cold"])
def test_builder_configs(outcomes, tmp_path, name):
    good = {
        "name": st.just("mine"),
        "quality": st.just(90),
        "camera": st.sampled_from(("mono_rear", "std_cam")),
        "map": st.just("cold-freiburg/part_a"),
    }
    fields = [
        field.name for field in dataclasses.fields(discover.builder_class(name).builder_config_cls)
    ]
    keys = {key: JSON | good[key] if key in good else JSON for key in fields}
    usual = st.fixed_dictionaries(
        {"name": st.just("mine")}, optional={k: good.get(k, JSON) for k in fields if k != "name"}
    )

    @fuzzing.fuzz(values=st.fixed_dictionaries({}, optional=keys) | usual)
    def check(values):
        text = json.dumps(values)
        outcomes("builder configs, JSON").of(lambda: discover.make(name, text, tmp_path))

    check()
    assert not list(tmp_path.iterdir())


NAMES = {
    "utm": b"@0584020.26@4477370.94@17@T@040.4@-080.0@pano@02@090.5@@@@2011@@.jpg",
    "aligned": b"images-00010.png",
}


@pytest.mark.parametrize("layout", NAMES)
def test_layouts_by_file_name(outcomes, tmp_path, layout):
    reader = {"utm": utm.read_utm, "aligned": aligned.read_aligned}[layout]
    folder = tmp_path / "test"
    folder.mkdir()

    @fuzzing.fuzz(name=fuzzing.files([NAMES[layout]]))
    def check(name):
        name = name.replace(b"/", b"_").replace(b"\0", b"_")[:200] + b".jpg"
        path = folder / name.decode("utf-8", "surrogateescape")
        path.touch()
        try:
            outcomes(f"{layout} file names").of(
                lambda: [records(frames) for frames in reader(tmp_path, Told()).values()]
            )
        finally:
            path.unlink()

    check()


def mat_of(names, compress):
    """A .mat file as Pittsburgh's, of the images in `names`."""
    cells = np.array([[name] for name in names], object)
    fields = ("whichSet", "dbImageFns", "utmDb", "qImageFns", "utmQ")
    utm = np.arange(2.0 * len(names)).reshape(2, -1)
    struct = dict(zip(fields, ("val", cells, utm, cells, utm), strict=True))
    out = io.BytesIO()
    scipy.io.savemat(out, {"dbStruct": struct}, do_compression=compress)
    return out.getvalue()


def test_dbstructs(outcomes, tmp_path):
    names = [f"000/{i:03d}.jpg" for i in range(3)]
    for folder in (tmp_path, tmp_path / "queries"):
        (folder / "000").mkdir(parents=True)
        for name in names:
            (folder / name).touch()

    @fuzzing.fuzz(raw=fuzzing.files([mat_of(names, False), mat_of(names, True)]))
    def check(raw):
        (tmp_path / "a.mat").write_bytes(raw)
        outcomes("dbStruct .mat").of(
            lambda: [
                records(frames) for frames in dbstruct.read_dbstruct(tmp_path, Told()).values()
            ]
        )

    check()
